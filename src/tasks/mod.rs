//! What networks are trained for. A task is one file: how the data meets the network, the head's loss and metric, and
//! what a prediction is.

mod classify;

pub use classify::{Classifier, Evaluation, Prediction};
