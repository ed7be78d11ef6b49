use serde::{Deserialize, Serialize};

use super::yes;
use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Activation, Builder, Initializer, Layer};
use crate::ops;

/// Every result depends on every value along the last axis: `[n, .., c]` to `[n, .., units]`.
///
/// Parameters: `weight` `[c, units]`, `bias` `[units]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Values of the result.
    pub units: usize,
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

impl Dense {
    /// With Keras's defaults: a bias, no activation.
    pub fn new(units: usize) -> Self {
        Self {
            units,
            use_bias: true,
            activation: Activation::Linear,
            kernel_initializer: Initializer::GlorotUniform,
            bias_initializer: Initializer::Zeros,
        }
    }
}

impl Layer for Dense {
    fn type_name(&self) -> &'static str {
        "dense"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.expect_positive(&[("units", self.units)])?;
        let channels = builder.graph().shape(inputs[0]).last();
        let weight = builder.parameter("weight", [channels, self.units], self.kernel_initializer)?;
        let result = ops::matmul(builder.graph(), inputs[0], weight, false, false)?;
        builder.bias(result, self.use_bias, self.bias_initializer)
    }

    fn activation(&self) -> Activation {
        self.activation
    }
}
