use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::{Builder, Layer};
use crate::ops;
use crate::tensor::Tensor;

/// In training, sets a share of the values to 0, others each time, and scales the rest up to keep the mean.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// The share, at least 0 and below 1.
    pub rate: f64,
}

/// The same for whole channels of a picture: all places of one, or none.
///
/// Source: Tompson et al., 2015, <https://arxiv.org/abs/1411.4280>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpatialDropout2D {
    /// The share, at least 0 and below 1.
    pub rate: f64,
}

/// The same for whole pictures: what a residual block adds to its input, or nothing ("stochastic depth").
///
/// Source: Huang et al., 2016, <https://arxiv.org/abs/1603.09382>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropPath {
    /// The share, at least 0 and below 1.
    pub rate: f64,
}

/// Drops what shares one place in a mask of these extents.
fn drop(builder: &mut Builder<'_>, x: Value, rate: f64, mask: &[usize]) -> Result<Value> {
    if !(0.0..1.0).contains(&rate) {
        return Err(builder.error(format!("rate must be at least 0 and below 1, but is {rate}")));
    }
    let Some((step, seed)) = builder.training() else { return Ok(x) };
    if mask == builder.dims(x) {
        return ops::dropout(builder.graph(), x, step, rate as f32, seed);
    }
    let graph = builder.graph();
    let ones = graph.constant(Tensor::new(mask, vec![1.0; mask.iter().product()])?);
    let mask = ops::dropout(graph, ones, step, rate as f32, seed)?;
    ops::mul(graph, x, mask)
}

impl Layer for SpatialDropout2D {
    fn type_name(&self) -> &'static str {
        "spatial_dropout2d"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let [n, _, _, c] = builder.feature_map(inputs[0])?;
        drop(builder, inputs[0], self.rate, &[n, 1, 1, c])
    }
}

impl Layer for DropPath {
    fn type_name(&self) -> &'static str {
        "drop_path"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let dims = builder.dims(inputs[0]);
        let mask: Vec<usize> = dims.iter().enumerate().map(|(axis, &n)| if axis == 0 { n } else { 1 }).collect();
        drop(builder, inputs[0], self.rate, &mask)
    }
}

impl Layer for Dropout {
    fn type_name(&self) -> &'static str {
        "dropout"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let dims = builder.dims(inputs[0]);
        drop(builder, inputs[0], self.rate, &dims)
    }
}
