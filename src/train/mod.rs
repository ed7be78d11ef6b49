//! Training.

pub mod optimizers;
