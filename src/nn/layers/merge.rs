use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::builder::sample;
use crate::nn::{Builder, Layer};
use crate::ops;

/// The sum of two or more inputs of one shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

/// Two or more inputs one after the other along an axis; in the other axes they agree.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Concatenate {
    /// The axis, counted with the batch as axis 0, or from the end: -1 is the last.
    pub axis: i64,
}

impl Default for Concatenate {
    /// Along the channels.
    fn default() -> Self {
        Self { axis: -1 }
    }
}

/// Extents of each input, for messages.
fn list(shapes: &[Vec<usize>]) -> String {
    shapes.iter().map(|dims| sample(dims)).collect::<Vec<_>>().join(" and ")
}

impl Layer for Add {
    fn type_name(&self) -> &'static str {
        "add"
    }

    fn merges(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|&x| builder.dims(x)).collect();
        if shapes.iter().any(|s| *s != shapes[0]) {
            return Err(builder.error(format!("needs inputs of one shape, but gets {}", list(&shapes))));
        }
        let graph = builder.graph();
        inputs[1..].iter().try_fold(inputs[0], |sum, &x| ops::add(graph, sum, x))
    }
}

impl Layer for Concatenate {
    fn type_name(&self) -> &'static str {
        "concatenate"
    }

    fn merges(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|&x| builder.dims(x)).collect();
        let rank = shapes[0].len();
        let from_start = if self.axis < 0 { self.axis + rank as i64 } else { self.axis };
        let axis = usize::try_from(from_start).ok().filter(|a| (1..rank).contains(a)).ok_or_else(|| {
            builder.error(format!("axis {} is not one of {}, and not the batch", self.axis, sample(&shapes[0])))
        })?;
        let agree = |s: &Vec<usize>| s.len() == rank && (0..rank).all(|a| a == axis || s[a] == shapes[0][a]);
        if !shapes.iter().all(agree) {
            let message = format!("needs inputs that agree but for axis {axis}, but gets {}", list(&shapes));
            return Err(builder.error(message));
        }
        ops::concat(builder.graph(), inputs, axis)
    }
}
