use serde::{Deserialize, Serialize};

use super::resizing::{Interpolation, resize};
use crate::error::Result;
use crate::graph::Value;
use crate::nn::builder::MOST_PIXELS;
use crate::nn::{Builder, Layer, Pair};
use crate::ops;
use crate::tensor::Tensor;

/// The picture enlarged: `[n, h, w, c]` to `[n, h size, w size, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpSampling2D {
    /// By how much, downwards and to the right.
    #[serde(default = "two")]
    pub size: Pair,
    /// What comes between pixels: repetitions, or means.
    #[serde(default = "nearest")]
    pub interpolation: Interpolation,
}

/// Keras's default.
fn two() -> Pair {
    Pair([2, 2])
}

/// Keras's default.
fn nearest() -> Interpolation {
    Interpolation::Nearest
}

impl Layer for UpSampling2D {
    fn type_name(&self) -> &'static str {
        "up_sampling2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let Pair([down, right]) = self.size;
        builder.expect_positive(&[("size", down), ("size", right)])?;
        let [n, h, w, c] = builder.feature_map(inputs[0])?;
        if h.saturating_mul(down).max(w.saturating_mul(right)) > MOST_PIXELS {
            return Err(builder.error(format!("size {down}x{right} makes too much of a map of {h}x{w}")));
        }
        let graph = builder.graph();
        if self.interpolation != Interpolation::Nearest {
            return resize(graph, inputs[0], [h * down, w * right], self.interpolation);
        }
        let apart = ops::reshape(graph, inputs[0], [n * h, 1, w, 1, c])?;
        let ones = graph.constant(Tensor::new([1, down, 1, right, 1], vec![1.0; down * right])?);
        let repeated = ops::mul(graph, apart, ones)?;
        ops::reshape(graph, repeated, [n, h * down, w * right, c])
    }
}
