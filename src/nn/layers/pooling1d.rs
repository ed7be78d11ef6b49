use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::nn::{Builder, Layer, StepPadding};
use crate::ops::{self, Pool2d};

/// The largest value in each window: `[n, steps, c]` to `[n, steps', c]`. Padding never wins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPooling1D {
    /// Steps of the window.
    #[serde(default = "two")]
    pub size: usize,
    /// Steps from one window to the next; its size, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strides: Option<usize>,
    /// What is added around the sequence.
    #[serde(default)]
    pub padding: StepPadding,
}

/// The mean of each window: `[n, steps, c]` to `[n, steps', c]`. Padding does not count.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AveragePooling1D {
    /// Steps of the window.
    #[serde(default = "two")]
    pub size: usize,
    /// Steps from one window to the next; its size, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strides: Option<usize>,
    /// What is added around the sequence.
    #[serde(default)]
    pub padding: StepPadding,
}

/// The largest value of each channel: `[n, steps, c]` to `[n, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalMaxPooling1D {}

/// The mean of each channel: `[n, steps, c]` to `[n, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAveragePooling1D {}

fn two() -> usize {
    2
}

/// The sequence as a picture of one row.
fn row(builder: &mut Builder<'_>, x: Value) -> Result<Value> {
    let [n, steps, c] = builder.sequence(x)?;
    ops::reshape(builder.graph(), x, [n, 1, steps, c])
}

fn pool(
    builder: &mut Builder<'_>,
    x: Value,
    size: usize,
    strides: Option<usize>,
    padding: StepPadding,
    op: fn(&mut Graph, Value, Pool2d) -> Result<Value>,
) -> Result<Value> {
    let row = row(builder, x)?;
    let (window, stride) = ([1, size], [1, strides.unwrap_or(size)]);
    let padding = builder.window(row, padding.beside_a_row(size, 1), window, stride, [1, 1])?;
    let pooled = op(builder.graph(), row, Pool2d { window, stride, padding })?;
    let [n, _, steps, c] = builder.feature_map(pooled)?;
    ops::reshape(builder.graph(), pooled, [n, steps, c])
}

impl Layer for MaxPooling1D {
    fn type_name(&self) -> &'static str {
        "max_pool1d"
    }

    fn class(&self) -> &'static str {
        "max_pooling1d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        pool(builder, inputs[0], self.size, self.strides, self.padding, ops::max_pool2d)
    }
}

impl Layer for AveragePooling1D {
    fn type_name(&self) -> &'static str {
        "average_pool1d"
    }

    fn class(&self) -> &'static str {
        "average_pooling1d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        pool(builder, inputs[0], self.size, self.strides, self.padding, ops::average_pool2d)
    }
}

impl Layer for GlobalMaxPooling1D {
    fn type_name(&self) -> &'static str {
        "global_max_pool1d"
    }

    fn class(&self) -> &'static str {
        "global_max_pooling1d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let row = row(builder, inputs[0])?;
        ops::global_max_pool2d(builder.graph(), row)
    }
}

impl Layer for GlobalAveragePooling1D {
    fn type_name(&self) -> &'static str {
        "global_average_pool1d"
    }

    fn class(&self) -> &'static str {
        "global_average_pooling1d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let row = row(builder, inputs[0])?;
        ops::global_average_pool2d(builder.graph(), row)
    }
}
