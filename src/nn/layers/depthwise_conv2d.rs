use serde::{Deserialize, Serialize};

use super::{one, yes};
use crate::error::Result;
use crate::graph::Value;
use crate::nn::attributes::padding;
use crate::nn::{Activation, Builder, Initializer, Layer, Pair};
use crate::ops::{self, Padding};

/// A convolution of each channel by itself: `[n, h, w, c]` to `[n, h', w', c depth_multiplier]`.
///
/// Parameters: `depthwise_weight` `[kernel_h, kernel_w, 1, c depth_multiplier]`, which in memory is Keras's
/// `[kernel_h, kernel_w, c, depth_multiplier]`; `bias` `[c depth_multiplier]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepthwiseConv2D {
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
    /// Channels of the result for each of the input.
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
    /// How `bias` starts.
    #[serde(default = "Initializer::zeros")]
    pub bias_initializer: Initializer,
}

impl DepthwiseConv2D {
    /// With Keras's defaults: stride 1, no padding, one result for each channel, a bias, no activation.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        Self {
            kernel: kernel.into(),
            strides: Pair::ONE,
            padding: Padding::Valid,
            dilation: Pair::ONE,
            depth_multiplier: 1,
            use_bias: true,
            activation: Activation::Linear,
            depthwise_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
        }
    }
}

/// What a depthwise convolution does to each channel.
pub(super) struct Depthwise {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: Padding,
    pub dilation: [usize; 2],
    pub multiplier: usize,
    pub initializer: Initializer,
}

/// Emits it, with `depthwise_weight`.
pub(super) fn depthwise(builder: &mut Builder<'_>, x: Value, attributes: &Depthwise) -> Result<Value> {
    let &Depthwise { kernel: [kh, kw], stride, padding, dilation, multiplier, initializer } = attributes;
    builder.expect_positive(&[("depth_multiplier", multiplier)])?;
    let [.., channels] = builder.feature_map(x)?;
    let padding = builder.window(x, padding, [kh, kw], stride, dilation)?;
    let shape = [kh, kw, 1, channels.saturating_mul(multiplier)];
    // Fans of Keras's shape of the same weights.
    let fans = [kh * kw * channels, (kh * kw).saturating_mul(multiplier)];
    let weight = builder.parameter_with_fans("depthwise_weight", shape, initializer, fans)?;
    let conv = ops::Conv2d { stride, padding, dilation, groups: channels };
    ops::conv2d(builder.graph(), x, weight, conv)
}

impl Layer for DepthwiseConv2D {
    fn type_name(&self) -> &'static str {
        "depthwise_conv2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let attributes = Depthwise {
            kernel: self.kernel.0,
            stride: self.strides.0,
            padding: self.padding,
            dilation: self.dilation.0,
            multiplier: self.depth_multiplier,
            initializer: self.depthwise_initializer,
        };
        let result = depthwise(builder, inputs[0], &attributes)?;
        builder.bias(result, self.use_bias, self.bias_initializer)
    }

    fn activation(&self) -> Activation {
        self.activation
    }
}
