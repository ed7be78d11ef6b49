//! What networks are trained for. A task is one folder: how the data meets the network, the head's loss and metric, what a
//! prediction is, and how results are told. The commands see them all as [`RunTask`].

pub mod autoencode;
pub mod classify;
pub mod detect;
pub mod embed;
mod pictures;
pub mod read;
mod run_task;
pub mod segment;
mod trainer;

pub use autoencode::Autoencoder;
pub use classify::{Classifier, Evaluation, Prediction};
pub use detect::Detector;
pub use embed::Embedder;
pub use read::Reader;
pub use run_task::{Answer, PredictOptions, Refinement, RunTask};
pub use segment::Segmenter;
pub use trainer::{Loss, Run, Trainer};

use std::path::Path;

use crate::data::{has_masks, holds_boxes, holds_texts};
use crate::error::{Error, Result};

/// Evaluates `$body` with `$task` as the type of the task of that name; else an error.
macro_rules! with_task {
    ($name:expr, $task:ident => $body:expr) => {
        match $name {
            "classify" => {
                type $task = crate::tasks::Classifier;
                $body
            }
            "autoencode" => {
                type $task = crate::tasks::Autoencoder;
                $body
            }
            "embed" => {
                type $task = crate::tasks::Embedder;
                $body
            }
            "detect" => {
                type $task = crate::tasks::Detector;
                $body
            }
            "read" => {
                type $task = crate::tasks::Reader;
                $body
            }
            "segment" => {
                type $task = crate::tasks::Segmenter;
                $body
            }
            other => Err(crate::tasks::unknown(other)),
        }
    };
}
pub(crate) use with_task;

/// That there is no task of that name.
pub(crate) fn unknown(name: &str) -> Error {
    Error::config(format!("task \"{name}\" is not known: there is {}", NAMES.join(", ")))
}

/// As `--task` says them.
const NAMES: [&str; 6] =
    [Classifier::NAME, Segmenter::NAME, Detector::NAME, Embedder::NAME, Autoencoder::NAME, Reader::NAME];

/// What data is for, where --task does not say it.
///
/// Errors: if it cannot be looked at.
pub(crate) fn recognise(data: &Path) -> Result<&'static str> {
    Ok(match () {
        () if holds_boxes(data)? => Detector::NAME,
        () if has_masks(data) => Segmenter::NAME,
        () if holds_texts(data)? => Reader::NAME,
        () => Classifier::NAME,
    })
}
