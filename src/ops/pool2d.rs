//! Max and average pooling: the largest or the mean value under a sliding window, channel by channel.
//!
//! Padding never wins a maximum and does not count in a mean (as in Keras); ties go to the first maximum of the window, row
//! by row; so does its gradient.

use rayon::prelude::*;

use super::sample::{Given, Sample};
use super::window::Window;
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value};
use crate::simd::vectorized;
use crate::tensor::{Array, DType, Meta, View, ViewMut};

/// Attributes of a pooling. Pairs are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Pixels that are pooled.
    pub window: [usize; 2],
    /// Pixels from one window to the next.
    pub stride: [usize; 2],
    /// Pixels added at the top, bottom, left and right; see [`Padding::resolve`](super::Padding::resolve).
    pub padding: [usize; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Max,
    Average,
}

/// All extents of a pooling.
#[derive(Clone, Copy)]
struct Geometry {
    n: usize,
    input: [usize; 2],
    output: [usize; 2],
    channels: usize,
    window: Window,
}

impl Geometry {
    fn new(pool: &Pool2d, at: &str, input: &Meta) -> Result<Self> {
        let [n, h, w, channels] = input.shape.expect(at, "input")?;
        if input.dtype != DType::F32 {
            return Err(Error::shape(at, format!("takes floats, not {input}")));
        }
        let Pool2d { window, stride, padding } = *pool;
        let window = Window { size: window, stride, padding, dilation: [1; 2] };
        let output = window.output(at, [h, w])?;
        let [top, bottom, left, right] = padding;
        if top.max(bottom) >= window.size[0] || left.max(right) >= window.size[1] {
            return Err(Error::shape(at, "padding must be smaller than the window, or a window may hold nothing"));
        }
        Ok(Self { n, input: [h, w], output, channels, window })
    }

    /// Pixels under the window at an output position, row by row.
    fn pixels(&self, [oy, ox]: [usize; 2]) -> impl Iterator<Item = usize> + '_ {
        let ([h, w], [kh, kw]) = (self.input, self.window.size);
        let rows = (0..kh).filter_map(move |ky| self.window.pixel(0, oy, ky, h));
        rows.flat_map(move |y| (0..kw).filter_map(move |kx| self.window.pixel(1, ox, kx, w)).map(move |x| y * w + x))
    }

    fn positions(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let [oh, ow] = self.output;
        (0..oh).flat_map(move |y| (0..ow).map(move |x| [y, x]))
    }

    fn input_len(&self) -> usize {
        self.input[0] * self.input[1] * self.channels
    }

    fn output_len(&self) -> usize {
        self.output[0] * self.output[1] * self.channels
    }

    fn launch(&self, shader: &'static str, text: &str, kind: Kind, width: usize, threads: usize) -> Launch {
        let ([h, w], [oh, ow], [kh, kw]) = (self.input, self.output, self.window.size);
        let ([sh, sw], [top, _, left, _]) = (self.window.stride, self.window.padding);
        let columns = self.channels / width;
        let vector = if width == 4 { "alias V = vec4f;\n" } else { "alias V = f32;\n" };
        let constants = [
            ("H", h),
            ("W", w),
            ("C", columns),
            ("OH", oh),
            ("OW", ow),
            ("KH", kh),
            ("KW", kw),
            ("SH", sh),
            ("SW", sw),
            ("TOP", top),
            ("LEFT", left),
            ("MAX", usize::from(kind == Kind::Max)),
        ];
        Launch::new(shader, text).prepend(vector).constants(constants).params([threads]).threads(threads, 64)
    }
}

/// Widths in which channels can be worked on.
fn widths(channels: usize) -> impl Iterator<Item = (usize, &'static str)> {
    [(4, "vec4"), (1, "scalar")].into_iter().filter(move |(width, _)| channels.is_multiple_of(*width))
}

/// The op of [`max_pool2d`] and [`average_pool2d`].
#[derive(Clone, Debug)]
pub struct Pool {
    pool: Pool2d,
    kind: Kind,
}

impl Pool {
    fn geometry(&self, input: &Meta) -> Result<Geometry> {
        Geometry::new(&self.pool, self.name(), input)
    }

    fn known(&self, input: &Meta) -> Geometry {
        self.geometry(input).expect("the shapes were checked before")
    }
}

impl Op for Pool {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Max => "max_pool2d",
            Kind::Average => "average_pool2d",
        }
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let g = self.geometry(inputs[0])?;
        Ok(Meta::f32([g.n, g.output[0], g.output[1], g.channels]))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        let [_, h, w, _] = graph.shape(at.inputs[0]).expect(self.name(), "input")?;
        let grad = PoolGrad { pool: self.pool, kind: self.kind, input: [h, w] };
        match self.kind {
            Kind::Max => graph.apply(grad, &[at.grad, at.inputs[0]]),
            Kind::Average => graph.apply(grad, &[at.grad]),
        }
        .map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let input = inputs[0];
        let g = self.known(&Meta::f32(input.shape.clone()));
        let mut result = Array::zeros(&output.shape);
        let mut results = result.data.iter_mut();
        for image in input.data.chunks(g.input_len()) {
            for position in g.positions() {
                for c in 0..g.channels {
                    let values: Vec<f64> = g.pixels(position).map(|p| image[p * g.channels + c]).collect();
                    let pooled = match self.kind {
                        Kind::Max => values.iter().copied().fold(values[0], f64::max),
                        Kind::Average => values.iter().sum::<f64>() / values.len() as f64,
                    };
                    *results.next().expect("one for each position and channel") = pooled;
                }
            }
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let g = self.known(inputs[0].meta);
        let (c, kind) = (g.channels, self.kind);
        let images =
            output.f32().par_chunks_exact_mut(g.output_len()).zip(inputs[0].f32().par_chunks_exact(g.input_len()));
        images.for_each(|(output, input)| {
            vectorized(|| {
                for (out, position) in output.chunks_exact_mut(c).zip(g.positions()) {
                    let mut pixels = g.pixels(position).map(|p| &input[p * c..][..c]);
                    let Some(first) = pixels.next() else { continue };
                    out.copy_from_slice(first);
                    let mut count = 1.0_f32;
                    for pixel in pixels {
                        count += 1.0;
                        match kind {
                            Kind::Max => out.iter_mut().zip(pixel).for_each(|(o, &x)| *o = o.max(x)),
                            Kind::Average => out.iter_mut().zip(pixel).for_each(|(o, x)| *o += x),
                        }
                    }
                    if kind == Kind::Average {
                        out.iter_mut().for_each(|o| *o /= count);
                    }
                }
            });
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let g = self.known(inputs[0]);
        let text = include_str!("../../shaders/pool2d.wgsl");
        let kernel = |(width, variant)| {
            let launch = g.launch("pool2d.wgsl", text, self.kind, width, output.elements() / width);
            Kernel::single(variant, launch.bindings([Binding::Input(0), Binding::Output]))
        };
        widths(g.channels).map(kernel).collect()
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        match self.kind {
            Kind::Max => Tolerance::Exact,
            Kind::Average => Tolerance::Sum(self.pool.window[0] * self.pool.window[1]),
        }
    }
}

/// Gradient of a pooling for its input: from the gradient and, for a maximum, the input.
#[derive(Clone, Debug)]
pub struct PoolGrad {
    pool: Pool2d,
    kind: Kind,
    input: [usize; 2],
}

impl PoolGrad {
    fn geometry(&self, grad: &Meta) -> Result<Geometry> {
        let [n, oh, ow, c] = grad.shape.expect(self.name(), "gradient")?;
        let g = Geometry::new(&self.pool, self.name(), &Meta::f32([n, self.input[0], self.input[1], c]))?;
        if g.output != [oh, ow] {
            let message = format!("a gradient {grad} does not belong to an input of {:?} pixels", self.input);
            return Err(Error::shape(self.name(), message));
        }
        Ok(g)
    }

    fn known(&self, grad: &Meta) -> Geometry {
        self.geometry(grad).expect("the shapes were checked before")
    }
}

impl Op for PoolGrad {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Max => "max_pool2d_grad",
            Kind::Average => "average_pool2d_grad",
        }
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let g = self.geometry(inputs[0])?;
        let output = Meta::f32([g.n, g.input[0], g.input[1], g.channels]);
        match inputs.get(1) {
            Some(input) if **input != output => {
                Err(Error::shape(self.name(), format!("input {input} should be {output}")))
            }
            _ => Ok(output),
        }
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let g = self.known(&Meta::f32(inputs[0].shape.clone()));
        let mut result = Array::zeros(&output.shape);
        for n in 0..g.n {
            let image = n * g.input_len();
            for (i, position) in g.positions().enumerate() {
                for c in 0..g.channels {
                    let grad = inputs[0].data[n * g.output_len() + i * g.channels + c];
                    let places: Vec<usize> = g.pixels(position).map(|p| image + p * g.channels + c).collect();
                    match self.kind {
                        Kind::Average => places.iter().for_each(|&p| result.data[p] += grad / places.len() as f64),
                        Kind::Max => {
                            let x = &inputs[1].data;
                            let first = places.iter().copied().reduce(|best, p| if x[p] > x[best] { p } else { best });
                            result.data[first.expect("a window holds a pixel")] += grad;
                        }
                    }
                }
            }
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let g = self.known(inputs[0].meta);
        let grads = inputs[0].f32().par_chunks_exact(g.output_len());
        let images = output.f32().par_chunks_exact_mut(g.input_len()).zip(grads);
        match self.kind {
            Kind::Average => images.for_each(|(image, grad)| vectorized(|| spread(&g, grad, image))),
            Kind::Max => {
                images.zip(inputs[1].f32().par_chunks_exact(g.input_len())).for_each(|((image, grad), input)| {
                    vectorized(|| route(&g, grad, input, image));
                })
            }
        }
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let g = self.known(inputs[0]);
        let (shader, text) = match self.kind {
            Kind::Max => ("max_pool2d_grad.wgsl", include_str!("../../shaders/max_pool2d_grad.wgsl")),
            Kind::Average => ("average_pool2d_grad.wgsl", include_str!("../../shaders/average_pool2d_grad.wgsl")),
        };
        let bindings = (0..inputs.len()).map(Binding::Input).chain([Binding::Output]);
        let kernel = |(width, variant)| {
            let launch = g.launch(shader, text, self.kind, width, output.elements() / width);
            Kernel::single(variant, launch.bindings(bindings.clone()))
        };
        widths(g.channels).map(kernel).collect()
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Sum(self.pool.window[0] * self.pool.window[1])
    }
}

/// Average: each pixel of a window gets its share.
#[inline(always)]
fn spread(g: &Geometry, grad: &[f32], image: &mut [f32]) {
    let c = g.channels;
    image.fill(0.0);
    for (grad, position) in grad.chunks_exact(c).zip(g.positions()) {
        let share = 1.0 / g.pixels(position).count() as f32;
        for pixel in g.pixels(position) {
            image[pixel * c..][..c].iter_mut().zip(grad).for_each(|(i, g)| *i += g * share);
        }
    }
}

/// Maximum: the first largest pixel of a window gets all.
#[inline(always)]
fn route(g: &Geometry, grad: &[f32], input: &[f32], image: &mut [f32]) {
    let c = g.channels;
    image.fill(0.0);
    // Whole rows of channels are compared at once: `best` is the largest so far, `place` where it stands.
    let (mut best, mut place) = (vec![0.0_f32; c], vec![0_u32; c]);
    for (grad, position) in grad.chunks_exact(c).zip(g.positions()) {
        let mut pixels = g.pixels(position);
        let Some(first) = pixels.next() else { continue };
        best.copy_from_slice(&input[first * c..][..c]);
        place.fill(first as u32);
        for pixel in pixels {
            for ((b, p), &x) in best.iter_mut().zip(&mut place).zip(&input[pixel * c..][..c]) {
                let wins = x > *b;
                *b = if wins { x } else { *b };
                *p = if wins { pixel as u32 } else { *p };
            }
        }
        for (channel, (&p, g)) in place.iter().zip(grad).enumerate() {
            image[p as usize * c + channel] += g;
        }
    }
}

/// The largest value under each window of `x` `[n, h, w, c]`; gives `[n, h', w', c]`.
///
/// Errors: if the window does not fit the padded input, or padding is as large as the window.
pub fn max_pool2d(graph: &mut Graph, x: Value, pool: Pool2d) -> Result<Value> {
    graph.apply(Pool { pool, kind: Kind::Max }, &[x])
}

/// The mean under each window of `x` `[n, h, w, c]`, padding not counted; gives `[n, h', w', c]`.
///
/// Errors: if the window does not fit the padded input, or padding is as large as the window.
pub fn average_pool2d(graph: &mut Graph, x: Value, pool: Pool2d) -> Result<Value> {
    graph.apply(Pool { pool, kind: Kind::Average }, &[x])
}

/// The mean of each channel of `x` `[n, h, w, c]`; gives `[n, c]`.
///
/// Errors: if `x` has other than 4 dimensions.
pub fn global_average_pool2d(graph: &mut Graph, x: Value) -> Result<Value> {
    graph.shape(x).expect::<4>("global_average_pool2d", "input")?;
    super::mean(graph, x, &[1, 2], false)
}

/// The largest value of each channel of `x` `[n, h, w, c]`; gives `[n, c]`. Its gradient goes to the first maximum.
///
/// Errors: if `x` has other than 4 dimensions.
pub fn global_max_pool2d(graph: &mut Graph, x: Value) -> Result<Value> {
    let [n, h, w, c] = graph.shape(x).expect("global_max_pool2d", "input")?;
    let pooled = max_pool2d(graph, x, Pool2d { window: [h, w], stride: [1; 2], padding: [0; 4] })?;
    super::reshape(graph, pooled, [n, c])
}

pub(super) fn samples() -> Vec<Sample> {
    let cases: [(Pool2d, [usize; 4]); 8] = [
        (Pool2d { window: [2; 2], stride: [2; 2], padding: [0; 4] }, [2, 6, 4, 4]),
        (Pool2d { window: [2; 2], stride: [2; 2], padding: [0; 4] }, [1, 5, 7, 3]),
        (Pool2d { window: [3; 2], stride: [2; 2], padding: [0, 1, 0, 1] }, [2, 6, 8, 4]),
        (Pool2d { window: [3, 2], stride: [1; 2], padding: [1, 1, 1, 0] }, [2, 5, 4, 1]),
        (Pool2d { window: [2, 3], stride: [3, 4], padding: [0; 4] }, [1, 9, 11, 5]),
        (Pool2d { window: [3; 2], stride: [1; 2], padding: [1; 4] }, [1, 4, 4, 8]),
        (Pool2d { window: [1; 2], stride: [1; 2], padding: [0; 4] }, [1, 1, 1, 1]),
        (Pool2d { window: [5, 4], stride: [1; 2], padding: [0; 4] }, [3, 5, 4, 4]),
    ];
    let mut samples = Vec::new();
    for (pool, shape) in cases {
        for kind in [Kind::Max, Kind::Average] {
            let op = Pool { pool, kind };
            let output = op.infer(&[&Meta::f32(shape)]).expect("the samples fit");
            let grad = PoolGrad { pool, kind, input: [shape[1], shape[2]] };
            let mut inputs = vec![Given::uniform(output.dims(), -1.0, 1.0)];
            if kind == Kind::Max {
                inputs.push(Given::distinct(&shape));
            }
            samples.push(Sample::of(op, [Given::distinct(&shape)]));
            samples.push(Sample::of(grad, inputs).forward_only());
        }
    }
    // Ties: whole numbers from a small range.
    let pool = Pool2d { window: [3; 2], stride: [1; 2], padding: [1; 4] };
    let tied = || Given::fixed(&[1, 4, 5, 4], (0..80).map(|i| f64::from(i * 7 % 3)));
    let grad = PoolGrad { pool, kind: Kind::Max, input: [4, 5] };
    samples.push(Sample::of(grad, [Given::uniform(&[1, 4, 5, 4], -1.0, 1.0), tied()]).forward_only());
    samples
}
