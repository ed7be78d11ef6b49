use maud::{Markup, html};

use super::Judged;
use crate::report::chart::{Axis, Chart, Ink, Line, Unit};
use crate::report::{percent, section};
use crate::tasks::classify::{Scores, TradeOff};

/// Classes up to which each has a decision curve.
const MOST_CURVES: usize = 4;
/// Steps of the threshold.
const STEPS: usize = 100;
/// Net benefit below which nothing is drawn: worse than treating nobody by any measure.
const LEAST: f64 = -0.05;

pub(super) fn decisions(judged: &Judged) -> Option<Markup> {
    let trade_offs = &judged.evaluation.trade_offs;
    if trade_offs.is_empty() {
        return None;
    }
    let classes = match judged.classes.len() {
        2 => 1..2,
        n @ ..=MOST_CURVES => 0..n,
        _ => 0..0,
    };
    let several = judged.classes.len() > 2;
    let content = html! {
        div.wide { (table(trade_offs, several)) }
        @if !classes.is_empty() {
            div.charts {
                @for class in classes {
                    @let name = &judged.classes[class];
                    div {
                        h3 { "Worth of acting on the probability of " (name) }
                        (net_benefit(&judged.evaluation.scores, class, name).svg())
                    }
                }
            }
            p.note {
                "Net benefit: images of the class that are found, less others that are mistaken for it, weighed by the odds of the threshold from which on one would act, as a share of all images. Acting is worth more than it costs where the curve is above both others; the shares of classes are those of these images."
            }
        }
    };
    let note = match judged.evaluation.intervals.as_ref().and_then(|intervals| intervals.groups) {
        Some(groups) => format!(" Intervals are for whole groups, of which there are {groups}."),
        None => String::new(),
    };
    let note = format!("What is left of one virtue where the other must be high.{note}");
    section("Decisions", &note, content)
}

fn table(trade_offs: &[TradeOff], several: bool) -> Markup {
    let interval =
        |t: &TradeOff| t.interval.map_or(String::new(), |[a, b]| format!("{} to {}", percent(a), percent(b)));
    html! {
        table {
            tr {
                @if several { th { "class, against the rest" } }
                th { "held" } th { "what is left" } th.n { "share" } th.n { "95 % interval" } th.n { "from probability" }
            }
            @for t in trade_offs {
                @let (rest, share) = t.rest();
                tr {
                    @if several { td { (t.class) } }
                    td { (t.held_name()) " of at least " (format!("{:.0} %", 100.0 * t.at_least)) }
                    td { (rest) }
                    td.n { (percent(share)) }
                    td.n { (interval(t)) }
                    td.n { (t.threshold.map_or("never".to_owned(), |p| format!("{p:.3}"))) }
                }
            }
        }
    }
}

fn net_benefit(scores: &Scores, class: usize, name: &str) -> Chart {
    let curve = scores.decision_curve(class, STEPS);
    let line = |name: &str, ink, value: &dyn Fn(usize) -> f64| {
        let drawn = |value: f64| if value < LEAST { f64::NAN } else { value };
        let points = curve.iter().enumerate().map(|(i, b)| [b.threshold, drawn(value(i))]).collect();
        Line { name: name.to_owned(), ink, points }
    };
    let most = curve.iter().map(|b| b.network.max(b.all)).fold(0.0, f64::max);
    Chart {
        title: format!("Decision curve of {name}"),
        x: Axis::share("probability from which on one acts"),
        y: Axis {
            range: Some([LEAST, (20.0 * most).ceil().max(1.0) / 20.0]),
            ..Axis::free("net benefit", Unit::Plain)
        },
        lines: vec![
            line("always", Ink::Color(1), &|i| curve[i].all),
            line("never", Ink::Ideal, &|_| 0.0),
            line("by the network", Ink::Color(0), &|i| curve[i].network),
        ],
    }
}
