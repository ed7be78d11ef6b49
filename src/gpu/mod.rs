//! The executor for GPUs: the only room that names wgpu.
//!
//! A [`Plan`](crate::graph::Plan) comes in; [`Program`] records its kernels once — pipelines, bind groups, grids — and
//! [`Program::run`] submits them as one command buffer. Results come back through a ring of readback buffers, so that no
//! run waits for the one before.

mod adapter;
mod context;
mod program;
mod readback;
mod weights;

pub use adapter::{AdapterSummary, adapters, describe};
pub use context::Gpu;
pub use program::Program;
pub use weights::Weights;
