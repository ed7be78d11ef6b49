use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Builder, Initializer, Layer};
use crate::ops;

/// Each channel, which is the last axis, shifted and scaled to mean 0 and variance 1, then by learned numbers.
///
/// In training mean and variance are those of the batch (divided by n, not n - 1), and the running ones become
/// `momentum running + (1 - momentum) batch`. In inference, and if the layer is frozen, the running ones are used.
///
/// Parameters `[c]`: `weight` (gamma), `bias` (beta); states: `running_mean`, `running_var`.
/// Source: Ioffe & Szegedy, 2015, <https://arxiv.org/abs/1502.03167>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchNormalization {
    /// The share of the running statistics that is kept in a step.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
}

impl Default for BatchNormalization {
    /// Keras's: momentum 0.99, epsilon 0.001.
    fn default() -> Self {
        Self { momentum: 0.99, epsilon: 1e-3 }
    }
}

impl Layer for BatchNormalization {
    fn type_name(&self) -> &'static str {
        "batch_normalization"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(builder.error(format!("momentum must be between 0 and 1, but is {}", self.momentum)));
        }
        let epsilon = self.epsilon as f32;
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            return Err(builder.error(format!("epsilon must be positive, but is {}", self.epsilon)));
        }
        let channels = [builder.graph().shape(inputs[0]).last()];
        let gamma = builder.parameter("weight", channels, Initializer::Ones)?;
        let beta = builder.parameter("bias", channels, Initializer::Zeros)?;
        let frozen = builder.frozen();
        let mean = builder.state("running_mean", channels, Initializer::Zeros)?;
        let variance = builder.state("running_var", channels, Initializer::Ones)?;
        let training = builder.training().is_some();
        let graph = builder.graph();
        if frozen || !training {
            return ops::batch_norm_inference(graph, inputs[0], gamma, beta, mean, variance, epsilon);
        }
        let op = ops::BatchNorm { epsilon, momentum: self.momentum };
        let (result, next_mean, next_variance) =
            ops::batch_norm(graph, inputs[0], [gamma, beta], [mean, variance], op)?;
        graph.update(mean, next_mean);
        graph.update(variance, next_variance);
        Ok(result)
    }
}
