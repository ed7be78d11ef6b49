//! Maximum and average over a window which slides over an image.
//!
//! Windows may overlap. Padding is never the maximum, and is not counted in an average (Keras; some libraries count it).
//! The gradient of a maximum goes to the first of equal pixels, in row-major order within the window.

mod geometry;
mod grad;

use std::sync::Arc;

use rayon::prelude::*;

use super::conv2d::Conv2dMaxPool;
use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Expression, Function, Graph, Kernel, Op, Tolerance, Value};
use crate::simd::vectorized;
use crate::tensor::{Array, Meta, View, ViewMut};
use geometry::{Geometry, variant};
pub use grad::{AveragePool2dGrad, MaxPool2dGrad};

/// Attributes of pooling. Pairs are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Pixels under the window.
    pub window: [usize; 2],
    /// Pixels from one position to the next.
    pub stride: [usize; 2],
    /// Pixels added at the top, bottom, left and right; less than the window has.
    pub padding: [usize; 4],
}

/// What becomes of the pixels under a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their maximum.
    Max,
    /// Their mean.
    Average,
}

/// Pools x `[n, h, w, c]`. See [`max_pool2d`] and [`average_pool2d`].
#[derive(Clone, Debug)]
pub struct Pool2dForward {
    pub(crate) pooling: Pooling,
    pub(crate) pool: Pool2d,
}

impl Pool2dForward {
    /// The maximum under each position of the window.
    pub fn max(pool: Pool2d) -> Self {
        Self { pooling: Pooling::Max, pool }
    }
}

impl Op for Pool2dForward {
    fn name(&self) -> &'static str {
        match self.pooling {
            Pooling::Max => "max_pool2d",
            Pooling::Average => "average_pool2d",
        }
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let Geometry { n, output: [h, w], channels, .. } = Geometry::new(self.name(), self.pool, inputs[0])?;
        Ok(Meta::f32([n, h, w, channels]))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        let x = at.inputs[0];
        match self.pooling {
            Pooling::Max => graph.apply(MaxPool2dGrad { pool: self.pool }, &[x, at.output, at.grad]),
            Pooling::Average => {
                let [_, h, w, _] = graph.shape(x).expect("average_pool2d", "the input")?;
                graph.apply(AveragePool2dGrad { pool: self.pool, input: [h, w] }, &[at.grad])
            }
        }
        .map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let [h, w] = [1, 2].map(|axis| inputs[0].shape.dims()[axis]);
        let mut result = Array::zeros(&output.shape);
        for index in super::grid::indices(&output.shape) {
            let [n, row, column, c] = [index[0], index[1], index[2], index[3]];
            let values: Vec<f64> =
                taps(self.pool, [h, w], row, column).map(|(y, x)| inputs[0].at(&[n, y, x, c])).collect();
            *result.at_mut(&index) = match self.pooling {
                Pooling::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Pooling::Average => values.iter().sum::<f64>() / values.len() as f64,
            };
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let g = Geometry::known(self.pool, inputs[0].meta);
        let (c, [rows, columns]) = (g.channels, g.output);
        let [image, _] = g.image();
        let lines = output.f32().par_chunks_exact_mut(columns * c);
        lines.with_min_len(LINE_TASK.div_ceil(columns * c)).enumerate().for_each(|(i, line)| {
            let image = &inputs[0].f32()[i / rows * image..][..image];
            vectorized(
                #[inline(always)]
                || {
                    for (column, result) in line.chunks_exact_mut(c).enumerate() {
                        let mut taps = g.taps(i % rows, column).map(|tap| &image[tap * c..][..c]);
                        result.copy_from_slice(taps.next().expect("no window is empty"));
                        match self.pooling {
                            Pooling::Max => taps.for_each(|tap| {
                                result.iter_mut().zip(tap).for_each(|(r, &x)| *r = if x > *r { x } else { *r });
                            }),
                            Pooling::Average => {
                                taps.for_each(|tap| result.iter_mut().zip(tap).for_each(|(r, &x)| *r += x));
                                let share = 1.0 / g.count(i % rows, column) as f32;
                                result.iter_mut().for_each(|r| *r *= share);
                            }
                        }
                    }
                },
            );
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let g = Geometry::known(self.pool, inputs[0]);
        let kernel = |&width: &usize| {
            let threads = output.elements() / width;
            let launch = g
                .launch("pool2d.wgsl", include_str!("../../../shaders/pool2d.wgsl"), width)
                .constants([("MAX", usize::from(self.pooling == Pooling::Max))])
                .params([threads])
                .bindings([Binding::Input(0), Binding::Output])
                .threads(threads, 64);
            Kernel::single(variant(width), launch)
        };
        g.widths().iter().map(kernel).collect()
    }

    fn absorb(
        &self,
        graph: &Graph,
        inputs: &[Value],
        alone: &dyn Fn(Value) -> bool,
    ) -> Option<(Arc<dyn Op>, Vec<Value>)> {
        let node = graph.node(inputs[0]);
        let conv = node.downcast().filter(|_| self.pooling == Pooling::Max && alone(inputs[0]))?;
        let metas: Vec<&Meta> = node.inputs.iter().map(|&v| graph.meta(v)).collect();
        Some((Arc::new(Conv2dMaxPool::of(conv, self.pool, &metas)?), node.inputs.clone()))
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        match self.pooling {
            Pooling::Max => Tolerance::Exact,
            Pooling::Average => Tolerance::Sum(self.pool.window[0] * self.pool.window[1]),
        }
    }

    fn flops(&self, _inputs: &[&Meta], output: &Meta) -> u64 {
        (output.elements() * self.pool.window[0] * self.pool.window[1]) as u64
    }
}

/// Elements of the result which a task of the CPU makes, at least.
const LINE_TASK: usize = 4 << 10;

/// Row and column of each pixel under a window, in row-major order.
fn taps(pool: Pool2d, size: [usize; 2], row: usize, column: usize) -> impl Iterator<Item = (usize, usize)> {
    let Pool2d { window, stride, padding } = pool;
    let window = super::Window { size: window, stride, padding, dilation: [1, 1] };
    let at = move |axis: usize, position: usize, tap: usize| window.pixel(axis, position, tap, size[axis]);
    (0..window.size[0])
        .flat_map(move |tap| at(0, row, tap))
        .flat_map(move |y| (0..window.size[1]).flat_map(move |tap| at(1, column, tap)).map(move |x| (y, x)))
}

/// The largest value under each position of the window, by channel: x `[n, h, w, c]` to `[n, oh, ow, c]`, where
/// `oh = (h + top + bottom - window) / stride + 1`, rounded down, and `ow` alike.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let x = graph.input("x", Meta::f32([8, 28, 28, 3]));
/// let pool = ops::Pool2d { window: [2, 2], stride: [2, 2], padding: [0; 4] };
/// let y = ops::max_pool2d(&mut graph, x, pool)?;
/// assert_eq!(graph.shape(y).dims(), [8, 14, 14, 3]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if x is not f32 `[n, h, w, c]`, if the window is larger than the padded input, or the padding as large as the
/// window.
pub fn max_pool2d(graph: &mut Graph, x: Value, pool: Pool2d) -> Result<Value> {
    // The maximum commutes with relu and with what is added to all pixels of a channel: they have fewer values to deal with
    // behind it, forward and backward.
    let node = graph.node(x);
    let inputs = node.inputs.clone();
    let expression = node.op().and_then(|op| op.expression());
    if expression == Some(&Expression::of(Function::Relu)) {
        let largest = max_pool2d(graph, inputs[0], pool)?;
        return super::relu(graph, largest);
    }
    let by_channel = |v: Value| graph.shape(v).rank() <= 1 && graph.meta(inputs[0]) == graph.meta(x);
    if expression == Some(&Expression::of(Function::Add)) && by_channel(inputs[1]) {
        let largest = max_pool2d(graph, inputs[0], pool)?;
        return super::add(graph, largest, inputs[1]);
    }
    graph.apply(Pool2dForward::max(pool), &[x])
}

/// The mean under each position of the window, padding not counted. Otherwise like [`max_pool2d`].
pub fn average_pool2d(graph: &mut Graph, x: Value, pool: Pool2d) -> Result<Value> {
    graph.apply(Pool2dForward { pooling: Pooling::Average, pool }, &[x])
}

/// The largest value of each channel: x `[n, h, w, c]` to `[n, c]`.
///
/// Errors: if x is not f32 `[n, h, w, c]`.
pub fn global_max_pool2d(graph: &mut Graph, x: Value) -> Result<Value> {
    expect_image("global_max_pool2d", graph.meta(x))?;
    super::max_over(graph, x, &[1, 2], false)
}

/// The mean of each channel: x `[n, h, w, c]` to `[n, c]`.
///
/// Errors: if x is not f32 `[n, h, w, c]`.
pub fn global_average_pool2d(graph: &mut Graph, x: Value) -> Result<Value> {
    expect_image("global_average_pool2d", graph.meta(x))?;
    super::mean(graph, x, &[1, 2], false)
}

fn expect_image(at: &str, x: &Meta) -> Result<()> {
    match x.shape.rank() {
        4 => Ok(()),
        _ => Err(Error::shape(
            at,
            format!("the input must be [n, height, width, channels], but its shape is {}", x.shape),
        )),
    }
}

/// Odd sizes, strides longer and shorter than the window, padding on some sides only, what lies in no window.
fn cases() -> Vec<([usize; 4], Pool2d)> {
    let case = |shape, window, stride, padding| (shape, Pool2d { window, stride, padding });
    vec![
        case([2, 6, 8, 4], [2, 2], [2, 2], [0; 4]),
        case([1, 7, 5, 3], [2, 2], [2, 2], [0; 4]),
        case([2, 7, 9, 3], [3, 3], [2, 2], [1; 4]),
        case([2, 5, 6, 8], [3, 2], [1, 1], [0, 2, 1, 0]),
        case([1, 9, 10, 1], [2, 2], [3, 4], [0; 4]),
        case([1, 9, 8, 4], [2, 3], [4, 3], [1, 0, 0, 2]),
        case([3, 4, 4, 5], [4, 4], [4, 4], [0; 4]),
        case([1, 3, 3, 4], [1, 1], [1, 1], [0; 4]),
        case([1, 4, 5, 2], [2, 3], [1, 2], [1, 1, 2, 2]),
        case([1, 1, 1, 1], [1, 1], [1, 1], [0; 4]),
        case([2, 8, 7, 36], [3, 3], [3, 3], [1, 0, 0, 2]),
    ]
}

pub(super) fn samples() -> Vec<Sample> {
    let forward = |pooling, (shape, pool): ([usize; 4], Pool2d)| {
        Sample::of(Pool2dForward { pooling, pool }, [Given::distinct(&shape)])
    };
    let mut samples: Vec<Sample> = [Pooling::Max, Pooling::Average]
        .iter()
        .flat_map(|&p| cases().into_iter().map(move |c| forward(p, c)))
        .collect();
    // More than 65 535 workgroups.
    let wide = ([1, 2, 2_100_000, 1], Pool2d { window: [1, 2], stride: [1, 1], padding: [0; 4] });
    samples.push(forward(Pooling::Max, wide).forward_only());
    samples.extend(grad::samples());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_gradient, evaluate};

    const SIDE_BY_SIDE: Pool2d = Pool2d { window: [2, 2], stride: [2, 2], padding: [0; 4] };
    const OVERLAPPING: Pool2d = Pool2d { window: [2, 2], stride: [1, 1], padding: [0; 4] };
    const SHAPE: &[usize] = &[1, 2, 4, 1];
    const X: [f64; 8] = [-3.0, -1.0, -1.0, -5.0, -2.0, -1.0, -4.0, -1.0];

    /// The gradient of the sum of all maxima, counted 1, 2, 3, ….
    fn gradient(pool: Pool2d) -> Vec<f64> {
        let all = |g: &mut Graph, v: &[Value]| {
            let y = max_pool2d(g, v[0], pool)?;
            let n = g.shape(y).elements();
            let weights = (1..=n).map(|i| i as f32).collect::<Vec<_>>();
            let weights = g.constant(crate::tensor::Tensor::new(g.shape(y).clone(), weights)?);
            let product = super::super::mul(g, y, weights)?;
            let loss = super::super::sum(g, product, &[0, 1, 2, 3], false)?;
            Ok(g.differentiate(loss, v)?[0])
        };
        evaluate(&[(SHAPE, &X)], all).data
    }

    #[test]
    fn known_values() {
        let max = |pool| evaluate(&[(SHAPE, &X)], |g, v| max_pool2d(g, v[0], pool)).data;
        assert_eq!(max(SIDE_BY_SIDE), [-1.0, -1.0]);
        assert_eq!(max(OVERLAPPING), [-1.0, -1.0, -1.0]);
        // Zeros would win if padding counted.
        let padded = Pool2d { padding: [1, 0, 0, 0], ..SIDE_BY_SIDE };
        assert_eq!(max(padded), [-1.0, -1.0]);
        let average = |pool| evaluate(&[(SHAPE, &X)], |g, v| average_pool2d(g, v[0], pool)).data;
        assert_eq!(average(SIDE_BY_SIDE), [-1.75, -2.75]);
        assert_eq!(average(padded), [-2.0, -3.0]);
    }

    #[test]
    fn the_gradient_of_ties_goes_to_the_first() {
        assert_eq!(gradient(SIDE_BY_SIDE), [0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(gradient(OVERLAPPING), [0.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn global_pooling_leaves_channels() {
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        let shape: &[usize] = &[1, 2, 3, 2];
        assert_eq!(evaluate(&[(shape, &x)], |g, v| global_max_pool2d(g, v[0])).data, [10.0, 11.0]);
        let mean = evaluate(&[(shape, &x)], |g, v| global_average_pool2d(g, v[0]));
        assert_eq!((mean.shape.dims(), mean.data.as_slice()), (&[1, 2][..], &[5.0, 6.0][..]));
        assert_gradient(&[(shape, &x)], |g, v| global_max_pool2d(g, v[0]));
        assert_gradient(&[(shape, &x)], |g, v| global_average_pool2d(g, v[0]));
    }

    #[test]
    fn misfits_are_errors() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([2, 3, 3, 4]));
        let flat = graph.input("flat", Meta::f32([2, 36]));
        let large = Pool2d { window: [4, 4], ..SIDE_BY_SIDE };
        let message = max_pool2d(&mut graph, x, large).unwrap_err().to_string();
        assert!(message.contains("max_pool2d: window 4x4 does not fit the padded input 3x3"), "{message}");
        let padded = Pool2d { padding: [0, 2, 0, 0], ..SIDE_BY_SIDE };
        let message = average_pool2d(&mut graph, x, padded).unwrap_err().to_string();
        assert!(message.contains("must be less than the window 2x2"), "{message}");
        assert!(max_pool2d(&mut graph, x, Pool2d { stride: [0, 1], ..SIDE_BY_SIDE }).is_err());
        assert!(max_pool2d(&mut graph, flat, SIDE_BY_SIDE).is_err());
        assert!(global_max_pool2d(&mut graph, flat).is_err());
    }
}
