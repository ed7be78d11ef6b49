//! What a report tells of a classifier.

mod attention;
pub mod confusion;
mod decisions;
mod sections;

use super::{Classifier, Evaluation};
use crate::data::{Images, Seed};
use crate::error::{Error, Result};
use crate::report::chart::{self, Unit, readable};
use crate::report::{Tile, Told, grouped, percent};
use crate::train::Session;

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
}

impl Judged<'_> {
    /// Errors: if a picture can no longer be read, or the device fails.
    pub fn told(&self, session: &Session<Classifier>) -> Result<Told> {
        let sections = [
            sections::answers(self),
            sections::classes(self),
            sections::thresholds(self),
            decisions::decisions(self),
            sections::certainty(self),
            sections::mistakes(self)?,
            sections::doubts(self)?,
            attention::section(self, session)?,
        ];
        let (matrix, size) = confusion::matrix(&self.evaluation.confusion, self.classes);
        let matrix = chart::file(&[matrix], size).into_bytes();
        Ok(Told {
            tiles: self.tiles(),
            sections: sections.into_iter().flatten().collect(),
            files: vec![(SUSPECTS, self.suspect_labels()?), ("confusion.svg", matrix)],
        })
    }

    fn tiles(&self) -> Vec<Tile> {
        let (e, m) = (self.evaluation, &self.evaluation.metrics);
        let interval = |i: Option<[f64; 2]>| {
            i.map_or(String::new(), |[a, b]| format!("95 %: {:.1} to {:.1} %", 100.0 * a, 100.0 * b))
        };
        let intervals = e.intervals.as_ref();
        let mut part = self.part.chars();
        let part: String = part.next().into_iter().flat_map(char::to_uppercase).chain(part).collect();
        let accuracy = interval(intervals.and_then(|i| i.accuracy));
        let mut tiles = vec![
            Tile::new(format!("{part} accuracy"), percent(m.accuracy), accuracy),
            Tile::new("Loss", readable(Unit::Plain, e.loss), format!("{} images", grouped(e.samples as usize))),
            Tile::new("Mean F1", percent(m.f1), "over the classes"),
        ];
        let area = |area| Tile::new("ROC-AUC", percent(area), interval(intervals.and_then(|i| i.roc_auc)));
        tiles.extend(m.roc_auc.map(area));
        if self.classes.len() > 5 {
            tiles.push(Tile::new("Top 5", percent(m.top5_accuracy), "class among the five first"));
        }
        tiles.push(Tile::new("Calibration error", percent(m.calibration_error), "expected, 15 bins"));
        tiles.push(Tile::new("Brier score", readable(Unit::Plain, m.brier_score), "of probabilities, 0 at best"));
        tiles
    }

    fn suspect_labels(&self) -> Result<Vec<u8>> {
        let wrong = |e: String| Error::config(format!("{SUSPECTS}: {e}"));
        let mut table = csv::Writer::from_writer(Vec::new());
        let header = table.write_record(["path", "label", "seems", "probability", "probability_of_label"]);
        header.map_err(|e| wrong(e.to_string()))?;
        for s in self.evaluation.scores.suspects() {
            let path = self.images.dataset().samples[s.image].source.to_string();
            let (probability, of_label) = (s.probability.to_string(), s.of_label.to_string());
            let [label, seems] = [s.label, s.class].map(|class| self.classes[class].as_str());
            let row = table.write_record([&path, label, seems, &probability, &of_label]);
            row.map_err(|e| wrong(e.to_string()))?;
        }
        table.into_inner().map_err(|e| wrong(e.to_string()))
    }
}

/// The file of images whose label looks wrong.
const SUSPECTS: &str = "suspect_labels.csv";

/// With confidence intervals, where drawing them takes no more than about a second.
pub(super) fn with_intervals(evaluation: Evaluation) -> Evaluation {
    const MOST: u64 = 1000;
    const LEAST: u64 = 100;
    let each = evaluation.samples * evaluation.per_class.len() as u64;
    let resamples = (500_000_000 / each.max(1)).min(MOST);
    if resamples < LEAST { evaluation } else { evaluation.with_intervals(resamples, Seed(0)) }
}
