use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::attributes::padding;
use crate::nn::{Builder, Layer, Pair};
use crate::ops::{self, Padding, Pool2d};

/// The largest value in each window: `[n, h, w, c]` to `[n, h', w', c]`. Padding never wins.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPooling2D {
    /// Height and width of the window.
    #[serde(default = "two")]
    pub size: Pair,
    /// Steps of the window; its size, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strides: Option<Pair>,
    /// What is added around the picture.
    #[serde(default, with = "padding")]
    pub padding: Padding,
}

/// The mean of each window: `[n, h, w, c]` to `[n, h', w', c]`. Padding does not count.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AveragePooling2D {
    /// Height and width of the window.
    #[serde(default = "two")]
    pub size: Pair,
    /// Steps of the window; its size, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strides: Option<Pair>,
    /// What is added around the picture.
    #[serde(default, with = "padding")]
    pub padding: Padding,
}

fn two() -> Pair {
    Pair([2, 2])
}

impl MaxPooling2D {
    /// Windows side by side, no padding.
    pub fn new(size: impl Into<Pair>) -> Self {
        Self { size: size.into(), strides: None, padding: Padding::Valid }
    }
}

impl AveragePooling2D {
    /// Windows side by side, no padding.
    pub fn new(size: impl Into<Pair>) -> Self {
        Self { size: size.into(), strides: None, padding: Padding::Valid }
    }
}

fn pool(builder: &Builder<'_>, x: Value, size: Pair, strides: Option<Pair>, padding: Padding) -> Result<Pool2d> {
    let (window, stride) = (size.0, strides.unwrap_or(size).0);
    let padding = builder.window(x, padding, window, stride, [1, 1])?;
    Ok(Pool2d { window, stride, padding })
}

impl Layer for MaxPooling2D {
    fn type_name(&self) -> &'static str {
        "max_pool2d"
    }

    fn class(&self) -> &'static str {
        "max_pooling2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let pool = pool(builder, inputs[0], self.size, self.strides, self.padding)?;
        ops::max_pool2d(builder.graph(), inputs[0], pool)
    }
}

impl Layer for AveragePooling2D {
    fn type_name(&self) -> &'static str {
        "average_pool2d"
    }

    fn class(&self) -> &'static str {
        "average_pooling2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let pool = pool(builder, inputs[0], self.size, self.strides, self.padding)?;
        ops::average_pool2d(builder.graph(), inputs[0], pool)
    }
}
