//! Image bytes to network input in one pass: affine warp (crop, scale, rotate, flip), colour jitter, normalisation.
//!
//! A row of 12 numbers says what happens to an image: `[a, b, tx, c, d, ty, brightness, contrast, saturation, 0, 0, 0]`.
//! The value at column `x`, row `y` of the result is the image's at column `a·x + b·y + tx`, row `c·x + d·y + ty`
//! (pixel centres are whole numbers), between pixels by bilinear interpolation, outside at the nearest edge. Then, with
//! values from 0 to 1:
//!
//! - with three channels `v ← luma + saturation · (v - luma)`, where `luma = 0.299 r + 0.587 g + 0.114 b` (ITU-R BT.601),
//! - `v ← (v - 0.5) · contrast + 0.5 + brightness`, cut to 0…1,
//! - `v ← (v - mean) / deviation`, by channel.
//!
//! The row `[1, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0]` changes nothing.

use rayon::prelude::*;

use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value, wgsl_f32};
use crate::tensor::{Array, DType, Meta, View, ViewMut};

/// Numbers per image which say what happens to it.
const ROW: usize = 12;
/// Shares of red, green and blue in the luma.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// Warps, colours and normalises images. See [`augment`].
#[derive(Clone, Debug)]
pub struct Augment {
    size: [usize; 2],
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

impl Op for Augment {
    fn name(&self) -> &'static str {
        "augment"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let (images, rows) = (inputs[0], inputs[1]);
        let error = |message: String| Err(Error::shape("augment", message));
        let [n, _, _, c] = images.shape.expect("augment", "the batch of images")?;
        if images.dtype != DType::U8 || images.elements() == 0 {
            return error(format!("images must be bytes [n, height, width, channels], not {images}"));
        }
        if *rows != Meta::f32([n, ROW]) {
            return error(format!("{n} images need rows f32[{n}, {ROW}], not {rows}"));
        }
        if self.size.contains(&0) {
            return error(format!("images of size {}x{} were asked for", self.size[0], self.size[1]));
        }
        if self.mean.len() != c || self.deviation.len() != c {
            let (means, deviations) = (self.mean.len(), self.deviation.len());
            return error(format!("images of {c} channels, but {means} means and {deviations} deviations"));
        }
        if let Some(bad) = self.deviation.iter().find(|d| d.is_nan() || **d <= 0.0) {
            return error(format!("a deviation must be positive, but one is {bad}"));
        }
        Ok(Meta::f32([n, self.size[0], self.size[1], c]))
    }

    fn gradient(&self, _graph: &mut Graph, _at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        Ok(None)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let (images, rows) = (inputs[0], inputs[1]);
        let (h, w, c) = (images.shape.dims()[1], images.shape.dims()[2], images.shape.dims()[3]);
        let mut result = Array::zeros(&output.shape);
        for index in super::grid::indices(&output.shape) {
            let [n, y, x, k] = [index[0], index[1], index[2], index[3]];
            let row = &rows.data[n * ROW..][..ROW];
            let source =
                |r: &[f64], extent: usize| (r[0] * x as f64 + r[1] * y as f64 + r[2]).clamp(0.0, (extent - 1) as f64);
            let (sx, sy) = (source(&row[..3], w), source(&row[3..6], h));
            let value = |channel: usize| {
                let pixel = |y: f64, x: f64| images.at(&[n, y as usize, x as usize, channel]) / 255.0;
                let line = |y: f64| pixel(y, sx.floor()) * (1.0 - sx.fract()) + pixel(y, sx.ceil()) * sx.fract();
                line(sy.floor()) * (1.0 - sy.fract()) + line(sy.ceil()) * sy.fract()
            };
            let (brightness, contrast, saturation) = (row[6], row[7], row[8]);
            let mut v = value(k);
            if c == 3 {
                let luma: f64 = (0..3).map(|channel| f64::from(LUMA[channel]) * value(channel)).sum();
                v = luma + saturation * (v - luma);
            }
            v = ((v - 0.5) * contrast + 0.5 + brightness).clamp(0.0, 1.0);
            *result.at_mut(&index) = (v - f64::from(self.mean[k])) / f64::from(self.deviation[k]);
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let &[_, h, w, c] = inputs[0].dims() else { unreachable!("the shape rule demands four axes") };
        let images = inputs[0].bytes().par_chunks_exact(h * w * c).zip(inputs[1].f32().par_chunks_exact(ROW));
        let results = output.f32().par_chunks_exact_mut(self.size[0] * self.size[1] * c);
        results.zip(images).for_each_init(Vec::new, |taps, (result, (image, row))| {
            let still = self.size == [h, w] && row[..6] == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
            if still && (c != 3 || row[8] == 1.0) {
                self.look_up(image, row, result);
            } else {
                self.warp(Image { bytes: image, size: [h, w], channels: c }, row, result, taps);
            }
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let &[n, h, w, c] = inputs[0].dims() else { unreachable!("the shape rule demands four axes") };
        let [height, width] = self.size;
        let array = |name: &str, values: &[f32]| {
            let values: Vec<String> = values.iter().map(|&v| wgsl_f32(v)).collect();
            format!("const {name} = array<f32, C>({});\n", values.join(", "))
        };
        let pixels = n * height * width;
        debug_assert_eq!(pixels * c, output.elements());
        let launch = Launch::new("augment.wgsl", include_str!("../../shaders/augment.wgsl"))
            .prepend(&array("DEVIATION", &self.deviation))
            .prepend(&array("MEAN", &self.mean))
            .constants([("H", h), ("W", w), ("C", c), ("OH", height), ("OW", width)])
            .params([pixels])
            .bindings([Binding::Input(0), Binding::Input(1), Binding::Output])
            .threads(pixels, 64);
        vec![Kernel::single("pixel", launch)]
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Normalized
    }
}

/// One image of the batch.
#[derive(Clone, Copy)]
struct Image<'a> {
    bytes: &'a [u8],
    size: [usize; 2],
    channels: usize,
}

/// The four pixels between which a pixel of the result lies: where they start, and their shares.
struct Tap {
    offsets: [usize; 4],
    weights: [f32; 4],
}

impl Tap {
    /// For column `x`, row `y` of the result.
    fn new(row: &[f32], x: usize, y: usize, image: Image<'_>) -> Self {
        let [h, w] = image.size;
        let axis = |r: &[f32], extent: usize| {
            let at = (r[0] * x as f32 + r[1] * y as f32 + r[2]).clamp(0.0, (extent - 1) as f32);
            let from = at as usize;
            (from, (from + 1).min(extent - 1), at - from as f32)
        };
        let (left, right, dx) = axis(&row[..3], w);
        let (top, bottom, dy) = axis(&row[3..6], h);
        let offset = |y: usize, x: usize| (y * w + x) * image.channels;
        Self {
            offsets: [offset(top, left), offset(top, right), offset(bottom, left), offset(bottom, right)],
            weights: [(1.0 - dy) * (1.0 - dx), (1.0 - dy) * dx, dy * (1.0 - dx), dy * dx],
        }
    }

    fn sample(&self, bytes: &[u8], channel: usize) -> f32 {
        let value = |i: usize| self.weights[i] * f32::from(bytes[self.offsets[i] + channel]);
        (value(0) + value(1)) + (value(2) + value(3))
    }
}

impl Augment {
    /// Contrast, brightness and normalisation of one channel's value. Written so that contrast 1 leaves it as it was.
    fn finish(&self, value: f32, row: &[f32], channel: usize) -> f32 {
        let (brightness, contrast) = (row[6], row[7]);
        let value = value * contrast + (0.5 - 0.5 * contrast + brightness);
        (value.clamp(0.0, 1.0) - self.mean[channel]) / self.deviation[channel]
    }

    /// Where each value of the result comes from one byte: one of 256 values a channel.
    fn look_up(&self, image: &[u8], row: &[f32], result: &mut [f32]) {
        let c = self.mean.len();
        for channel in 0..c {
            let table: [f32; 256] = std::array::from_fn(|byte| self.finish(byte as f32 / 255.0, row, channel));
            let bytes = image[channel..].iter().step_by(c);
            let values = result[channel..].iter_mut().step_by(c);
            values.zip(bytes).for_each(|(value, &byte)| *value = table[usize::from(byte)]);
        }
    }

    fn warp(&self, image: Image<'_>, row: &[f32], result: &mut [f32], taps: &mut Vec<Tap>) {
        let (c, width, saturation) = (image.channels, self.size[1], row[8]);
        for (y, line) in result.chunks_exact_mut(width * c).enumerate() {
            taps.clear();
            taps.extend((0..width).map(|x| Tap::new(row, x, y, image)));
            for channel in 0..c {
                let values = line[channel..].iter_mut().step_by(c);
                values.zip(&*taps).for_each(|(v, tap)| *v = tap.sample(image.bytes, channel) * (1.0 / 255.0));
            }
            if c == 3 && saturation != 1.0 {
                for pixel in line.as_chunks_mut::<3>().0 {
                    let luma = LUMA[0] * pixel[0] + LUMA[1] * pixel[1] + LUMA[2] * pixel[2];
                    pixel.iter_mut().for_each(|v| *v = *v * saturation + luma * (1.0 - saturation));
                }
            }
            for channel in 0..c {
                line[channel..].iter_mut().step_by(c).for_each(|v| *v = self.finish(*v, row, channel));
            }
        }
    }
}

/// Images, bytes `[n, h, w, c]`, as f32 `[n, size[0], size[1], c]`: each warped and coloured as its row of `rows`,
/// f32 `[n, 12]`, says, then `(v - mean) / deviation` by channel, for values from 0 to 1. The row
/// `[1, 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 0]` changes nothing; the module's text explains the others.
///
/// Images are data: there is no gradient.
///
/// Errors: if the shapes, or the numbers of channels, do not fit together, or a deviation is not positive.
pub fn augment(
    graph: &mut Graph,
    images: Value,
    rows: Value,
    size: [usize; 2],
    mean: &[f32],
    deviation: &[f32],
) -> Result<Value> {
    graph.apply(Augment { size, mean: mean.to_vec(), deviation: deviation.to_vec() }, &[images, rows])
}

pub(super) fn samples() -> Vec<Sample> {
    const STILL: [f64; ROW] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0];
    // Turned and enlarged, partly outside, with every colour changed.
    const TURNED: [f64; ROW] = [0.6, -0.4, 1.7, 0.35, 0.7, -1.2, 0.1, 1.3, 0.4, 0.0, 0.0, 0.0];
    const MIRRORED: [f64; ROW] = [-1.0, 0.0, 6.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0];
    // No warp, but brighter and with less contrast.
    const COLOURED: [f64; ROW] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.2, 0.7, 1.0, 0.0, 0.0, 0.0];
    // Everything outside: the corner pixel, everywhere.
    const OUTSIDE: [f64; ROW] = [1.0, 0.0, -50.0, 0.0, 1.0, 90.0, -0.3, 1.1, 1.6, 0.0, 0.0, 0.0];
    let sample = |images: &[usize], size: [usize; 2], rows: &[[f64; ROW]]| {
        let c = images[3];
        let mean = (0..c).map(|k| 0.45 - 0.02 * k as f32).collect();
        let deviation = (0..c).map(|k| 0.25 + 0.03 * k as f32).collect();
        let rows = Given::fixed(&[images[0], ROW], rows.concat());
        Sample::of(Augment { size, mean, deviation }, [Given::bytes(images), rows]).forward_only()
    };
    vec![
        sample(&[5, 6, 7, 3], [6, 7], &[STILL, TURNED, MIRRORED, COLOURED, OUTSIDE]),
        sample(&[3, 5, 7, 1], [5, 7], &[STILL, COLOURED, TURNED]),
        sample(&[2, 9, 4, 4], [9, 4], &[TURNED, STILL]),
        sample(&[2, 8, 8, 3], [5, 11], &[STILL, TURNED]),
        sample(&[1, 1, 1, 2], [3, 2], &[TURNED]),
        sample(&[2, 3, 3, 5], [3, 3], &[MIRRORED, STILL]),
        // A byte count that ends within a word.
        sample(&[1, 5, 5, 1], [5, 5], &[STILL]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misfits_are_errors() {
        let mut graph = Graph::new();
        let images = graph.input("images", Meta::new([2, 4, 4, 3], DType::U8));
        let rows = graph.input("rows", Meta::f32([2, ROW]));
        let few = graph.input("few", Meta::f32([1, ROW]));
        let mut message = |images, rows, size, mean: &[f32], deviation: &[f32]| {
            augment(&mut graph, images, rows, size, mean, deviation).unwrap_err().to_string()
        };
        assert!(message(images, few, [4, 4], &[0.0; 3], &[1.0; 3]).contains("2 images need rows"));
        assert!(message(images, rows, [4, 0], &[0.0; 3], &[1.0; 3]).contains("4x0"));
        assert!(message(images, rows, [4, 4], &[0.0; 1], &[1.0; 3]).contains("3 channels, but 1 means"));
        assert!(message(images, rows, [4, 4], &[0.0; 3], &[1.0, 0.0, 1.0]).contains("must be positive"));
        assert!(message(rows, rows, [4, 4], &[0.0; 3], &[1.0; 3]).contains("4 dimensions"));
    }
}
