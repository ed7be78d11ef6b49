//! Image bytes to network input in one pass: warp (crop, rotate, flip, perspective …), blur, colour jitter, noise, erasing,
//! normalisation.
//!
//! An [`AugmentRow`] says what happens to an image. The value at column `x`, row `y` of the result is the image's at column
//! `(a·x + b·y + t) / w`, row `(c·x + d·y + u) / w`, where `w = 1 + g·x + h·y` (pixel centres are whole numbers), between
//! pixels by bilinear interpolation, outside at the nearest edge. Then, with values from 0 to 1:
//!
//! - `v ← v + sharpen · (v - blurred)`: by a Gaussian over `⌈2σ⌉` pixels to each side, cut off at the edges,
//! - with three channels, each is a weighted sum of the three,
//! - `v ← (v - 0.5) · contrast + 0.5 + brightness`, cut to 0…1,
//! - solarize: `v ← 1 - v` where it is at least the threshold; posterize: `v` is rounded down to a multiple,
//! - noise is added, and the result cut to 0…1,
//! - `v ← (v - mean) / deviation`, by channel; what is erased becomes 0, which is the mean.
//!
//! [`AugmentRow::STILL`] changes nothing.

mod cpu;
mod frames;
mod row;

use rayon::prelude::*;

pub use frames::augment_frames;
pub use row::AugmentRow;

use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value, wgsl_f32};
use crate::tensor::{Array, DType, Meta, View, ViewMut};

/// Numbers per image which say what happens to it.
const ROW: usize = AugmentRow::LEN;

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
        let numbers: Vec<f32> = inputs[1].data.iter().map(|&v| v as f32).collect();
        let rows: &[AugmentRow] = bytemuck::cast_slice(&numbers);
        let mut result = Array::zeros(&output.shape);
        for index in super::grid::indices(&output.shape) {
            let [n, y, x, k] = [index[0], index[1], index[2], index[3]];
            let definition = Definition { images: inputs[0], n, row: &rows[n], size: self.size };
            let [columns, lines] = rows[n].erased(self.size);
            if !(columns.contains(&x) && lines.contains(&y)) {
                let value = definition.toned([y, x], k);
                *result.at_mut(&index) = (value - f64::from(self.mean[k])) / f64::from(self.deviation[k]);
            }
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let &[_, h, w, c] = inputs[0].dims() else { unreachable!("the shape rule demands four axes") };
        let rows: &[AugmentRow] = bytemuck::cast_slice(inputs[1].f32());
        let images = inputs[0].bytes().par_chunks_exact(h * w * c).zip(rows);
        let results = output.f32().par_chunks_exact_mut(self.size[0] * self.size[1] * c);
        results.zip(images).for_each_init(cpu::Buffers::default, |buffers, (result, (bytes, row))| {
            self.change(cpu::Image { bytes, size: [h, w], channels: c }, row, result, buffers);
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
        let launch = Launch::new("augment.wgsl", include_str!("../../../shaders/augment.wgsl"))
            .prepend(&array("DEVIATION", &self.deviation))
            .prepend(&array("MEAN", &self.mean))
            .constants([("H", h), ("W", w), ("C", c), ("OH", height), ("OW", width)])
            .params([pixels])
            .bindings([Binding::Input(0), Binding::Input(1), Binding::Output])
            .threads(pixels, 64);
        vec![Kernel::single("pixel", launch)]
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Interpolated(inputs[0].dims()[1].max(inputs[0].dims()[2]))
    }
}

/// What the op computes for one image, in f64.
struct Definition<'a> {
    images: &'a Array,
    n: usize,
    row: &'a AugmentRow,
    size: [usize; 2],
}

impl Definition<'_> {
    /// Channel `k` of the image where row `y`, column `x` of the result comes from.
    fn warped(&self, [y, x]: [usize; 2], k: usize) -> f64 {
        let dims = self.images.shape.dims();
        let at = [x as f64, y as f64];
        let on = |r: [f32; 4]| f64::from(r[0]) * at[0] + f64::from(r[1]) * at[1] + f64::from(r[2]);
        let depth = 1.0 + f64::from(self.row.column[3]) * at[0] + f64::from(self.row.line[3]) * at[1];
        let source = |r: [f32; 4], extent: usize| (on(r) / depth).clamp(0.0, (extent - 1) as f64);
        let (sx, sy) = (source(self.row.column, dims[2]), source(self.row.line, dims[1]));
        let pixel = |y: f64, x: f64| self.images.at(&[self.n, y as usize, x as usize, k]) / 255.0;
        let line = |y: f64| pixel(y, sx.floor()) * (1.0 - sx.fract()) + pixel(y, sx.ceil()) * sx.fract();
        line(sy.floor()) * (1.0 - sy.fract()) + line(sy.ceil()) * sy.fract()
    }

    fn filtered(&self, [y, x]: [usize; 2], k: usize) -> f64 {
        let (value, sigma) = (self.warped([y, x], k), f64::from(self.row.blur));
        if sigma <= 0.0 {
            return value;
        }
        let radius = self.row.radius() as isize;
        let weight = |d: isize| (-(d * d) as f64 / (2.0 * sigma * sigma)).exp();
        let place = |at: usize, d: isize, extent: usize| at.saturating_add_signed(d).min(extent - 1);
        let (mut sum, mut total) = (0.0, 0.0);
        for (dy, dx) in (-radius..=radius).flat_map(|dy| (-radius..=radius).map(move |dx| (dy, dx))) {
            let share = weight(dy) * weight(dx);
            sum += share * self.warped([place(y, dy, self.size[0]), place(x, dx, self.size[1])], k);
            total += share;
        }
        value + f64::from(self.row.sharpen) * (value - sum / total)
    }

    fn toned(&self, at: [usize; 2], k: usize) -> f64 {
        let (row, c) = (self.row, self.images.shape.dims()[3]);
        let mut v = match c {
            3 => (0..3).map(|i| f64::from(row.colours()[k][i]) * self.filtered(at, i)).sum(),
            _ => self.filtered(at, k),
        };
        v = ((v - 0.5) * f64::from(row.contrast) + 0.5 + f64::from(row.brightness)).clamp(0.0, 1.0);
        if v >= f64::from(row.solarize) {
            v = 1.0 - v;
        }
        if row.posterize > 0.0 {
            let step = f64::from(row.posterize);
            v = ((v * 255.0 + 0.5) / step).floor() * step / 255.0;
        }
        if row.noise > 0.0 {
            let position = (at[0] * self.size[1] + at[1]) * c + k;
            v += f64::from(row.noise) * f64::from(row::noise(row.key as u32, position as u32));
        }
        v.clamp(0.0, 1.0)
    }
}

/// Images, bytes `[n, h, w, c]`, as f32 `[n, size[0], size[1], c]`: each warped and coloured as its row of `rows`,
/// f32 `[n, 32]`, says, then `(v - mean) / deviation` by channel, for values from 0 to 1. See [`AugmentRow`].
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
    const STILL: AugmentRow = AugmentRow::STILL;
    // Turned and enlarged, partly outside, with every colour changed.
    const TURNED: AugmentRow = AugmentRow {
        column: [0.6, -0.4, 1.7, 0.0],
        line: [0.35, 0.7, -1.2, 0.0],
        brightness: 0.1,
        contrast: 1.3,
        red: [0.58, 0.35, 0.07],
        green: [0.18, 0.75, 0.07],
        blue: [-0.18, 0.35, 0.83],
        ..STILL
    };
    const MIRRORED: AugmentRow = AugmentRow { column: [-1.0, 0.0, 6.0, 0.0], ..STILL };
    const COLOURED: AugmentRow = AugmentRow { brightness: 0.2, contrast: 0.7, ..STILL };
    // Everything outside: the corner pixel, everywhere.
    const OUTSIDE: AugmentRow = AugmentRow {
        column: [1.0, 0.0, -50.0, 0.0],
        line: [0.0, 1.0, 90.0, 0.0],
        brightness: -0.3,
        contrast: 1.1,
        ..STILL
    };
    const TILTED: AugmentRow =
        AugmentRow { column: [0.9, 0.1, 0.3, 0.001], line: [-0.1, 1.1, 0.2, -0.0003], contrast: 1.2, ..STILL };
    const STEEP: AugmentRow = AugmentRow { column: [0.9, 0.1, 0.3, 0.05], line: [-0.1, 1.1, 0.2, -0.06], ..STILL };
    const BLURRED: AugmentRow = AugmentRow { blur: 1.3, sharpen: -1.0, ..TURNED };
    const SHARP: AugmentRow = AugmentRow { blur: 0.6, sharpen: 0.8, ..STILL };
    const NOISY: AugmentRow = AugmentRow { noise: 0.2, key: 12_345.0, erase: [1.0, 2.0, 4.0, 90.0], ..TILTED };
    // Between bytes, where rounding cannot change what is turned or rounded down.
    const COARSE: AugmentRow = AugmentRow { solarize: 100.5 / 255.0, posterize: 32.0, ..STILL };
    const NOISY_STILL: AugmentRow = AugmentRow { noise: 0.5, key: 16_777_215.0, ..COARSE };
    let sample = |images: &[usize], size: [usize; 2], rows: &[AugmentRow]| {
        let c = images[3];
        let mean = (0..c).map(|k| 0.45 - 0.02 * k as f32).collect();
        let deviation = (0..c).map(|k| 0.25 + 0.03 * k as f32).collect();
        let numbers: &[f32] = bytemuck::cast_slice(rows);
        let rows = Given::fixed(&[images[0], ROW], numbers.iter().copied().map(f64::from));
        Sample::of(Augment { size, mean, deviation }, [Given::bytes(images), rows]).forward_only()
    };
    let all = [STILL, TURNED, MIRRORED, COLOURED, OUTSIDE, TILTED, BLURRED, SHARP, NOISY, COARSE, NOISY_STILL];
    vec![
        // Kernels are also tried with these rows on images of other sizes.
        sample(&[11, 6, 7, 3], [6, 7], &all),
        sample(&[11, 7, 5, 1], [7, 5], &all),
        sample(&[1, 7, 9, 3], [5, 8], &[STEEP]),
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
