//! Ocellus: image recognition on any GPU — NVIDIA, AMD, Intel, Apple, or none — from one Rust binary.

pub mod check;
pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
pub mod gpu;
pub mod graph;
pub mod interop;
pub mod nn;
pub mod ops;
pub mod seed;
pub mod simd;
pub mod tensor;
pub mod train;

pub use error::{Error, Result};
