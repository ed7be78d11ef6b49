use serde::{Deserialize, Serialize};

use super::yes;
use crate::error::Result;
use crate::graph::Value;
use crate::nn::attributes::padding;
use crate::nn::{Activation, Builder, Initializer, Layer, Pair};
use crate::ops::{self, Padding};

/// The transpose of a convolution, which enlarges: `[n, h, w, c]` to `[n, h', w', filters]`.
///
/// Extents become `h · stride` with padding `same`, `h · stride + max(kernel - stride, 0)` with `valid`, and
/// `(h - 1) · stride - top - bottom + dilation (kernel - 1) + output_padding + 1` where padding is given.
///
/// Parameters: `weight` `[kernel_h, kernel_w, filters, c]`, `bias` `[filters]`.
/// Source: Zeiler et al., 2010, <https://doi.org/10.1109/CVPR.2010.5539957>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2DTranspose {
    /// Channels of the result.
    pub filters: usize,
    /// Height and width of the kernel.
    pub kernel: Pair,
    /// How far apart the results of neighbours stand.
    #[serde(default)]
    pub strides: Pair,
    /// What is cut off around the result.
    #[serde(default, with = "padding")]
    pub padding: Padding,
    /// Rows and columns added at the end, where padding is given in numbers.
    #[serde(default = "none")]
    pub output_padding: Pair,
    /// Distance of the kernel's taps.
    #[serde(default)]
    pub dilation: Pair,
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

fn none() -> Pair {
    Pair([0, 0])
}

impl Conv2DTranspose {
    /// With Keras's defaults: stride 1, no padding, a bias, no activation.
    pub fn new(filters: usize, kernel: impl Into<Pair>) -> Self {
        Self {
            filters,
            kernel: kernel.into(),
            strides: Pair::ONE,
            padding: Padding::Valid,
            output_padding: none(),
            dilation: Pair::ONE,
            use_bias: true,
            activation: Activation::Linear,
            kernel_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
        }
    }

    /// Extent of the result along an axis; `None` if nothing is left.
    fn extent(&self, axis: usize, extent: usize) -> Option<usize> {
        let (kernel, stride, dilation) = (self.kernel.0[axis], self.strides.0[axis], self.dilation.0[axis]);
        let reach = (kernel - 1) * dilation + 1;
        let result = match self.padding {
            Padding::Same => extent * stride,
            Padding::Valid => extent * stride + reach.saturating_sub(stride),
            Padding::Explicit(edges) => {
                let whole = (extent - 1) * stride + reach + self.output_padding.0[axis];
                whole.checked_sub(edges[2 * axis] + edges[2 * axis + 1])?
            }
        };
        (result > 0).then_some(result)
    }
}

impl Layer for Conv2DTranspose {
    fn type_name(&self) -> &'static str {
        "conv2d_transpose"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let &Self { filters, kernel: Pair(kernel), strides: Pair(stride), dilation: Pair(dilation), .. } = self;
        builder.expect_positive(&[("filters", filters)])?;
        builder.expect_window(self.padding, kernel, stride, dilation)?;
        if (0..2).any(|axis| self.output_padding.0[axis] >= stride[axis].max(dilation[axis])) {
            return Err(builder.error("output_padding must be less than the strides or the dilation"));
        }
        let [_, h, w, channels] = builder.feature_map(inputs[0])?;
        let size = [self.extent(0, h), self.extent(1, w)];
        let [Some(height), Some(width)] = size else {
            return Err(builder.error(format!("padding leaves nothing of a map of {h}x{w}")));
        };
        let padding = self.padding.resolve([height, width], kernel, stride, dilation);
        let weight = builder.parameter("weight", [kernel[0], kernel[1], filters, channels], self.kernel_initializer)?;
        let conv = ops::Conv2d { stride, padding, dilation, groups: 1 };
        let result = ops::conv2d_grad_input(builder.graph(), inputs[0], weight, conv, [height, width])?;
        builder.bias(result, self.use_bias, self.bias_initializer)
    }

    fn activation(&self) -> Activation {
        self.activation
    }
}
