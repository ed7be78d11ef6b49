//! Ocellus: image recognition on any GPU — NVIDIA, AMD, Intel, Apple, or none — from one Rust binary.
//!
//! A network is described by layers ([`nn`]), which emit ops ([`ops`]) into a static [`graph`]; the graph is
//! differentiated, fused and planned, and run by an executor on a GPU ([`gpu`]) or on this machine's cores ([`cpu`]).
//! [`data`] brings pictures, [`train`] shows them to the network, [`tasks`] say what for. See [`tasks::Trainer`] for the
//! shortest way through.

mod atomic;
pub mod bench;
mod caches;
pub mod check;
pub mod cli;
pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
pub mod explain;
pub mod gpu;
pub mod graph;
pub mod interop;
pub mod nn;
pub mod ops;
pub mod report;
pub mod seed;
pub mod simd;
pub mod tasks;
pub mod tensor;
pub mod train;

pub use error::{Error, Result};

/// What a program that trains a network needs.
pub mod prelude {
    pub use crate::data::{Augment, Image, ImageFolder, Normalize, Seed, Splits};
    pub use crate::device::Device;
    pub use crate::error::{Error, Result};
    pub use crate::nn::{Model, Sequential};
    pub use crate::tasks::{Loss, PredictOptions, Trainer};
    pub use crate::train::{Adam, Optimizer, RmsProp, Schedule, Sgd};
}
