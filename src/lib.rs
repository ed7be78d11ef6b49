//! Ocellus: image recognition on any GPU — NVIDIA, AMD, Intel, Apple, or none — from one Rust binary.

pub mod data;
pub mod error;
pub mod tensor;

pub use error::{Error, Result};
