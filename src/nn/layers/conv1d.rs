use serde::{Deserialize, Serialize};

use super::conv2d::expect_groups;
use super::{one, yes};
use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Activation, Builder, Initializer, Layer, StepPadding};
use crate::ops;

/// A kernel of learned weights slides over a sequence: `[n, steps, c]` to `[n, steps', filters]`.
///
/// Parameters: `weight` `[kernel, c / groups, filters]`, `bias` `[filters]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv1D {
    /// Channels of the result.
    pub filters: usize,
    /// Steps that the kernel sees.
    pub kernel: usize,
    /// Steps from one place of the kernel to the next.
    #[serde(default = "one")]
    pub strides: usize,
    /// What is added around the sequence.
    #[serde(default)]
    pub padding: StepPadding,
    /// Distance of the kernel's taps.
    #[serde(default = "one")]
    pub dilation: usize,
    /// Parts into which the channels are divided; each part sees its own.
    #[serde(default = "one")]
    pub groups: usize,
    /// Whether a bias is added.
    #[serde(default = "yes")]
    pub use_bias: bool,
    /// Applied to the result.
    #[serde(default)]
    pub activation: Activation,
    /// How `weight` starts.
    #[serde(default)]
    pub kernel_initializer: Initializer,
    /// How `bias` starts.
    #[serde(default = "Initializer::zeros")]
    pub bias_initializer: Initializer,
}

impl Conv1D {
    /// With Keras's defaults: stride 1, no padding, a bias, no activation.
    pub fn new(filters: usize, kernel: usize) -> Self {
        Self {
            filters,
            kernel,
            strides: 1,
            padding: StepPadding::Valid,
            dilation: 1,
            groups: 1,
            use_bias: true,
            activation: Activation::Linear,
            kernel_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
        }
    }
}

impl Layer for Conv1D {
    fn type_name(&self) -> &'static str {
        "conv1d"
    }

    /// As that of a picture of one row.
    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let &Self { filters, kernel, strides, dilation, groups, .. } = self;
        let [n, steps, channels] = builder.sequence(inputs[0])?;
        expect_groups(builder, groups, channels, filters)?;
        let row = ops::reshape(builder.graph(), inputs[0], [n, 1, steps, channels])?;
        let padding = self.padding.beside_a_row(kernel, dilation);
        let padding = builder.window(row, padding, [1, kernel], [1, strides], [1, dilation])?;
        let weight = builder.parameter("weight", [kernel, channels / groups, filters], self.kernel_initializer)?;
        let weight = ops::reshape(builder.graph(), weight, [1, kernel, channels / groups, filters])?;
        let conv = ops::Conv2d { stride: [1, strides], padding, dilation: [1, dilation], groups };
        let result = ops::conv2d(builder.graph(), row, weight, conv)?;
        let result = builder.bias(result, self.use_bias, self.bias_initializer)?;
        let steps = builder.dims(result)[2];
        ops::reshape(builder.graph(), result, [n, steps, filters])
    }

    fn activation(&self) -> Activation {
        self.activation
    }
}
