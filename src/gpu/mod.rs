//! The executor for GPUs: the only room that names wgpu.
//!
//! A [`Plan`](crate::graph::Plan) comes in; [`Program`] records its kernels once — pipelines, bind groups, grids — and
//! [`Program::run`] submits them as one command buffer. Results come back through a ring of readback buffers, so that no
//! run waits for the one before.
//!
//! Which of its kernels an op takes is decided here too: the tuner measures them, and none is used before it agreed with
//! the CPU. [`Choices`] keep both between processes.

mod adapter;
mod certify;
mod choices;
mod context;
mod ending;
mod lone;
mod pace;
mod profile;
mod program;
mod readback;
mod tuner;
mod weights;

pub use adapter::{AdapterSummary, adapters, describe};
pub use choices::{Choices, Known};
pub use context::Gpu;
pub use lone::{lone_graph, lone_program, lone_result};
pub use program::Program;
pub use tuner::Tuning;
pub use weights::Weights;
