//! What a person reads of a run: `report.html`, `curves.svg`, `confusion.svg`, `train_batch.png`, `suspect_labels.csv`.
//!
//! In come what the run folder holds, an [`Evaluation`] and pictures; out come files that need nothing else, no network and no
//! script. Charts are SVG by [`chart`], pages HTML by `maud`. What a run does not have, its report leaves out.

pub mod chart;
pub mod confusion;
mod history;
mod page;
pub mod parallel;
mod pictures;
mod sections;
mod tables;

use std::fs;
use std::io::ErrorKind;

use maud::Markup;
use serde::{Deserialize, Serialize};

pub use history::{Epoch, History};
pub use pictures::contact_sheet;
pub use tables::flatten;

use crate::data::{Batch, Finding, Images, Seed};
use crate::error::{Error, Result};
use crate::tasks::Evaluation;
use crate::train::{Kept, RunFolder};

use chart::{Axis, Chart, Ink, Line, Unit};

/// All that a report tells: what the run folder holds, and a judgement of the best weights.
pub struct Report<'a> {
    /// The run.
    pub folder: &'a RunFolder,
    /// How the network was trained.
    pub kept: Kept,
    /// Its epochs.
    pub history: History,
    /// What is known besides.
    pub facts: Facts,
    /// What the best weights are worth.
    pub judged: Option<Judged<'a>>,
}

/// What only training knows: kept as `report.json`, so that the report can be written again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The parts of the data.
    pub data: Vec<Part>,
    /// What is wrong with them.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Where it ran.
    pub device: String,
    /// Trained parameters.
    pub parameters: usize,
    /// Share of the training time spent waiting for data, by epoch.
    pub waiting: Vec<(u64, f64)>,
    /// The step after which the run was interrupted.
    pub interrupted: Option<u64>,
}

/// A part of the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// training, validation or test.
    pub name: String,
    /// Images of each class.
    pub counts: Vec<usize>,
    /// Why images were left out.
    pub skipped: Vec<String>,
}

/// What the best weights are worth.
pub struct Judged<'a> {
    /// On which part of the data.
    pub part: &'a str,
    /// Its images, in the evaluation's order.
    pub images: &'a Images,
    /// The results.
    pub evaluation: &'a Evaluation,
}

impl Part {
    /// Of decoded images.
    pub fn new(name: &str, images: &Images) -> Self {
        let skipped = images.skipped().iter().map(ToString::to_string).collect();
        Self { name: name.to_owned(), counts: images.dataset().class_counts(), skipped }
    }
}

impl Facts {
    const FILE: &str = "report.json";

    /// Those of a run, nothing if none were kept.
    ///
    /// Errors: if they are damaged.
    pub fn read(folder: &RunFolder) -> Result<Self> {
        let path = folder.path().join(Self::FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::format(&path, e.to_string())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Error::io("read", &path, e)),
        }
    }

    /// Keeps them with the run.
    ///
    /// Errors: if the file cannot be written.
    pub fn save(&self, folder: &RunFolder) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(|e| Error::config(format!("{}: {e}", Self::FILE)))?;
        folder.write(Self::FILE, &bytes)
    }
}

/// Writes `report.html`, `curves.svg` and, where there is what they show, `confusion.svg` and `suspect_labels.csv`.
///
/// Errors: if a file of the run is damaged, a picture can no longer be read, or a file not be written.
pub fn write(folder: &RunFolder, judged: Option<Judged<'_>>) -> Result<()> {
    let (kept, history) = (folder.read()?, History::read(folder.path())?);
    let report = Report { folder, kept, history, facts: Facts::read(folder)?, judged };
    folder.write("report.html", page::page(&report)?.into_string().as_bytes())?;
    let charts: Vec<Markup> = learning_curves(&report.history).iter().map(Chart::svg).collect();
    if !charts.is_empty() {
        folder.write("curves.svg", chart::file(&charts, chart::SIZE).as_bytes())?;
    }
    let Some(judged) = &report.judged else { return Ok(()) };
    folder.write(SUSPECTS, &suspect_labels(judged, &report.kept.classes)?)?;
    let (matrix, size) = confusion::matrix(&judged.evaluation.confusion, &report.kept.classes);
    folder.write("confusion.svg", chart::file(&[matrix], size).as_bytes())
}

/// The file of images whose label looks wrong.
const SUSPECTS: &str = "suspect_labels.csv";

fn suspect_labels(judged: &Judged, classes: &[String]) -> Result<Vec<u8>> {
    let wrong = |e: String| Error::config(format!("{SUSPECTS}: {e}"));
    let mut table = csv::Writer::from_writer(Vec::new());
    let header = table.write_record(["path", "label", "seems", "probability", "probability_of_label"]);
    header.map_err(|e| wrong(e.to_string()))?;
    for s in judged.evaluation.scores.suspects() {
        let path = judged.images.dataset().samples[s.image].source.to_string();
        let (probability, of_label) = (s.probability.to_string(), s.of_label.to_string());
        let row = table.write_record([&path, &classes[s.label], &classes[s.class], &probability, &of_label]);
        row.map_err(|e| wrong(e.to_string()))?;
    }
    table.into_inner().map_err(|e| wrong(e.to_string()))
}

/// With confidence intervals, where drawing them takes no more than about a second.
pub fn with_intervals(evaluation: Evaluation) -> Evaluation {
    const MOST: u64 = 1000;
    const LEAST: u64 = 100;
    let each = evaluation.samples * evaluation.per_class.len() as u64;
    let resamples = (500_000_000 / each.max(1)).min(MOST);
    if resamples < LEAST { evaluation } else { evaluation.with_intervals(resamples, Seed(0)) }
}

/// Writes `train_batch.png`: the first training batch as the network sees it. Gives the file's bytes, and its width and
/// height.
///
/// Errors: if `shape` is not that of the batch's images, or the file cannot be written.
pub fn write_batch(
    folder: &RunFolder,
    batch: &Batch,
    shape: [usize; 3],
    classes: &[String],
) -> Result<(Vec<u8>, [u32; 2])> {
    let (sheet, size) = contact_sheet(batch, shape, classes)?;
    folder.write("train_batch.png", &sheet)?;
    Ok((sheet, size))
}

/// Loss, metric and learning rate over the epochs; none before the first has ended.
pub fn learning_curves(history: &History) -> Vec<Chart> {
    if history.epochs.is_empty() {
        return Vec::new();
    }
    let line = |name: &str, color: usize, value: &dyn Fn(&Epoch) -> Option<f64>| {
        let points: Vec<[f64; 2]> =
            history.epochs.iter().filter_map(|e| value(e).map(|v| [e.epoch as f64, v])).collect();
        (!points.is_empty()).then(|| Line { name: name.to_owned(), ink: Ink::Color(color), points })
    };
    let chart = |label: &'static str, unit, lines: Vec<Option<Line>>| Chart {
        title: format!("{label} by epoch"),
        x: Axis::free("epoch", Unit::Count),
        y: Axis::free(label, unit),
        lines: lines.into_iter().flatten().collect(),
    };
    let metric = &history.metric;
    vec![
        chart(
            "loss",
            Unit::Plain,
            vec![line("training loss", 0, &|e| Some(e.train_loss)), line("validation loss", 1, &|e| e.val_loss)],
        ),
        chart(
            "metric",
            Unit::Percent,
            vec![
                line(&format!("training {metric}"), 0, &|e| Some(e.train_metric)),
                line(&format!("validation {metric}"), 1, &|e| e.val_metric),
            ],
        ),
        chart("learning rate", Unit::Plain, vec![line("learning rate", 2, &|e| Some(e.lr))]),
    ]
}
