use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Builder, Initializer, Layer};
use crate::ops;

/// Each channel times a learned number, `layer_scale` `[c]`, which starts small.
///
/// Source: Touvron et al., 2021, <https://arxiv.org/abs/2103.17239>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerScale {
    /// What it starts with.
    pub initial: f64,
}

impl Default for LayerScale {
    fn default() -> Self {
        Self { initial: 1e-6 }
    }
}

impl Layer for LayerScale {
    fn type_name(&self) -> &'static str {
        "layer_scale"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let channels = [builder.graph().shape(inputs[0]).last()];
        let scale = builder.parameter("layer_scale", channels, Initializer::Constant(self.initial))?;
        ops::mul(builder.graph(), inputs[0], scale)
    }
}
