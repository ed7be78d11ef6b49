use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Graph, Value};
use crate::nn::builder::MOST_PIXELS;
use crate::nn::{Builder, Layer};
use crate::ops;
use crate::tensor::Tensor;

/// The picture in another size: `[n, h, w, c]` to `[n, height, width, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resizing {
    /// Rows of the result.
    pub height: usize,
    /// Columns of the result.
    pub width: usize,
    /// From where its pixels are taken.
    #[serde(default = "bilinear")]
    pub interpolation: Interpolation,
}

/// Keras's default.
fn bilinear() -> Interpolation {
    Interpolation::Bilinear
}

/// What stands between pixels. The middle of pixel `i` of a row lies at `i + 1/2`, in both sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// The pixel in which the place lies.
    Nearest,
    /// A mean of the two pixels beside it in each direction, weighed by how near they are.
    Bilinear,
}

impl Interpolation {
    /// Shares `[to, from]` of the pixels of a row in those of another.
    fn matrix(self, from: usize, to: usize) -> Result<Tensor> {
        let mut shares = vec![0.0; to * from];
        for (i, row) in shares.chunks_mut(from).enumerate() {
            match self {
                Self::Nearest => row[(2 * i + 1) * from / (2 * to)] = 1.0,
                Self::Bilinear => {
                    let place = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
                    let place = place.clamp(0.0, (from - 1) as f64);
                    let (left, share) = (place as usize, place.fract() as f32);
                    row[left] = 1.0 - share;
                    if share > 0.0 {
                        row[left + 1] = share;
                    }
                }
            }
        }
        Tensor::new([to, from], shares)
    }
}

/// A map in another size. Each axis is a product with a constant matrix, so that the gradient is one as well.
pub(super) fn resize(graph: &mut Graph, x: Value, size: [usize; 2], interpolation: Interpolation) -> Result<Value> {
    let mut result = x;
    for (axis, to) in [(1, size[0]), (2, size[1])] {
        let mut dims = graph.shape(result).dims().to_vec();
        let from = dims[axis];
        if from == to {
            continue;
        }
        // The axis comes first, and goes back to where it was.
        let order = if axis == 1 { [1, 0, 2, 3] } else { [2, 1, 0, 3] };
        let turned = ops::transpose(graph, result, &order)?;
        let flat = ops::reshape(graph, turned, [from, dims.iter().product::<usize>() / from])?;
        let matrix = graph.constant(interpolation.matrix(from, to)?);
        let product = ops::matmul(graph, matrix, flat, false, false)?;
        dims[axis] = to;
        let turned = ops::reshape(graph, product, order.map(|axis| dims[axis]))?;
        result = ops::transpose(graph, turned, &order)?;
    }
    Ok(result)
}

impl Layer for Resizing {
    fn type_name(&self) -> &'static str {
        "resizing"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let &Self { height, width, interpolation } = self;
        builder.feature_map(inputs[0])?;
        if height.min(width) == 0 || height.max(width) > MOST_PIXELS {
            return Err(builder.error(format!("height and width {height}x{width} must be between 1 and {MOST_PIXELS}")));
        }
        resize(builder.graph(), inputs[0], [height, width], interpolation)
    }
}
