use serde::{Deserialize, Serialize};

use super::depthwise_conv2d::{Depthwise, depthwise};
use super::{one, yes};
use crate::error::Result;
use crate::graph::Value;
use crate::nn::attributes::padding;
use crate::nn::{Activation, Builder, Initializer, Layer, Pair};
use crate::ops::{self, Padding};

/// A convolution of each channel by itself, then a 1x1 convolution that mixes channels: `[n, h, w, c]` to
/// `[n, h', w', filters]`.
///
/// Parameters: `depthwise_weight` `[kernel_h, kernel_w, 1, c depth_multiplier]`, `pointwise_weight`
/// `[1, 1, c depth_multiplier, filters]`, `bias` `[filters]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparableConv2D {
    /// Channels of the result.
    pub filters: usize,
    /// Height and width of the first kernel.
    pub kernel: Pair,
    /// Steps of the first kernel.
    #[serde(default)]
    pub strides: Pair,
    /// What is added around the picture.
    #[serde(default, with = "padding")]
    pub padding: Padding,
    /// Distance of the first kernel's taps.
    #[serde(default)]
    pub dilation: Pair,
    /// Channels between the two convolutions for each of the input.
    #[serde(default = "one")]
    pub depth_multiplier: usize,
    /// Whether a bias is added.
    #[serde(default = "yes")]
    pub use_bias: bool,
    /// Applied to the result.
    #[serde(default)]
    pub activation: Activation,
    /// How `depthwise_weight` starts.
    #[serde(default)]
    pub depthwise_initializer: Initializer,
    /// How `pointwise_weight` starts.
    #[serde(default)]
    pub pointwise_initializer: Initializer,
    /// How `bias` starts.
    #[serde(default = "Initializer::zeros")]
    pub bias_initializer: Initializer,
}

impl SeparableConv2D {
    /// With Keras's defaults: stride 1, no padding, a bias, no activation.
    pub fn new(filters: usize, kernel: impl Into<Pair>) -> Self {
        Self {
            filters,
            kernel: kernel.into(),
            strides: Pair::ONE,
            padding: Padding::Valid,
            dilation: Pair::ONE,
            depth_multiplier: 1,
            use_bias: true,
            activation: Activation::Linear,
            depthwise_initializer: Initializer::GlorotUniform,
            pointwise_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
        }
    }
}

impl Layer for SeparableConv2D {
    fn type_name(&self) -> &'static str {
        "separable_conv2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.expect_positive(&[("filters", self.filters)])?;
        let attributes = Depthwise {
            kernel: self.kernel.0,
            stride: self.strides.0,
            padding: self.padding,
            dilation: self.dilation.0,
            multiplier: self.depth_multiplier,
            initializer: self.depthwise_initializer,
        };
        let spread = depthwise(builder, inputs[0], &attributes)?;
        let [.., channels] = builder.feature_map(spread)?;
        let weight =
            builder.parameter("pointwise_weight", [1, 1, channels, self.filters], self.pointwise_initializer)?;
        let mix = ops::Conv2d { stride: [1, 1], padding: [0; 4], dilation: [1, 1], groups: 1 };
        let result = ops::conv2d(builder.graph(), spread, weight, mix)?;
        builder.bias(result, self.use_bias, self.bias_initializer)
    }

    fn activation(&self) -> Activation {
        self.activation
    }
}
