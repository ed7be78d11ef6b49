use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::builder::sample;
use crate::nn::{Builder, Layer};
use crate::ops;

/// The axes in another order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permute {
    /// Which axis comes where, counted from 1; the batch stays first.
    pub dims: Vec<usize>,
}

impl Layer for Permute {
    fn type_name(&self) -> &'static str {
        "permute"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let dims = builder.dims(inputs[0]);
        let mut sorted = self.dims.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(1..dims.len()) {
            let message = format!("dims {:?} do not name each axis of {} once, from 1 on", self.dims, sample(&dims));
            return Err(builder.error(message));
        }
        let order: Vec<usize> = [0].into_iter().chain(self.dims.iter().copied()).collect();
        ops::transpose(builder.graph(), inputs[0], &order)
    }
}
