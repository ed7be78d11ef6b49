use serde::{Deserialize, Serialize};

use super::{one, yes};
use crate::error::Result;
use crate::graph::Value;
use crate::nn::attributes::padding;
use crate::nn::{Activation, Builder, Initializer, Layer, Pair};
use crate::ops::{self, Padding};

/// A kernel of learned weights slides over the picture: `[n, h, w, c]` to `[n, h', w', filters]`.
///
/// Parameters: `weight` `[kernel_h, kernel_w, c / groups, filters]`, `bias` `[filters]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2D {
    /// Channels of the result.
    pub filters: usize,
    /// Height and width of the kernel.
    pub kernel: Pair,
    /// Steps of the kernel.
    #[serde(default)]
    pub strides: Pair,
    /// What is added around the picture.
    #[serde(default, with = "padding")]
    pub padding: Padding,
    /// Distance of the kernel's taps.
    #[serde(default)]
    pub dilation: Pair,
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

impl Conv2D {
    /// With Keras's defaults: stride 1, no padding, a bias, no activation.
    pub fn new(filters: usize, kernel: impl Into<Pair>) -> Self {
        Self {
            filters,
            kernel: kernel.into(),
            strides: Pair::ONE,
            padding: Padding::Valid,
            dilation: Pair::ONE,
            groups: 1,
            use_bias: true,
            activation: Activation::Linear,
            kernel_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
        }
    }
}

/// Errors: unless the groups divide the channels on both sides.
pub(super) fn expect_groups(builder: &Builder<'_>, groups: usize, channels: usize, filters: usize) -> Result<()> {
    builder.expect_positive(&[("filters", filters), ("groups", groups)])?;
    if !channels.is_multiple_of(groups) || !filters.is_multiple_of(groups) {
        let message = format!("groups = {groups} must divide its {channels} input channels and {filters} filters");
        return Err(builder.error(message));
    }
    Ok(())
}

impl Layer for Conv2D {
    fn type_name(&self) -> &'static str {
        "conv2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let &Self { filters, groups, kernel: Pair(kernel), strides: Pair(stride), dilation: Pair(dilation), .. } = self;
        let [.., channels] = builder.feature_map(inputs[0])?;
        expect_groups(builder, groups, channels, filters)?;
        let padding = builder.window(inputs[0], self.padding, kernel, stride, dilation)?;
        let shape = [kernel[0], kernel[1], channels / groups, filters];
        let weight = builder.parameter("weight", shape, self.kernel_initializer)?;
        let conv = ops::Conv2d { stride, padding, dilation, groups };
        let result = ops::conv2d(builder.graph(), inputs[0], weight, conv)?;
        builder.bias(result, self.use_bias, self.bias_initializer)
    }

    fn activation(&self) -> Activation {
        self.activation
    }
}
