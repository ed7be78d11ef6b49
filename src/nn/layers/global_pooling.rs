use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Builder, Layer};
use crate::ops;

/// The mean of each channel: `[n, h, w, c]` to `[n, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAveragePooling2D {}

/// The largest value of each channel: `[n, h, w, c]` to `[n, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalMaxPooling2D {}

impl Layer for GlobalAveragePooling2D {
    fn type_name(&self) -> &'static str {
        "global_average_pool2d"
    }

    fn class(&self) -> &'static str {
        "global_average_pooling2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.feature_map(inputs[0])?;
        ops::global_average_pool2d(builder.graph(), inputs[0])
    }
}

impl Layer for GlobalMaxPooling2D {
    fn type_name(&self) -> &'static str {
        "global_max_pool2d"
    }

    fn class(&self) -> &'static str {
        "global_max_pooling2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.feature_map(inputs[0])?;
        ops::global_max_pool2d(builder.graph(), inputs[0])
    }
}
