//! Convolution without patches laid out: a tile of pixels by filters stays in registers while the taps of the window pass
//! (Georganas et al. 2018, <https://arxiv.org/abs/1808.05567>). The gradient for the weight holds taps by filters, and
//! pixels pass.

use std::ops::Range;

use rayon::prelude::*;

use super::Geometry;
use crate::ops::epilogue::Epilogue;
use crate::simd::{Product, with_buffer};

/// Floats of the result which a task makes: they stay in the cache until the epilogue has been applied.
const TASK: usize = 1 << 14;
/// Floats of input and gradient from which a gradient for the weight is summed up in one go.
const GRAD_BLOCK: usize = 1 << 16;

/// The lines of one image that lie under the window at some output rows, padding included.
struct Frame<'a> {
    pixels: &'a [f32],
    /// Floats of a line.
    line: usize,
}

/// Floats that the frame of `rows` output rows needs, if there is padding.
fn frame_len(g: &Geometry, rows: usize) -> usize {
    let [.., left, right] = g.window.padding;
    lines(g, rows) * (g.input[1] + left + right) * g.channels
}

fn lines(g: &Geometry, rows: usize) -> usize {
    (rows - 1) * g.window.stride[0] + g.window.span()[0]
}

impl<'a> Frame<'a> {
    fn new(g: &Geometry, image: &'a [f32], rows: &Range<usize>, buffer: &'a mut [f32]) -> Self {
        let ([h, w], c, [top, _, left, right]) = (g.input, g.channels, g.window.padding);
        let first = rows.start * g.window.stride[0];
        if g.window.padding == [0; 4] {
            return Self { pixels: &image[first * w * c..], line: w * c };
        }
        let line = (left + w + right) * c;
        for (i, to) in buffer[..frame_len(g, rows.len())].chunks_exact_mut(line).enumerate() {
            match (first + i).checked_sub(top).filter(|&y| y < h) {
                Some(y) => {
                    to[..left * c].fill(0.0);
                    to[left * c..][..w * c].copy_from_slice(&image[y * w * c..][..w * c]);
                    to[(left + w) * c..].fill(0.0);
                }
                None => to.fill(0.0),
            }
        }
        Self { pixels: &buffer[..frame_len(g, rows.len())], line }
    }

    /// Where the window starts at each position of `rows` output rows.
    fn positions(&self, g: &Geometry, rows: usize) -> Vec<usize> {
        let [down, right] = [g.window.stride[0] * self.line, g.window.stride[1] * g.channels];
        (0..rows).flat_map(|y| (0..g.output[1]).map(move |x| y * down + x * right)).collect()
    }

    /// Runs of neighbouring elements under the window, of one group: start and length.
    fn runs(&self, g: &Geometry) -> Vec<(usize, usize)> {
        let ([kh, kw], [down, right]) = (g.window.size, g.window.dilation);
        if right == 1 && g.groups == 1 {
            return (0..kh).map(|y| (y * down * self.line, kw * g.channels)).collect();
        }
        let start = |y, x| y * down * self.line + x * right * g.channels;
        (0..kh).flat_map(|y| (0..kw).map(move |x| (start(y, x), g.channels_in()))).collect()
    }
}

pub fn forward(g: &Geometry, input: &[f32], weight: &[f32], output: &mut [f32], epilogue: &Epilogue<'_>) {
    let line = g.output[1] * g.filters;
    let rows = TASK.div_ceil(line).min(g.output[0]);
    let blocks = g.output[0].div_ceil(rows);
    let tasks: Vec<&mut [f32]> =
        output.chunks_exact_mut(g.output_len()).flat_map(|image| image.chunks_mut(rows * line)).collect();
    tasks.into_par_iter().enumerate().for_each(|(i, result)| {
        let (image, first) = (i / blocks, i % blocks * rows);
        let pixels = &input[image * g.input_len()..][..g.input_len()];
        forward_rows(g, pixels, weight, first..first + result.len() / line, result);
        epilogue.apply(image * g.output_len() + first * line, result);
    });
}

fn forward_rows(g: &Geometry, image: &[f32], weight: &[f32], rows: Range<usize>, result: &mut [f32]) {
    with_buffer(frame_len(g, rows.len()), |buffer| {
        let frame = Frame::new(g, image, &rows, buffer);
        let (positions, runs) = (frame.positions(g, rows.len()), frame.runs(g));
        for group in 0..g.groups {
            let first = group * g.filters_in();
            Product {
                a: &frame.pixels[group * g.channels_in()..],
                rows: &positions,
                segments: &runs,
                step: 1,
                b: &weight[first..],
                b_step: g.filters,
                columns: g.filters_in(),
                accumulate: false,
            }
            .write(&mut result[first..], g.filters);
        }
    });
}

/// Adds the gradient from one image.
pub fn grad_weight(g: &Geometry, image: &[f32], grad: &[f32], sum: &mut [f32]) {
    let line = g.output[1] * g.filters;
    let rows = (GRAD_BLOCK / (g.window.stride[0] * g.input[1] * g.channels + line)).clamp(1, g.output[0]);
    with_buffer(frame_len(g, rows), |buffer| {
        for (i, grad) in grad.chunks(rows * line).enumerate() {
            let block = i * rows..i * rows + grad.len() / line;
            let frame = Frame::new(g, image, &block, buffer);
            let taps: Vec<usize> = frame.runs(g).iter().flat_map(|&(start, n)| start..start + n).collect();
            let down = g.window.stride[0] * frame.line;
            let pixels: Vec<(usize, usize)> = (0..block.len()).map(|y| (y * down, g.output[1])).collect();
            for group in 0..g.groups {
                let first = group * g.filters_in();
                Product {
                    a: &frame.pixels[group * g.channels_in()..],
                    rows: &taps,
                    segments: &pixels,
                    step: g.window.stride[1] * g.channels,
                    b: &grad[first..],
                    b_step: g.filters,
                    columns: g.filters_in(),
                    accumulate: true,
                }
                .write(&mut sum[first..], g.filters);
            }
        }
    });
}

/// The pixels along one axis whose padded position leaves `rest` when divided by the stride, and the taps that reach them.
/// An output position `i` meets such a pixel under a tap that lags `lag` behind if the pixel is number `i + lag`.
struct Phase {
    /// The first pixel, and its number.
    pixel: usize,
    number: usize,
    count: usize,
    /// Tap and lag.
    taps: Vec<(usize, usize)>,
}

impl Phase {
    fn new(g: &Geometry, axis: usize, rest: usize) -> Self {
        let (stride, dilation, padding) = (g.window.stride[axis], g.window.dilation[axis], g.window.padding[2 * axis]);
        let number = padding.saturating_sub(rest).div_ceil(stride);
        let pixel = number * stride + rest - padding;
        let taps = (0..g.window.size[axis]).filter(|tap| tap * dilation % stride == rest);
        Self {
            pixel,
            number,
            count: g.input[axis].saturating_sub(pixel).div_ceil(stride),
            taps: taps.map(|tap| (tap, tap * dilation / stride)).collect(),
        }
    }

    fn all(g: &Geometry, axis: usize) -> Vec<Self> {
        (0..g.window.stride[axis]).map(|rest| Self::new(g, axis, rest)).collect()
    }
}

/// The gradient of one image with as much around it that each pixel of the input finds something at every lag.
struct Surrounded<'a> {
    pixels: &'a mut [f32],
    lag: [usize; 2],
    line: usize,
}

fn surrounded(g: &Geometry) -> ([usize; 2], [usize; 2]) {
    let (span, stride, padding) = (g.window.span(), g.window.stride, g.window.padding);
    let lag = [0, 1].map(|axis| (span[axis] - 1) / stride[axis]);
    let size = [0, 1].map(|axis| lag[axis] + (padding[2 * axis] + g.input[axis] - 1) / stride[axis] + 1);
    (lag, size)
}

impl<'a> Surrounded<'a> {
    fn new(g: &Geometry, grad: &[f32], pixels: &'a mut [f32]) -> Self {
        let ([down, right], [h, w]) = surrounded(g);
        let (line, n) = (w * g.filters, g.output[1].min(w - right) * g.filters);
        pixels.fill(0.0);
        let lines = pixels[down * line..h * line].chunks_exact_mut(line);
        for (to, from) in lines.zip(grad.chunks_exact(g.output[1] * g.filters)) {
            to[right * g.filters..][..n].copy_from_slice(&from[..n]);
        }
        Self { pixels, lag: [down, right], line }
    }
}

/// The gradient for the input. With a stride, the pixels between two positions of the window take turns in which taps
/// reach them; those of one phase are a convolution of the gradient with these taps.
pub fn grad_input(g: &Geometry, grad: &[f32], weight: &[f32], output: &mut [f32], kernels: &mut [f32]) {
    let [rows, columns] = [0, 1].map(|axis| Phase::all(g, axis));
    let phases: Vec<(&Phase, &Phase)> = rows.iter().flat_map(|r| columns.iter().map(move |c| (r, c))).collect();
    let mut rest = &mut *kernels;
    let kernels: Vec<&[f32]> = phases
        .iter()
        .map(|(rows, columns)| {
            let n = rows.taps.len() * columns.taps.len() * g.filters_in() * g.channels;
            let (kernel, left) = std::mem::take(&mut rest).split_at_mut(n);
            rest = left;
            transpose(g, rows, columns, weight, kernel);
            &*kernel
        })
        .collect();
    let (_, [h, w]) = surrounded(g);
    let images = output.par_chunks_exact_mut(g.input_len()).zip(grad.par_chunks_exact(g.output_len()));
    images.for_each(|(image, grad)| {
        with_buffer(h * w * g.filters, |buffer| {
            let grad = Surrounded::new(g, grad, buffer);
            image.fill(0.0);
            phases.iter().zip(&kernels).for_each(|((rows, columns), kernel)| {
                grad_input_phase(g, &grad, kernel, rows, columns, image);
            });
        });
    });
}

/// The taps of one phase as a matrix `[taps, o / groups, c]`.
fn transpose(g: &Geometry, rows: &Phase, columns: &Phase, weight: &[f32], kernel: &mut [f32]) {
    let (cg, og) = (g.channels_in(), g.filters_in());
    let taps = rows.taps.iter().flat_map(|(y, _)| columns.taps.iter().map(move |(x, _)| y * g.window.size[1] + x));
    for (tap, to) in taps.zip(kernel.chunks_exact_mut(og * g.channels)) {
        let from = &weight[tap * cg * g.filters..][..cg * g.filters];
        for (o, row) in to.chunks_exact_mut(g.channels).enumerate() {
            row.iter_mut().enumerate().for_each(|(c, x)| *x = from[c % cg * g.filters + c / cg * og + o]);
        }
    }
}

fn grad_input_phase(
    g: &Geometry,
    grad: &Surrounded<'_>,
    kernel: &[f32],
    rows: &Phase,
    columns: &Phase,
    image: &mut [f32],
) {
    let (cg, og, [sy, sx]) = (g.channels_in(), g.filters_in(), g.window.stride);
    let at = |lag_y: usize, lag_x: usize| (grad.lag[0] - lag_y) * grad.line + (grad.lag[1] - lag_x) * g.filters;
    let runs: Vec<(usize, usize)> =
        rows.taps.iter().flat_map(|&(_, y)| columns.taps.iter().map(move |&(_, x)| (at(y, x), og))).collect();
    let pixels: Vec<usize> = (0..columns.count).map(|i| (columns.number + i) * g.filters).collect();
    for (line, group) in (0..rows.count).flat_map(|line| (0..g.groups).map(move |group| (line, group))) {
        let start = ((rows.pixel + line * sy) * g.input[1] + columns.pixel) * g.channels + group * cg;
        if pixels.is_empty() || runs.is_empty() {
            return;
        }
        Product {
            a: &grad.pixels[(rows.number + line) * grad.line + group * og..],
            rows: &pixels,
            segments: &runs,
            step: 1,
            b: &kernel[group * cg..],
            b_step: g.channels,
            columns: cg,
            accumulate: false,
        }
        .write(&mut image[start..], sx * g.channels);
    }
}
