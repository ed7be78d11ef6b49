use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::builder::sample;
use crate::nn::{Builder, Initializer, Layer};
use crate::ops;

/// `max(x, 0) + weight · min(x, 0)`: a rectifier with a learned slope.
///
/// Parameter: `weight`, of the input's extents without the batch, 1 along shared axes.
/// Source: He, Zhang, Ren & Sun, 2015, <https://arxiv.org/abs/1502.01852>.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PReLU {
    /// Axes along which the slope is the same, counted from 1: `[1, 2]` for one a channel.
    pub shared_axes: Vec<usize>,
}

impl Layer for PReLU {
    fn type_name(&self) -> &'static str {
        "prelu"
    }

    fn class(&self) -> &'static str {
        "p_re_lu"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let dims = builder.dims(inputs[0]);
        if let Some(axis) = self.shared_axes.iter().find(|axis| !(1..dims.len()).contains(axis)) {
            return Err(builder.error(format!("shared axis {axis} is not one of {}, from 1 on", sample(&dims))));
        }
        let extent = |axis: usize| if self.shared_axes.contains(&axis) { 1 } else { dims[axis] };
        let shape: Vec<usize> = (1..dims.len()).map(extent).collect();
        let slope = builder.parameter("weight", shape, Initializer::Zeros)?;
        let graph = builder.graph();
        let zero = graph.constant(crate::tensor::Tensor::scalar(0.0));
        let above = ops::relu(graph, inputs[0])?;
        let below = ops::min(graph, inputs[0], zero)?;
        let below = ops::mul(graph, below, slope)?;
        ops::add(graph, above, below)
    }
}
