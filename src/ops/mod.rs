//! The ops: one file each, with attributes, shape rule, gradient rule, reference, CPU path, GPU kernels and samples.
//!
//! An op implements [`Op`](crate::graph::Op); next to it stands a function that emits it into a graph, which is what
//! layers and other ops call: `ops::relu(&mut graph, x)?`. To add an op: its file, its shader under `shaders/`, a line
//! in [`FAMILIES`].

mod augment;
mod batch_norm;
mod binary_cross_entropy;
mod concat;
mod conv2d;
mod cross_entropy;
mod ctc;
mod dropout;
mod epilogue;
mod gather;
mod grid;
mod losses;
mod matmul;
mod mix;
mod normal;
mod pad;
mod pointwise;
mod pool2d;
mod product;
mod random;
mod reduce;
mod reshape;
mod rows;
mod sample;
mod slice;
mod softmax;
#[cfg(test)]
pub(crate) mod testing;
mod transpose;
mod window;
mod words;

pub use augment::{Augment, AugmentRow, augment, augment_frames};
pub use batch_norm::{BatchNorm, BatchNormGradSums, BatchStatistics, batch_norm, batch_norm_inference};
pub use binary_cross_entropy::{binary_cross_entropy, binary_cross_entropy_with_logits};
pub use concat::{Concat, concat};
pub use conv2d::{
    Conv2d, Conv2dForward, Conv2dGradInput, Conv2dGradWeight, Conv2dMaxPool, Conv2dMaxPoolGradWeight, conv2d,
    conv2d_grad_input, conv2d_grad_weight,
};
pub use cross_entropy::{CrossEntropy, CrossEntropyGrad, cross_entropy_with_logits};
pub use ctc::{CtcLoss, CtcLossGrad, ctc_loss};
pub use dropout::{Dropout, dropout};
pub use gather::{Gather, GatherGrad, gather};
pub use losses::{
    Divisor, categorical_cross_entropy, class_weighted_mean, huber, mean_absolute_error, mean_squared_error,
    weighted_mean,
};
pub use matmul::{MatMul, matmul};
pub use mix::{Mix, MixRow, mix};
pub use normal::{Normal, normal};
pub use pad::{Pad, pad};
pub use pointwise::{
    Piece, Pointwise, add, apply, binary, copy, div, elu, exp, formula, gelu, hard_swish, leaky_relu, log, max, min,
    mul, pointwise, pow, relu, relu6, sigmoid, silu, softplus, sqrt, sub, tanh, unary,
};
pub use pool2d::{
    AveragePool2dGrad, MaxPool2dGrad, Pool2d, Pool2dForward, Pooling, average_pool2d, global_average_pool2d,
    global_max_pool2d, max_pool2d,
};
pub use reduce::{ArgMax, Reduce, Reduction, argmax, max_over, mean, sum, sum_to};
pub use reshape::{Reshape, flatten, reshape};
pub use sample::{Given, Sample, Values};
pub use slice::slice;
pub use softmax::{Softmax, SoftmaxGrad, log_softmax, softmax};
pub use transpose::{Transpose, transpose};
pub use window::{Padding, Window};

/// A file of ops and the combinations of attributes and shapes on which they are tested.
pub struct Family {
    /// The file's name.
    pub name: &'static str,
    /// Its samples.
    pub samples: fn() -> Vec<Sample>,
}

/// Every op there is.
pub const FAMILIES: &[Family] = &[
    Family { name: "augment", samples: augment::samples },
    Family { name: "mix", samples: mix::samples },
    Family { name: "dropout", samples: dropout::samples },
    Family { name: "normal", samples: normal::samples },
    Family { name: "pointwise", samples: pointwise::samples },
    Family { name: "batch_norm", samples: batch_norm::samples },
    Family { name: "conv2d", samples: conv2d::samples },
    Family { name: "matmul", samples: matmul::samples },
    Family { name: "pool2d", samples: pool2d::samples },
    Family { name: "reduce", samples: reduce::samples },
    Family { name: "reshape", samples: reshape::samples },
    Family { name: "softmax", samples: softmax::samples },
    Family { name: "transpose", samples: transpose::samples },
    Family { name: "concat", samples: concat::samples },
    Family { name: "pad", samples: pad::samples },
    Family { name: "gather", samples: gather::samples },
    Family { name: "cross_entropy", samples: cross_entropy::samples },
    Family { name: "ctc", samples: ctc::samples },
];
