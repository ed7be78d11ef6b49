use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Builder, Edges, Layer};
use crate::ops;

/// Rows and columns cut off around the picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cropping2D {
    /// How many.
    pub cropping: Edges,
}

impl Layer for Cropping2D {
    fn type_name(&self) -> &'static str {
        "cropping2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let [n, h, w, c] = builder.feature_map(inputs[0])?;
        builder.expect_edges(self.cropping.0)?;
        let Edges([top, bottom, left, right]) = self.cropping;
        if top + bottom >= h || left + right >= w {
            return Err(builder.error(format!("nothing is left of a map of {h}x{w}")));
        }
        ops::slice(builder.graph(), inputs[0], &[0..n, top..h - bottom, left..w - right, 0..c])
    }
}
