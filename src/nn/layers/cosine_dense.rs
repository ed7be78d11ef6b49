use serde::{Deserialize, Serialize};

use super::unit_normalization::to_unit_length;
use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Builder, Initializer, Layer};
use crate::ops;

/// The cosine of the angle between the values along the last axis and each of `units` learned directions: `[n, .., c]` to
/// `[n, .., units]`. A dense layer of which neither the length of the input nor that of a column counts.
///
/// Parameter: `weight` `[c, units]`.
/// Source: Wang et al., NormFace, 2017, <https://arxiv.org/abs/1704.06369>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineDense {
    /// How many directions.
    pub units: usize,
    /// How `weight` starts.
    #[serde(default)]
    pub kernel_initializer: Initializer,
}

impl CosineDense {
    /// With directions that start as those of a dense layer.
    pub fn new(units: usize) -> Self {
        Self { units, kernel_initializer: Initializer::GlorotUniform }
    }
}

impl Layer for CosineDense {
    fn type_name(&self) -> &'static str {
        "cosine_dense"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.expect_positive(&[("units", self.units)])?;
        let dims = builder.dims(inputs[0]);
        let (last, channels) = (dims.len() - 1, dims[dims.len() - 1]);
        let weight = builder.parameter("weight", [channels, self.units], self.kernel_initializer)?;
        let graph = builder.graph();
        let directions = to_unit_length(graph, inputs[0], last)?;
        let columns = to_unit_length(graph, weight, 0)?;
        ops::matmul(graph, directions, columns, false, false)
    }
}
