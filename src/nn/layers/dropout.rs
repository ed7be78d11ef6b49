use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Builder, Layer};
use crate::ops;

/// In training, sets a share of the values to 0, others each time, and scales the rest up to keep the mean.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// The share, at least 0 and below 1.
    pub rate: f64,
}

impl Layer for Dropout {
    fn type_name(&self) -> &'static str {
        "dropout"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        if !(0.0..1.0).contains(&self.rate) {
            return Err(builder.error(format!("rate must be at least 0 and below 1, but is {}", self.rate)));
        }
        match builder.training() {
            Some((step, seed)) => ops::dropout(builder.graph(), inputs[0], step, self.rate as f32, seed),
            None => Ok(inputs[0]),
        }
    }
}
