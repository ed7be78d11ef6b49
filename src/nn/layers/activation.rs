use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Activation, Builder, Layer};

/// An activation as a layer of its own; Keras's `Activation`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationLayer {
    /// The function.
    pub activation: Activation,
}

impl Layer for ActivationLayer {
    fn type_name(&self) -> &'static str {
        "activation"
    }

    fn build(&self, _builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        Ok(inputs[0])
    }

    fn activation(&self) -> Activation {
        self.activation
    }
}
