use maud::{Markup, html};

use super::Judged;
use super::confusion::{matrix, most_confused};
use crate::error::Result;
use crate::report::chart::{Axis, Chart, Ink, Line};
use crate::report::{folded, grouped, percent, section, thumbnail};
use crate::tasks::classify::Scores;

/// Classes up to which each has a curve in a colour of its own.
const MOST_CURVES: usize = 4;
/// Classes up to which each has a faint curve behind the one of all.
const MOST_FAINT: usize = 24;
/// Pictures of a kind.
const PICTURES: usize = 24;
/// Pairs of classes.
const PAIRS: usize = 12;

pub(super) fn answers(judged: &Judged) -> Option<Markup> {
    let (confusion, classes) = (&judged.evaluation.confusion, judged.classes);
    let pairs = most_confused(confusion, PAIRS);
    let content = html! {
        div.split {
            div.wide { (matrix(confusion, classes).0) }
            @if !pairs.is_empty() {
                div {
                    h3 { "Most confused" }
                    table {
                        tr { th { "class" } th { "taken for" } th.n { "images" } th.n { "share" } }
                        @for pair in &pairs {
                            tr {
                                td { (classes[pair.class]) }
                                td { (classes[pair.answer]) }
                                td.n { (pair.count) }
                                td.n { (format!("{:.1} %", 100.0 * pair.count as f64 / pair.of as f64)) }
                            }
                        }
                    }
                }
            }
        }
    };
    let note = format!("Answers on the {} images. A row is a class, with its share of each answer.", judged.part);
    section("Answers", &note, content)
}

pub(super) fn classes(judged: &Judged) -> Option<Markup> {
    let metrics = judged.evaluation.confusion.per_class();
    let m = &judged.evaluation.metrics;
    let rows = html! {
        table {
            tr { th { "class" } th.n { "precision" } th.n { "recall" } th.n { "F1" } th.n { "images" } }
            @for (name, c) in judged.classes.iter().zip(&metrics) {
                tr {
                    td { (name) }
                    td.n { (percent(c.precision)) }
                    td.n { (percent(c.recall)) }
                    td.n { (percent(c.f1)) }
                    td.n { (grouped(c.support as usize)) }
                }
            }
            tr {
                td { b { "mean over classes" } }
                td.n { b { (percent(m.precision)) } }
                td.n { b { (percent(m.recall)) } }
                td.n { b { (percent(m.f1)) } }
                td.n { b { (grouped(judged.evaluation.samples as usize)) } }
            }
        }
    };
    let note = "Precision: how many of the answers are right. Recall: how many of the class's images were found.";
    section("Classes", note, html! { div.wide { (folded(metrics.len(), "All classes", rows)) } })
}

pub(super) fn thresholds(judged: &Judged) -> Option<Markup> {
    let (scores, classes) = (&judged.evaluation.scores, judged.classes);
    let roc = Chart {
        title: "Receiver operating characteristic".into(),
        x: Axis::share("others taken for the class"),
        y: Axis::share("share of the class found"),
        lines: curves(classes, |class| scores.roc(class), Some([[0.0, 0.0], [1.0, 1.0]])),
    };
    let precision = Chart {
        title: "Precision over recall".into(),
        x: Axis::share("recall"),
        y: Axis::share("precision"),
        lines: curves(classes, |class| scores.precision_recall(class), None),
    };
    let titled = [("Found and mistaken (ROC)", &roc), ("Precision over recall", &precision)];
    let content = html! {
        div.charts { @for (title, chart) in titled { div { h3 { (title) } (chart.svg()) } } }
    };
    let what = match classes.len() {
        2 => format!("Of {}, against {}.", classes[1], classes[0]),
        ..=MOST_CURVES => "Each class against the rest.".to_owned(),
        _ => "All classes taken together; each by itself in grey, by name where you point.".to_owned(),
    };
    section("Thresholds", &format!("What other thresholds than the most probable class would bring. {what}"), content)
}

/// Of two classes the second's curve; of some, each one's; of many, that of all in front of each one's.
fn curves(
    classes: &[String],
    points: impl Fn(Option<usize>) -> Vec<[f64; 2]>,
    ideal: Option<[[f64; 2]; 2]>,
) -> Vec<Line> {
    let line = |name: &str, ink: Ink, points: Vec<[f64; 2]>| Line { name: name.to_owned(), ink, points };
    let mut lines = Vec::new();
    lines.extend(ideal.map(|ends| line("chance", Ink::Ideal, ends.to_vec())));
    match classes.len() {
        2 => lines.push(line(&classes[1], Ink::Color(0), points(Some(1)))),
        n @ ..=MOST_CURVES => lines.extend((0..n).map(|c| line(&classes[c], Ink::Color(c), points(Some(c))))),
        n => {
            if n <= MOST_FAINT {
                lines.extend((0..n).map(|c| line(&classes[c], Ink::Faint, points(Some(c)))));
            }
            lines.push(line("all classes", Ink::Color(0), points(None)));
        }
    }
    lines.retain(|l| l.points.iter().any(|p| p.iter().all(|v| v.is_finite())));
    lines
}

pub(super) fn certainty(judged: &Judged) -> Option<Markup> {
    let scores = &judged.evaluation.scores;
    let bins = scores.reliability();
    let dots = bins.iter().map(|b| [b.probability, b.right]).collect();
    let reliability = Chart {
        title: "Reliability diagram".into(),
        x: Axis::share("probability of the answer"),
        y: Axis::share("share that is right"),
        lines: vec![
            Line { name: "calibrated".into(), ink: Ink::Ideal, points: vec![[0.0, 0.0], [1.0, 1.0]] },
            Line { name: "answers, in bins".into(), ink: Ink::Dots(0), points: dots },
        ],
    };
    let points = scores.coverage();
    let least = points.iter().map(|p| p[1]).fold(1.0, f64::min);
    let coverage = Chart {
        title: "Accuracy over coverage".into(),
        x: Axis::share("share of images answered"),
        y: Axis { range: Some([(10.0 * least - 0.5).floor().max(0.0) / 10.0, 1.0]), ..Axis::share("accuracy on them") },
        lines: vec![Line { name: "accuracy".into(), ink: Ink::Color(2), points }],
    };
    let error = percent(judged.evaluation.metrics.calibration_error);
    let selective = judged.evaluation.selective.iter();
    let rows = selective.filter_map(|s| Some([percent(s.threshold), percent(s.coverage), percent(s.accuracy?)]));
    let content = html! {
        div.charts {
            div { h3 { "Is 80 % sure right 8 times of 10?" } (reliability.svg()) }
            div { h3 { "Accuracy when only the most certain are answered" } (coverage.svg()) }
        }
        details {
            summary { "What predict --reject-below brings" }
            table {
                tr { th { "least probability" } th.n { "answered" } th.n { "of these right" } }
                @for [threshold, coverage, accuracy] in rows {
                    tr { td { (threshold) } td.n { (coverage) } td.n { (accuracy) } }
                }
            }
        }
    };
    section(
        "Certainty",
        &format!("Expected calibration error {error}. Below the dashed line the network is too sure of itself."),
        content,
    )
}

pub(super) fn mistakes(judged: &Judged) -> Result<Option<Markup>> {
    let worst = judged.evaluation.scores.worst(PICTURES);
    let suspects = match judged.evaluation.scores.suspects().len() {
        0 => String::new(),
        1 => " One label looks wrong: suspect_labels.csv.".to_owned(),
        n => format!(" {n} labels look wrong: suspect_labels.csv lists them."),
    };
    let note = "Wrong answers the network was surest of: often mislabelled pictures, or what it has never seen.";
    Ok(section("Worst mistakes", &(note.to_owned() + &suspects), gallery(judged, &worst)?))
}

pub(super) fn doubts(judged: &Judged) -> Result<Option<Markup>> {
    let least = judged.evaluation.scores.least_certain(PICTURES / 2);
    Ok(section("Least certain", "Answers with the lowest probability, right or wrong.", gallery(judged, &least)?))
}

fn gallery(judged: &Judged, indices: &[usize]) -> Result<Markup> {
    if indices.is_empty() {
        return Ok(html! {});
    }
    let figures: Vec<Markup> = indices.iter().map(|&i| figure(judged, i)).collect::<Result<_>>()?;
    Ok(html! {
        div.pictures { @for figure in &figures { (figure) } }
    })
}

fn figure(judged: &Judged, index: usize) -> Result<Markup> {
    let scores: &Scores = &judged.evaluation.scores;
    let classes = judged.classes;
    let (class, answer, p) = scores.answer(index);
    let image = judged.images.image(index)?;
    let coarse = image.size.iter().all(|&n| n < 64);
    let source = judged.images.dataset().samples[index].source.to_string();
    let uri = thumbnail(&image)?;
    let sure = format!("{:.1} %", 100.0 * p);
    Ok(html! {
        figure title=(source) {
            img.coarse[coarse] src=(uri) alt=(format!("{}, taken for {}", classes[class], classes[answer]));
            figcaption {
                @if class == answer {
                    b { (classes[class]) } br; (sure)
                } @else {
                    b { (classes[class]) } br; span.wrong { "→ " (classes[answer]) } " " (sure)
                }
            }
        }
    })
}
