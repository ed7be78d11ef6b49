use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::nn::builder::{sample, samples};
use crate::nn::{Builder, Layer};
use crate::ops;

/// The sum of two or more inputs of one shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {}

/// The product of two or more inputs, which are of one shape, or 1 along axes where they repeat.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multiply {}

/// The mean of two or more inputs of one shape.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {}

/// The largest of two or more inputs of one shape, place by place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maximum {}

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

impl Layer for Add {
    fn type_name(&self) -> &'static str {
        "add"
    }

    fn merges(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.expect_one_shape(inputs)?;
        fold(builder, inputs, ops::add)
    }
}

impl Layer for Multiply {
    fn type_name(&self) -> &'static str {
        "multiply"
    }

    fn merges(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|&x| builder.dims(x)).collect();
        let agree = |s: &Vec<usize>| {
            s.len() == shapes[0].len() && s.iter().zip(&shapes[0]).all(|(a, b)| a == b || *a == 1 || *b == 1)
        };
        if !shapes.iter().all(agree) {
            return Err(builder.error(format!("needs inputs that agree or are 1, but gets {}", samples(&shapes))));
        }
        fold(builder, inputs, ops::mul)
    }
}

impl Layer for Average {
    fn type_name(&self) -> &'static str {
        "average"
    }

    fn merges(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.expect_one_shape(inputs)?;
        let sum = fold(builder, inputs, ops::add)?;
        let share = 1.0 / inputs.len() as f32;
        ops::apply(builder.graph(), sum, |sum| sum * share)
    }
}

impl Layer for Maximum {
    fn type_name(&self) -> &'static str {
        "maximum"
    }

    fn merges(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.expect_one_shape(inputs)?;
        fold(builder, inputs, ops::max)
    }
}

fn fold(
    builder: &mut Builder<'_>,
    inputs: &[Value],
    op: fn(&mut Graph, Value, Value) -> Result<Value>,
) -> Result<Value> {
    inputs[1..].iter().try_fold(inputs[0], |result, &x| op(builder.graph(), result, x))
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
            let message = format!("needs inputs that agree but for axis {axis}, but gets {}", samples(&shapes));
            return Err(builder.error(message));
        }
        ops::concat(builder.graph(), inputs, axis)
    }
}
