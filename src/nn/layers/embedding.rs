use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Function, Value};
use crate::nn::{Builder, Initializer, Layer};
use crate::ops;
use crate::tensor::Tensor;

/// A learned row for each whole number from 0 on: `[n, ..]` to `[n, .., output_dim]`. Values are rounded; what is none of the
/// numbers then becomes zeros.
///
/// Parameter: `weight` `[input_dim, output_dim]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Embedding {
    /// How many numbers there are.
    pub input_dim: usize,
    /// Values of a row.
    pub output_dim: usize,
}

impl Layer for Embedding {
    fn type_name(&self) -> &'static str {
        "embedding"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let &Self { input_dim, output_dim } = self;
        builder.expect_positive(&[("input_dim", input_dim), ("output_dim", output_dim)])?;
        let dims = builder.dims(inputs[0]);
        let table = builder.parameter("weight", [input_dim, output_dim], Initializer::RandomUniform)?;
        let graph = builder.graph();
        // A network's values are floats. Each is compared with all numbers, and the 1 among the 0 picks the row.
        let column = ops::reshape(graph, inputs[0], [dims.iter().product(), 1])?;
        let numbers = graph.constant(Tensor::new([input_dim], (0..input_dim).map(|i| i as f32).collect::<Vec<f32>>())?);
        let whole = ops::unary(graph, Function::Round, column)?;
        let chosen = ops::binary(graph, Function::Equal, whole, numbers)?;
        let rows = ops::matmul(graph, chosen, table, false, false)?;
        ops::reshape(graph, rows, [dims, vec![output_dim]].concat())
    }
}
