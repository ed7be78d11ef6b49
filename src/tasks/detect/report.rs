//! What a report tells of a detector.

use maud::{Markup, html};

use super::Evaluation;
use super::evaluation::ClassEvaluation;
use super::lines::chosen;
use crate::data::{BoundingBox, Images};
use crate::error::Result;
use crate::report::chart::{Axis, Chart, Ink, Line, Unit, readable};
use crate::report::{Outline, Tile, Told, color, embedded, folded, grouped, outlined, percent, section};

/// Pictures of each kind.
const PICTURES: usize = 8;
/// Longest side of them.
const LONGEST: u32 = 360;
/// Classes up to which each has a curve in a colour of its own.
const MOST_CURVES: usize = 6;

/// An evaluation with what it was of.
pub(super) struct Judged<'a> {
    /// Part of the data.
    pub part: &'a str,
    /// Its images, in the evaluation's order.
    pub images: &'a Images,
    /// The results.
    pub evaluation: &'a Evaluation,
    /// Class names.
    pub classes: &'a [String],
    /// Least score of what is told.
    pub threshold: f32,
}

impl Judged<'_> {
    /// Errors: if a picture can no longer be read.
    pub fn told(&self) -> Result<Told> {
        let sections = [self.per_class(), self.curves(), self.pictures()?];
        Ok(Told { tiles: self.tiles(), sections: sections.into_iter().flatten().collect(), files: Vec::new() })
    }

    fn tiles(&self) -> Vec<Tile> {
        let (e, m) = (self.evaluation, &self.evaluation.metrics);
        vec![
            Tile::new("mAP@0.5", percent(m.map50), format!("{} pictures", self.part)),
            Tile::new("mAP", percent(m.map), "overlaps of 0.5 to 0.95"),
            Tile::new("Loss", readable(Unit::Plain, e.loss), format!("{} pictures", grouped(e.samples as usize))),
            Tile::new("Precision", percent(m.precision_at_threshold), format!("at score {:.2} and above", m.threshold)),
            Tile::new("Recall", percent(m.recall_at_threshold), format!("at this score, {}", chosen(m.calibrated))),
        ]
    }

    fn per_class(&self) -> Option<Markup> {
        let row = |name: &str, c: &ClassEvaluation| {
            html! {
                tr {
                    td { (name) }
                    td.n { (percent(c.ap50)) }
                    td.n { (percent(c.ap)) }
                    td.n { (percent(c.recall50)) }
                    td.n { (grouped(c.support as usize)) }
                }
            }
        };
        let known = self.classes.iter().filter_map(|name| Some((name, self.evaluation.per_class.get(name)?)));
        let table = html! {
            table {
                tr { th { "class" } th.n { "AP@0.5" } th.n { "AP" } th.n { "recall" } th.n { "boxes" } }
                @for (name, class) in known { (row(name, class)) }
            }
        };
        let note = "AP: average precision, at an overlap (intersection over union) of 0.5 at least, and the mean over 0.5 to 0.95. \
                    Recall: how many of the boxes were found at all.";
        section("Classes", note, html! { div.wide { (folded(self.classes.len(), "All classes", table)) } })
    }

    fn curves(&self) -> Option<Markup> {
        let few = self.evaluation.curves.iter().flatten().count() <= MOST_CURVES;
        let line = |(class, name): (usize, &String)| {
            let curve = self.evaluation.curves[class].as_ref()?;
            let last = (curve.precisions.len() - 1) as f64;
            let points = curve.precisions.iter().enumerate().map(|(at, &precision)| [at as f64 / last, precision]);
            let ink = if few { Ink::Color(class) } else { Ink::Faint };
            Some(Line { name: name.clone(), ink, points: points.collect() })
        };
        let lines: Vec<Line> = self.classes.iter().enumerate().filter_map(line).collect();
        if lines.is_empty() {
            return None;
        }
        let chart = Chart {
            title: "Precision over recall".into(),
            x: Axis::share("recall"),
            y: Axis::share("precision"),
            lines,
        };
        let note = "At an overlap of 0.5: what part of the boxes told is right when so many of those there are shall be found.";
        section("Precision over recall", note, html! { div.charts { div { (chart.svg()) } } })
    }

    /// The pictures with fewest and with most mistakes.
    fn pictures(&self) -> Result<Option<Markup>> {
        let quality = |at: usize| {
            let (told, missed) = self.evaluation.seen[at].told(self.threshold);
            let right = told.iter().filter(|(_, right)| *right).count() as f64;
            let all = told.len() as f64 + right + missed.len() as f64;
            if all > 0.0 { 2.0 * right / all } else { 1.0 }
        };
        let mut order: Vec<(f64, usize)> = (0..self.evaluation.seen.len()).map(|at| (quality(at), at)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let worst = self.gallery(&order[..order.len().min(PICTURES)])?;
        let best: Vec<_> = order.iter().skip(PICTURES).rev().take(PICTURES).copied().collect();
        let best = self.gallery(&best)?;
        let content = html! {
            @for (title, figures) in [("Worst", &worst), ("Best", &best)] {
                @if !figures.is_empty() { h3 { (title) } div.pictures.large { @for figure in figures { (figure) } } }
            }
        };
        let note = format!(
            "What is told from score {:.2} on, in the colours of the classes with names and scores; thin and white is what is there.",
            self.threshold
        );
        Ok(section("Pictures", &note, content))
    }

    fn gallery(&self, pictures: &[(f64, usize)]) -> Result<Vec<Markup>> {
        let figure = |&(quality, at): &(f64, usize)| {
            let source = &self.images.dataset().samples[at].source;
            let seen = &self.evaluation.seen[at];
            let truth = seen.truth.iter().map(|&BoundingBox { corners, .. }| Outline::thin(corners));
            let told = seen.found.iter().filter(|found| found.score >= self.threshold);
            let outlines: Vec<Outline> = truth.chain(told.map(|found| found.outline(self.classes))).collect();
            let image = source.image_with(self.images.dataset().window)?;
            let uri = embedded(&outlined(image, Some(LONGEST), &outlines), LONGEST)?;
            let name = source.to_string();
            let short = name.rsplit(['/', '\\']).next().unwrap_or(&name);
            Ok(html! {
                figure {
                    img src=(uri) alt=(format!("{short} with boxes")) title=(name);
                    figcaption { (short) small { " F1 " (percent(quality)) } }
                }
            })
        };
        pictures.iter().map(figure).collect()
    }
}

impl super::Detection {
    /// As it is drawn.
    pub(super) fn outline(&self, classes: &[String]) -> Outline {
        let text = format!("{} {:.2}", classes[self.class], self.score);
        Outline { corners: self.corners, color: color(self.class), text, width: 2 }
    }
}
