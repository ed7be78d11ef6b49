//! The ops: one file each, with attributes, shape rule, gradient rule, reference, CPU path, GPU kernels and samples.
//!
//! An op implements [`Op`](crate::graph::Op); next to it stands a function that emits it into a graph, which is what
//! layers and other ops call: `ops::relu(&mut graph, x)?`. To add an op: its file, its shader under `shaders/`, a line
//! in [`FAMILIES`].

mod grid;
mod pointwise;
mod reduce;
mod reshape;
mod sample;

pub use pointwise::{
    Pointwise, add, apply, binary, copy, div, elu, exp, gelu, hard_swish, leaky_relu, log, max, min, mul, pointwise,
    pow, relu, relu6, sigmoid, silu, softplus, sqrt, sub, tanh, unary,
};
pub use reduce::{ArgMax, Reduce, Reduction, argmax, max_over, mean, sum, sum_to};
pub use reshape::{Reshape, flatten, reshape};
pub use sample::{Given, Sample, Values};

/// A file of ops and the combinations of attributes and shapes on which they are tested.
pub struct Family {
    /// The file's name.
    pub name: &'static str,
    /// Its samples.
    pub samples: fn() -> Vec<Sample>,
}

/// Every op there is.
pub const FAMILIES: &[Family] = &[
    Family { name: "pointwise", samples: pointwise::samples },
    Family { name: "reduce", samples: reduce::samples },
    Family { name: "reshape", samples: reshape::samples },
];
