use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Activation, Builder, Initializer, Layer};
use crate::ops;

/// Weighs the channels of `[n, h, w, c]` by what two dense layers make of their means: `x · gate(W₂ f(W₁ mean(x)))`.
///
/// Parameters, under torchvision's names: `fc1.weight` `[1, 1, c, units]`, `fc1.bias` `[units]`, `fc2.weight`
/// `[1, 1, units, c]`, `fc2.bias` `[c]`.
/// Source: Hu, Shen & Sun, 2018, <https://arxiv.org/abs/1709.01507>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqueezeExcite {
    /// Values of the narrow layer between.
    pub units: usize,
    /// Applied to those.
    #[serde(default = "relu")]
    pub inner_activation: Activation,
    /// Makes factors of the last values.
    #[serde(default = "sigmoid")]
    pub gate: Activation,
}

fn relu() -> Activation {
    Activation::Relu
}

fn sigmoid() -> Activation {
    Activation::Sigmoid
}

impl SqueezeExcite {
    /// As in the paper: relu, then a sigmoid.
    pub fn new(units: usize) -> Self {
        Self { units, inner_activation: relu(), gate: sigmoid() }
    }
}

impl Layer for SqueezeExcite {
    fn type_name(&self) -> &'static str {
        "squeeze_excite"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.expect_positive(&[("units", self.units)])?;
        let [n, _, _, channels] = builder.feature_map(inputs[0])?;
        let means = ops::global_average_pool2d(builder.graph(), inputs[0])?;
        let narrow = dense(builder, "fc1", means, [channels, self.units])?;
        let narrow = self.inner_activation.apply(builder.graph(), narrow)?;
        let wide = dense(builder, "fc2", narrow, [self.units, channels])?;
        let factors = self.gate.apply(builder.graph(), wide)?;
        let factors = ops::reshape(builder.graph(), factors, [n, 1, 1, channels])?;
        ops::mul(builder.graph(), inputs[0], factors)
    }
}

/// A dense layer whose weights have the shape of a 1x1 convolution's.
fn dense(builder: &mut Builder<'_>, name: &str, x: Value, [from, to]: [usize; 2]) -> Result<Value> {
    let weight = builder.parameter(&format!("{name}.weight"), [1, 1, from, to], Initializer::GlorotUniform)?;
    let bias = builder.parameter(&format!("{name}.bias"), [to], Initializer::Zeros)?;
    let weight = ops::reshape(builder.graph(), weight, [from, to])?;
    let product = ops::matmul(builder.graph(), x, weight, false, false)?;
    ops::add(builder.graph(), product, bias)
}
