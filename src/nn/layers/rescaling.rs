use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Builder, Layer};
use crate::ops;

/// `x scale + offset`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rescaling {
    /// The factor.
    pub scale: f64,
    /// What is added.
    #[serde(default)]
    pub offset: f64,
}

impl Layer for Rescaling {
    fn type_name(&self) -> &'static str {
        "rescaling"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        ops::apply(builder.graph(), inputs[0], |x| x * self.scale as f32 + self.offset as f32)
    }
}
