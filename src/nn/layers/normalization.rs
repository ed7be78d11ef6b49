use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Function, Graph, Value};
use crate::nn::{Builder, Initializer, Layer};
use crate::ops;

/// The values along the last axis shifted and scaled to mean 0 and variance 1, then by learned numbers.
///
/// Parameters `[c]`: `weight` (gamma), `bias` (beta).
/// Source: Ba, Kiros & Hinton, 2016, <https://arxiv.org/abs/1607.06450>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerNormalization {
    /// Added to the variance.
    pub epsilon: f64,
}

/// The same for each picture over groups of neighbouring channels and all places.
///
/// Source: Wu & He, 2018, <https://arxiv.org/abs/1803.08494>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupNormalization {
    /// How many groups; -1 for one a channel, which is instance normalisation.
    pub groups: i64,
    /// Added to the variance.
    pub epsilon: f64,
}

/// The same for each picture and channel over all places: [`GroupNormalization`] with a group a channel.
///
/// Source: Ulyanov, Vedaldi & Lempitsky, 2016, <https://arxiv.org/abs/1607.08022>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstanceNormalization {
    /// Added to the variance.
    pub epsilon: f64,
}

/// The values along the last axis divided by the root of their mean square, then scaled by learned numbers: `weight` `[c]`.
///
/// Source: Zhang & Sennrich, 2019, <https://arxiv.org/abs/1910.07467>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RmsNormalization {
    /// Added to the mean square.
    pub epsilon: f64,
}

impl Default for LayerNormalization {
    /// Keras's epsilon, 0.001.
    fn default() -> Self {
        Self { epsilon: 1e-3 }
    }
}

impl Default for InstanceNormalization {
    /// As the others', 0.001.
    fn default() -> Self {
        Self { epsilon: 1e-3 }
    }
}

impl Default for GroupNormalization {
    /// Keras's: 32 groups, epsilon 0.001.
    fn default() -> Self {
        Self { groups: 32, epsilon: 1e-3 }
    }
}

impl Default for RmsNormalization {
    /// Keras's epsilon, 1e-6.
    fn default() -> Self {
        Self { epsilon: 1e-6 }
    }
}

fn expect_epsilon(builder: &Builder<'_>, epsilon: f64) -> Result<()> {
    match epsilon > 0.0 && epsilon.is_finite() {
        true => Ok(()),
        false => Err(builder.error(format!("epsilon must be positive, but is {epsilon}"))),
    }
}

/// `x / √(mean(x²) + ε)` over `axes`.
fn over_root_mean_square(graph: &mut Graph, x: Value, axes: &[usize], epsilon: f64) -> Result<Value> {
    let squares = ops::mul(graph, x, x)?;
    let mean = ops::mean(graph, squares, axes, true)?;
    let factor = ops::apply(graph, mean, |mean| (mean + epsilon as f32).call(Function::Rsqrt))?;
    ops::mul(graph, x, factor)
}

fn normalize(graph: &mut Graph, x: Value, axes: &[usize], epsilon: f64) -> Result<Value> {
    let mean = ops::mean(graph, x, axes, true)?;
    let centred = ops::sub(graph, x, mean)?;
    over_root_mean_square(graph, centred, axes, epsilon)
}

fn scale_and_shift(builder: &mut Builder<'_>, x: Value) -> Result<Value> {
    let channels = [builder.graph().shape(x).last()];
    let gamma = builder.parameter("weight", channels, Initializer::Ones)?;
    let beta = builder.parameter("bias", channels, Initializer::Zeros)?;
    let scaled = ops::mul(builder.graph(), x, gamma)?;
    ops::add(builder.graph(), scaled, beta)
}

impl Layer for LayerNormalization {
    fn type_name(&self) -> &'static str {
        "layer_normalization"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        expect_epsilon(builder, self.epsilon)?;
        let last = builder.dims(inputs[0]).len() - 1;
        let result = normalize(builder.graph(), inputs[0], &[last], self.epsilon)?;
        scale_and_shift(builder, result)
    }
}

impl Layer for GroupNormalization {
    fn type_name(&self) -> &'static str {
        "group_normalization"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        expect_epsilon(builder, self.epsilon)?;
        let [n, h, w, c] = builder.feature_map(inputs[0])?;
        let groups = if self.groups == -1 { c } else { usize::try_from(self.groups).unwrap_or(0) };
        if groups == 0 || c % groups != 0 {
            return Err(builder.error(format!("groups = {} do not divide {c} channels", self.groups)));
        }
        let apart = ops::reshape(builder.graph(), inputs[0], [n, h * w, groups, c / groups])?;
        let result = normalize(builder.graph(), apart, &[1, 3], self.epsilon)?;
        let result = ops::reshape(builder.graph(), result, [n, h, w, c])?;
        scale_and_shift(builder, result)
    }
}

impl Layer for InstanceNormalization {
    fn type_name(&self) -> &'static str {
        "instance_normalization"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        GroupNormalization { groups: -1, epsilon: self.epsilon }.build(builder, inputs)
    }
}

impl Layer for RmsNormalization {
    fn type_name(&self) -> &'static str {
        "rms_normalization"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        expect_epsilon(builder, self.epsilon)?;
        let last = builder.dims(inputs[0]).len() - 1;
        let channels = [builder.graph().shape(inputs[0]).last()];
        let result = over_root_mean_square(builder.graph(), inputs[0], &[last], self.epsilon)?;
        let gamma = builder.parameter("weight", channels, Initializer::Ones)?;
        ops::mul(builder.graph(), result, gamma)
    }
}
