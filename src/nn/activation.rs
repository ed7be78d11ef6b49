use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::ops;

/// The function through which a layer's result goes, under Keras's names and with its constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// The same values.
    #[default]
    Linear,
    /// max(x, 0).
    Relu,
    /// x, or 0.2 x where that is negative.
    LeakyRelu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x, or exp(x) - 1 where that is negative.
    Elu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// x sigmoid(x).
    #[serde(alias = "swish")]
    Silu,
    /// x times the normal distribution function of x.
    Gelu,
    /// log(1 + exp(x)).
    Softplus,
    /// x relu6(x + 3) / 6.
    #[serde(alias = "hard_silu")]
    HardSwish,
    /// x tanh(softplus(x)).
    Mish,
    /// relu6(x + 3) / 6.
    HardSigmoid,
    /// Probabilities along the last axis.
    Softmax,
    /// Their logarithms.
    LogSoftmax,
}

impl Activation {
    /// Emits the function of `x`.
    pub fn apply(self, graph: &mut Graph, x: Value) -> Result<Value> {
        match self {
            Self::Linear => Ok(x),
            Self::Relu => ops::relu(graph, x),
            Self::LeakyRelu => ops::leaky_relu(graph, x, 0.2),
            Self::Relu6 => ops::relu6(graph, x),
            Self::Elu => ops::elu(graph, x, 1.0),
            Self::Sigmoid => ops::sigmoid(graph, x),
            Self::Tanh => ops::tanh(graph, x),
            Self::Silu => ops::silu(graph, x),
            Self::Gelu => ops::gelu(graph, x),
            Self::Softplus => ops::softplus(graph, x),
            Self::HardSwish => ops::hard_swish(graph, x),
            Self::Mish => {
                let softplus = ops::softplus(graph, x)?;
                let factor = ops::tanh(graph, softplus)?;
                ops::mul(graph, x, factor)
            }
            Self::HardSigmoid => {
                let shifted = ops::apply(graph, x, |x| x + 3.0)?;
                let clipped = ops::relu6(graph, shifted)?;
                ops::apply(graph, clipped, |x| x * (1.0 / 6.0))
            }
            Self::Softmax => ops::softmax(graph, x),
            Self::LogSoftmax => ops::log_softmax(graph, x),
        }
    }

    /// Whether it turns logits into probabilities, so that a loss should be computed from the logits.
    pub fn is_probability(self) -> bool {
        matches!(self, Self::Sigmoid | Self::Softmax)
    }
}
