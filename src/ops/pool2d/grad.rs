use rayon::prelude::*;

use super::geometry::{Geometry, variant};
use super::{Pool2d, Pool2dForward, Pooling, taps};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Op, Tolerance, Value};
use crate::ops::sample::{Given, Sample};
use crate::simd::vectorized;
use crate::tensor::{Array, Meta, View, ViewMut};

/// Gradient of [`max_pool2d`](super::max_pool2d) for its input: x `[n, h, w, c]`, the maxima and their gradient
/// `[n, oh, ow, c]` to `[n, h, w, c]`. A window's gradient goes to its first pixel that equals the maximum.
#[derive(Clone, Debug)]
pub struct MaxPool2dGrad {
    pub(super) pool: Pool2d,
}

/// Gradient of [`average_pool2d`](super::average_pool2d) for its input: `[n, oh, ow, c]` to `[n, h, w, c]`. A window's
/// gradient is shared evenly by its pixels.
#[derive(Clone, Debug)]
pub struct AveragePool2dGrad {
    pub(super) pool: Pool2d,
    /// Height and width.
    pub(super) input: [usize; 2],
}

impl MaxPool2dGrad {
    /// The gradient of that pooling.
    pub fn new(pool: Pool2d) -> Self {
        Self { pool }
    }

    /// The pooling it is the gradient of.
    pub fn pool(&self) -> Pool2d {
        self.pool
    }
}

impl Op for MaxPool2dGrad {
    fn name(&self) -> &'static str {
        "max_pool2d_grad"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let pooled = Pool2dForward { pooling: Pooling::Max, pool: self.pool }.infer(&inputs[..1])?;
        if *inputs[1] != pooled || *inputs[2] != pooled {
            let message = format!("{} gives {pooled}, not {} and {}", inputs[0], inputs[1], inputs[2]);
            return Err(Error::shape(self.name(), message));
        }
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let (image, grad) = (inputs[0], inputs[2]);
        let [h, w] = [1, 2].map(|axis| output.dims()[axis]);
        let mut result = Array::zeros(&output.shape);
        for index in crate::ops::grid::indices(&grad.shape) {
            let [n, row, column, c] = [index[0], index[1], index[2], index[3]];
            let value = |(y, x): (usize, usize)| image.at(&[n, y, x, c]);
            let first = taps(self.pool, [h, w], row, column)
                .reduce(|best, tap| if value(tap) > value(best) { tap } else { best })
                .expect("no window is empty");
            *result.at_mut(&[n, first.0, first.1, c]) += grad.at(&index);
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let g = Geometry::known(self.pool, inputs[0].meta);
        let [image, pooled] = g.image();
        let spread = if g.overlap() > 1 { spread_image::<true> } else { spread_image::<false> };
        let images = output.f32().par_chunks_exact_mut(image).zip(inputs[0].f32().par_chunks_exact(image));
        let windows = inputs[1].f32().par_chunks_exact(pooled).zip(inputs[2].f32().par_chunks_exact(pooled));
        images.zip(windows).for_each(|((result, image), (largest, grad))| spread(&g, result, image, largest, grad));
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let g = Geometry::known(self.pool, inputs[0]);
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Input(2), Binding::Output];
        let gather = |&width: &usize| {
            let threads = output.elements() / width;
            let launch = g
                .launch("max_pool2d_grad.wgsl", include_str!("../../../shaders/max_pool2d_grad.wgsl"), width)
                .params([threads])
                .bindings(bindings)
                .threads(threads, 64);
            Kernel::single(variant(width), launch)
        };
        let windows = |&width: &usize| {
            let steps = [0, 1].map(|a| (g.input[a] + g.pool.padding[2 * a]).div_ceil(g.pool.stride[a]));
            let threads = g.n * steps[0] * steps[1] * g.channels / width;
            let text = include_str!("../../../shaders/max_pool2d_grad_windows.wgsl");
            let launch = g
                .launch("max_pool2d_grad_windows.wgsl", text, width)
                .constants([("ROWS", steps[0]), ("COLUMNS", steps[1])])
                .params([threads])
                .bindings(bindings)
                .threads(threads, 64);
            Kernel::single(format!("windows {}", variant(width)), launch)
        };
        let mut kernels: Vec<Kernel> = Vec::new();
        if g.overlap() == 1 {
            kernels.extend(g.widths().iter().map(windows));
        }
        kernels.extend(g.widths().iter().map(gather));
        kernels
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        match Geometry::known(self.pool, inputs[0]).overlap() {
            1 => Tolerance::Exact,
            overlap => Tolerance::Sum(overlap),
        }
    }
}

/// The gradient of one image. If windows overlap, it `ADDS` theirs up.
fn spread_image<const ADDS: bool>(g: &Geometry, result: &mut [f32], image: &[f32], largest: &[f32], grad: &[f32]) {
    let (c, columns) = (g.channels, g.output[1]);
    g.clear(result);
    vectorized(
        #[inline(always)]
        || {
            for (i, (largest, grad)) in largest.chunks_exact(c).zip(grad.chunks_exact(c)).enumerate() {
                let taps = g.taps(i / columns, i % columns);
                let mut start = 0;
                // Blocks whose gradient stays in registers from pixel to pixel.
                while start + BLOCK <= c {
                    spread_block::<ADDS, BLOCK>(taps.clone(), c, start, result, image, largest, grad);
                    start += BLOCK;
                }
                for channel in start..c {
                    spread_block::<ADDS, 1>(taps.clone(), c, channel, result, image, largest, grad);
                }
            }
        },
    );
}

const BLOCK: usize = 32;

/// Gives the gradient of one window, of `N` channels from `start` on, to the first of its pixels that is the maximum.
#[inline(always)]
fn spread_block<const ADDS: bool, const N: usize>(
    taps: impl Iterator<Item = usize>,
    channels: usize,
    start: usize,
    result: &mut [f32],
    image: &[f32],
    largest: &[f32],
    grad: &[f32],
) {
    let block = |from: &[f32], at: usize| -> [f32; N] { from[at..][..N].try_into().expect("the slice is as long") };
    let (largest, mut rest) = (block(largest, start), block(grad, start));
    for tap in taps {
        let at = tap * channels + start;
        let image = block(image, at);
        let result = &mut result[at..][..N];
        for i in 0..N {
            let share = if image[i] == largest[i] { rest[i] } else { 0.0 };
            rest[i] = if image[i] == largest[i] { 0.0 } else { rest[i] };
            result[i] = if ADDS { result[i] + share } else { share };
        }
    }
}

impl AveragePool2dGrad {
    fn geometry(&self, at: &str, grad: &Meta) -> Result<Geometry> {
        let [n, _, _, c] = grad.shape.expect(at, "the gradient")?;
        Geometry::new(at, self.pool, &Meta::f32([n, self.input[0], self.input[1], c]))
    }

    fn known(&self, grad: &Meta) -> Geometry {
        self.geometry(self.name(), grad).expect("the shape rule has accepted it")
    }
}

impl Op for AveragePool2dGrad {
    fn name(&self) -> &'static str {
        "average_pool2d_grad"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let Geometry { n, input: [h, w], output, channels, .. } = self.geometry(self.name(), inputs[0])?;
        if *inputs[0] != Meta::f32([n, output[0], output[1], channels]) {
            let message = format!("the pooling of {h}x{w} gives {}x{}, not {}", output[0], output[1], inputs[0]);
            return Err(Error::shape(self.name(), message));
        }
        Ok(Meta::f32([n, h, w, channels]))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        super::average_pool2d(graph, at.grad, self.pool).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let grad = inputs[0];
        let mut result = Array::zeros(&output.shape);
        for index in crate::ops::grid::indices(&grad.shape) {
            let [n, row, column, c] = [index[0], index[1], index[2], index[3]];
            let pixels: Vec<(usize, usize)> = taps(self.pool, self.input, row, column).collect();
            for &(y, x) in &pixels {
                *result.at_mut(&[n, y, x, c]) += grad.at(&index) / pixels.len() as f64;
            }
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let g = self.known(inputs[0].meta);
        let (c, columns, [image, pooled]) = (g.channels, g.output[1], g.image());
        let adds = g.overlap() > 1;
        let images = output.f32().par_chunks_exact_mut(image).zip(inputs[0].f32().par_chunks_exact(pooled));
        images.for_each(|(result, grad)| {
            g.clear(result);
            vectorized(
                #[inline(always)]
                || {
                    for (i, grad) in grad.chunks_exact(c).enumerate() {
                        let (row, column) = (i / columns, i % columns);
                        let share = 1.0 / g.count(row, column) as f32;
                        for tap in g.taps(row, column) {
                            let pairs = result[tap * c..][..c].iter_mut().zip(grad);
                            pairs.for_each(|(r, &x)| *r = if adds { *r + x * share } else { x * share });
                        }
                    }
                },
            );
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let g = self.known(inputs[0]);
        let kernel = |&width: &usize| {
            let threads = output.elements() / width;
            let text = include_str!("../../../shaders/average_pool2d_grad.wgsl");
            let launch = g
                .launch("average_pool2d_grad.wgsl", text, width)
                .params([threads])
                .bindings([Binding::Input(0), Binding::Output])
                .threads(threads, 64);
            Kernel::single(variant(width), launch)
        };
        g.widths().iter().map(kernel).collect()
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Sum(self.known(inputs[0]).overlap())
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (shape, pool) in super::cases() {
        // Few different values: many ties.
        let image: Vec<f64> = (0..shape.iter().product()).map(|i: usize| (i * i * 7 % 11) as f64).collect();
        let forward = Pool2dForward { pooling: Pooling::Max, pool };
        let pooled = forward.infer(&[&Meta::f32(shape)]).expect("the cases fit");
        let largest = forward.reference(&[&Array { shape: shape.into(), data: image.clone() }], &pooled);
        let grad = Given::uniform(pooled.dims(), -1.0, 1.0);
        let inputs = [Given::fixed(&shape, image), Given::fixed(pooled.dims(), largest.data), grad.clone()];
        samples.push(Sample::of(MaxPool2dGrad { pool }, inputs).forward_only());
        samples.push(Sample::of(AveragePool2dGrad { pool, input: [shape[1], shape[2]] }, [grad]));
    }
    samples
}
