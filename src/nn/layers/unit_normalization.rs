use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Function, Graph, Value};
use crate::nn::{Builder, Layer};
use crate::ops;

/// The values along the last axis divided by the root of the sum of their squares, so that only their direction is left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitNormalization {}

/// Least sum of squares that is divided by: zeros stay zeros.
const LEAST: f32 = 1e-12;

/// `x / √max(Σx², 1e-12)` along an axis.
pub(super) fn to_unit_length(graph: &mut Graph, x: Value, axis: usize) -> Result<Value> {
    let squares = ops::mul(graph, x, x)?;
    let sum = ops::sum(graph, squares, &[axis], true)?;
    let factor = ops::apply(graph, sum, |sum| sum.with(Function::Max, LEAST).call(Function::Rsqrt))?;
    ops::mul(graph, x, factor)
}

impl Layer for UnitNormalization {
    fn type_name(&self) -> &'static str {
        "unit_normalization"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let last = builder.dims(inputs[0]).len() - 1;
        to_unit_length(builder.graph(), inputs[0], last)
    }
}
