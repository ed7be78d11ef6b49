//! What a person reads of a run: `report.html`, `model_card.md`, `curves.svg`, `train_batch.png`, and what its task adds.
//!
//! In come what the run folder holds, what the task tells of an evaluation ([`Told`]) and pictures; out come files that need nothing else, no network and no
//! script. Charts are SVG by [`chart`], pages HTML by `maud`. What a run does not have, its report leaves out.

mod card;
pub mod chart;
mod history;
mod outlines;
mod page;
pub mod parallel;
mod pictures;
mod tables;

use std::fs;
use std::io::ErrorKind;

use maud::Markup;
use serde::{Deserialize, Serialize};

pub use card::{About, keep_evaluation, write_card};
pub use history::{Epoch, History, metric_name};
pub use outlines::{Outline, color, outlined};
pub use page::{percent, section};
pub use pictures::{contact_sheet, embedded, line_picture, thumbnail};
pub use tables::{flatten, folded, grouped};

use crate::data::{Batch, Canvas, Finding, Images};
use crate::error::{Error, Result};
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
    pub told: Option<Told>,
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
    /// Images of each class of the training part.
    pub counts: Vec<usize>,
    /// Images of classes that the training part has not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<(String, usize)>,
    /// Why images were left out.
    pub skipped: Vec<String>,
    /// How many groups they are of, patients for instance, where that is known.
    #[serde(default)]
    pub groups: Option<usize>,
}

/// What a task tells of the best weights.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The most important numbers.
    pub tiles: Vec<Tile>,
    /// Parts of the page, as [`section`] makes them.
    pub sections: Vec<Markup>,
    /// Files beside it: name and content.
    pub files: Vec<(&'static str, Vec<u8>)>,
}

/// A number at the top of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// What it is.
    pub name: String,
    /// The number.
    pub value: String,
    /// A few words below it.
    pub note: String,
}

impl Tile {
    /// A number with its name, and words below it.
    pub fn new(name: impl Into<String>, value: impl Into<String>, note: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), note: note.into() }
    }
}

impl Part {
    /// Of decoded images, with so many of each class of theirs, none if that is not known; `classes`: the training part's.
    pub fn new(name: &str, images: &Images, counts: Vec<usize>, classes: &[String]) -> Self {
        let skipped = images.skipped().iter().map(ToString::to_string).collect();
        let groups = images.dataset().groups().map(|groups| groups.iter().max().map_or(0, |last| last + 1));
        let mut part = Self { name: name.to_owned(), counts, unseen: Vec::new(), skipped, groups };
        let own = &images.dataset().classes;
        if !part.counts.is_empty() && own != classes {
            let of_part = own.iter().zip(std::mem::replace(&mut part.counts, vec![0; classes.len()]));
            for (class, count) in of_part.filter(|&(_, count)| count > 0) {
                match classes.iter().position(|known| known == class) {
                    Some(at) => part.counts[at] = count,
                    None => part.unseen.push((class.clone(), count)),
                }
            }
        }
        part
    }

    fn images(&self) -> usize {
        self.counts.iter().chain(self.unseen.iter().map(|(_, count)| count)).sum()
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

/// Writes `report.html`, `model_card.md`, `curves.svg` and the files of the task.
///
/// Errors: if a file of the run is damaged, or one not be written.
pub fn write(folder: &RunFolder, told: Option<Told>) -> Result<()> {
    write_card(folder)?;
    let (kept, history) = (folder.read()?, History::read(folder.path())?);
    let report = Report { folder, kept, history, facts: Facts::read(folder)?, told };
    folder.write("report.html", page::page(&report)?.into_string().as_bytes())?;
    let charts: Vec<Markup> = learning_curves(&report.history).iter().map(Chart::svg).collect();
    if !charts.is_empty() {
        folder.write("curves.svg", chart::file(&charts, chart::SIZE).as_bytes())?;
    }
    let mut files = report.told.iter().flat_map(|told| &told.files);
    files.try_for_each(|(name, bytes)| folder.write(name, bytes))
}

/// Writes `train_batch.png`: the first training batch as the network sees it. Gives the file's bytes, and its width and
/// height.
///
/// Errors: if `canvas` is not that of the batch's images, or the file cannot be written.
pub fn write_batch(
    folder: &RunFolder,
    batch: &Batch,
    canvas: Canvas,
    captions: &[String],
) -> Result<(Vec<u8>, [u32; 2])> {
    let (sheet, size) = contact_sheet(batch, canvas, captions)?;
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
    let chart = |label: &str, unit, lines: Vec<Option<Line>>| Chart {
        title: format!("{label} by epoch"),
        x: Axis::free("epoch", Unit::Count),
        y: Axis::free(label.to_owned(), unit),
        lines: lines.into_iter().flatten().collect(),
    };
    let metric = metric_name(&history.metric);
    vec![
        chart(
            "loss",
            Unit::Plain,
            vec![line("training loss", 0, &|e| Some(e.train_loss)), line("validation loss", 1, &|e| e.val_loss)],
        ),
        chart(
            &metric,
            Unit::Percent,
            vec![
                line(&format!("training {metric}"), 0, &|e| e.train_metric),
                line(&format!("validation {metric}"), 1, &|e| e.val_metric),
            ],
        ),
        chart("learning rate", Unit::Plain, vec![line("", 2, &|e| Some(e.lr))]),
    ]
}
