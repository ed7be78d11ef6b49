use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Builder, Edges, Layer};
use crate::ops;

/// Rows and columns of zeros around the picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZeroPadding2D {
    /// How many.
    #[serde(default = "one")]
    pub padding: Edges,
}

/// Keras's default.
fn one() -> Edges {
    Edges([1; 4])
}

impl Layer for ZeroPadding2D {
    fn type_name(&self) -> &'static str {
        "zero_padding2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.feature_map(inputs[0])?;
        builder.expect_edges(self.padding.0)?;
        let Edges([top, bottom, left, right]) = self.padding;
        ops::pad(builder.graph(), inputs[0], &[(0, 0), (top, bottom), (left, right), (0, 0)], 0.0)
    }
}
