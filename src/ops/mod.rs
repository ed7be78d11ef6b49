//! The ops: one file each, with attributes, shape rule, gradient rule, reference, CPU path, GPU kernels and samples.
//!
//! An op implements [`Op`](crate::graph::Op); next to it stands a function that emits it into a graph, which is what
//! layers and other ops call: `ops::relu(&mut graph, x)?`. To add an op: its file, its shader under `shaders/`, a line
//! in [`FAMILIES`].

mod grid;
mod pointwise;
mod sample;

pub use pointwise::{
    Pointwise, add, apply, binary, copy, div, elu, exp, gelu, hard_swish, leaky_relu, log, max, min, mul, pointwise,
    pow, relu, relu6, sigmoid, silu, softplus, sqrt, sub, tanh, unary,
};
pub use sample::{Given, Sample, Values};

/// A file of ops and the combinations of attributes and shapes on which they are tested.
pub struct Family {
    /// The file's name.
    pub name: &'static str,
    /// Its samples.
    pub samples: fn() -> Vec<Sample>,
}

/// Every op there is.
pub const FAMILIES: &[Family] = &[Family { name: "pointwise", samples: pointwise::samples }];

/// stub
pub fn sum_to(
    _g: &mut crate::graph::Graph,
    x: crate::graph::Value,
    _s: &crate::tensor::Shape,
) -> crate::Result<crate::graph::Value> {
    Ok(x)
}

/// stub
pub fn sum(
    _g: &mut crate::graph::Graph,
    x: crate::graph::Value,
    _s: &[usize],
    _k: bool,
) -> crate::Result<crate::graph::Value> {
    Ok(x)
}
