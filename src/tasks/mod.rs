//! What networks are trained for. A task is one file: how the data meets the network, the head's loss and metric, and
//! what a prediction is.

pub mod classify;
pub mod read;

pub use classify::{Classifier, Evaluation, Loss, Prediction, Run, Trainer};
