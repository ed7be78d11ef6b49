//! What networks are trained for. A task is one folder: how the data meets the network, the head's loss and metric, what a
//! prediction is, and how results are told. The commands see them all as [`RunTask`].

pub mod classify;
pub mod embed;
pub mod read;
mod run_task;

pub use classify::{Classifier, Evaluation, Loss, Prediction, Run, Trainer};
pub use run_task::{Answer, PredictOptions, Refinement, RunTask};

use std::path::Path;

use crate::error::{Error, Result};

/// Evaluates `$body` with `$task` as the type of the task of that name; else an error.
macro_rules! with_task {
    ($name:expr, $task:ident => $body:expr) => {
        match $name {
            "classify" => {
                type $task = crate::tasks::Classifier;
                $body
            }
            "embed" => {
                type $task = crate::tasks::embed::Embedder;
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
const NAMES: [&str; 2] = [Classifier::NAME, embed::Embedder::NAME];

/// What data is for, where --task does not say it.
///
/// Errors: if it cannot be looked at.
pub(crate) fn recognise(_data: &Path) -> Result<&'static str> {
    Ok(Classifier::NAME)
}
