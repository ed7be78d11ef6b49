//! 3×3 convolution with stride 1 of few channels, and the 2×2 maximum pooling after it, by F(2×2, 3×3): 16 products instead
//! of 36 for a tile of 2×2 results (Lavin & Gray 2015, <https://arxiv.org/abs/1509.09308>).
//!
//! `y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A`, summed over channels before the last transform. With few channels memory would be all:
//! so a tile's sums, results and their maximum never leave the registers. The gradient for the weight makes the results
//! once more, to see where the maximum was.

use rayon::prelude::*;

use super::{Geometry, winograd};
use crate::ops::epilogue::Epilogue;
use crate::simd::{Product, vectorized, with_buffer};

mod tile;

use tile::{Maximum, MaximumGrad, TileRow};

/// Results of a tile along each axis; also the window and stride of the pooling.
const TILE: usize = 2;
/// Positions of a transformed tile along each axis, and of all of it.
const SIDE: usize = 4;
const POSITIONS: usize = SIDE * SIDE;
/// Fewest filters for which it pays: they are the vectors.
const FEWEST_FILTERS: usize = 8;
/// Floats of the result which a task makes.
const TASK: usize = 1 << 13;

/// Whether the algorithm applies, and saves time.
pub fn suits(g: &Geometry) -> bool {
    let window = &g.window;
    let plain = window.size == [3; 2] && window.stride == [1; 2] && window.dilation == [1; 2] && g.groups == 1;
    let padded = window.padding.iter().all(|&padding| padding <= 1);
    plain
        && padded
        && g.channels < winograd::FEWEST
        && g.filters >= FEWEST_FILTERS
        && g.output.iter().all(|&n| n >= TILE)
}

/// Floats of the transformed weight `[16, c, o]`.
pub fn weight_len(g: &Geometry) -> usize {
    POSITIONS * g.channels * g.filters
}

/// The lines of an image under a row of tiles, and their transform `Bᵀ d B`.
struct Lines {
    tiles: usize,
    channels: usize,
    /// Floats of a line.
    len: usize,
    /// Floats of a position of all tiles: that of a tile starts two pixels after that of the tile before.
    plane: usize,
}

impl Lines {
    fn new(g: &Geometry, tiles: usize) -> Self {
        let len = (TILE * tiles + 2) * g.channels;
        Self { tiles, channels: g.channels, len, plane: len - 3 * g.channels }
    }

    /// Floats of lines, halfway transformed lines, and planes.
    fn buffer(&self) -> [usize; 3] {
        [SIDE * self.len, SIDE * self.len, POSITIONS * self.plane]
    }

    /// Copies the lines under tile row `row`; what lies outside the image is 0.
    fn copy(&self, g: &Geometry, image: &[f32], row: usize, lines: &mut [f32]) {
        let ([h, w], c, [top, _, left, _]) = (g.input, g.channels, g.window.padding);
        let n = (w * c).min(self.len - left * c);
        for (i, line) in lines.chunks_exact_mut(self.len).enumerate() {
            line.fill(0.0);
            if let Some(y) = (TILE * row + i).checked_sub(top).filter(|&y| y < h) {
                line[left * c..][..n].copy_from_slice(&image[y * w * c..][..n]);
            }
        }
    }

    fn transform(&self, lines: &[f32], halfway: &mut [f32], planes: &mut [f32]) {
        vectorized(
            #[inline(always)]
            || {
                let line = |i: usize| &lines[i * self.len..][..self.len];
                differences([line(0), line(1), line(2), line(3)], halfway);
                for (line, planes) in halfway.chunks_exact(self.len).zip(planes.chunks_exact_mut(SIDE * self.plane)) {
                    let pixel = |i: usize| &line[i * self.channels..][..self.plane];
                    differences([pixel(0), pixel(1), pixel(2), pixel(3)], planes);
                }
            },
        );
    }
}

/// `Bᵀ x` for each element of four rows.
#[inline(always)]
fn differences([x0, x1, x2, x3]: [&[f32]; 4], to: &mut [f32]) {
    let mut rows = to.chunks_exact_mut(x0.len());
    let mut next = || rows.next().expect("four rows");
    combine(next(), x0, x2, |x, y| x - y);
    combine(next(), x1, x2, |x, y| x + y);
    combine(next(), x2, x1, |x, y| x - y);
    combine(next(), x1, x3, |x, y| x - y);
}

#[inline(always)]
fn combine(to: &mut [f32], x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) {
    to.iter_mut().zip(x).zip(y).for_each(|((to, x), y)| *to = f(*x, *y));
}

/// `G g Gᵀ` for each channel and filter.
fn transform_weight(g: &Geometry, weight: &[f32], result: &mut [f32]) {
    let n = g.channels * g.filters;
    let stretch = |[x, y, z]: [f32; 3]| [x, 0.5 * (x + y + z), 0.5 * (x - y + z), z];
    for i in 0..n {
        let columns = [0, 1, 2].map(|x| stretch([0, 1, 2].map(|y| weight[(3 * y + x) * n + i])));
        for y in 0..SIDE {
            let row = stretch([0, 1, 2].map(|x| columns[x][y]));
            row.iter().enumerate().for_each(|(x, value)| result[(SIDE * y + x) * n + i] = *value);
        }
    }
}

/// The largest of each 2×2 results of the convolution.
pub fn forward_pooled(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
    transformed: &mut [f32],
) {
    transform_weight(g, weight, transformed);
    let weight = &*transformed;
    let [rows, columns] = g.output.map(|n| n / TILE);
    let line = columns * g.filters;
    let share = TASK.div_ceil(line).min(rows);
    let images = output.chunks_exact_mut(rows * line);
    let tasks: Vec<&mut [f32]> = images.flat_map(|image| image.chunks_mut(share * line)).collect();
    let lines = Lines::new(g, columns);
    let [a, b, c] = lines.buffer();
    tasks.into_par_iter().enumerate().for_each(|(task, result)| {
        let (image, first) = (task / rows.div_ceil(share), task % rows.div_ceil(share) * share);
        let pixels = &input[image * g.input_len()..][..g.input_len()];
        with_buffer(a + b + c, |buffer| {
            let (frame, rest) = buffer.split_at_mut(a);
            let (halfway, planes) = rest.split_at_mut(b);
            for (i, result) in result.chunks_exact_mut(line).enumerate() {
                lines.copy(g, pixels, first + i, frame);
                lines.transform(frame, halfway, planes);
                TileRow::new(g, &lines, planes, weight).write(Maximum::new(result, g.filters));
            }
        });
        epilogue.apply((image * rows + first) * line, result);
    });
}

/// Floats which [`grad_weight_pooled`] wants.
pub fn grad_weight_scratch(g: &Geometry) -> usize {
    weight_len(g) + super::parts(g) * g.terms() * g.filters
}

/// The gradient for the weight of a convolution whose results were pooled; `grad` is that for the maxima.
pub fn grad_weight_pooled(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    grad: &[f32],
    output: &mut [f32],
    scratch: &mut [f32],
) {
    let (transformed, scratch) = scratch.split_at_mut(weight_len(g));
    transform_weight(g, weight, transformed);
    let (transformed, maxima) = (&*transformed, grad.len() / g.n);
    super::sum_over_images(g, output, scratch, |image, sum| {
        let pixels = &input[image * g.input_len()..][..g.input_len()];
        add_grad_weight(g, pixels, transformed, &grad[image * maxima..][..maxima], sum);
    });
}

/// Adds the gradient from one image.
fn add_grad_weight(g: &Geometry, image: &[f32], weight: &[f32], grad: &[f32], sum: &mut [f32]) {
    let lines = Lines::new(g, g.output[1] / TILE);
    let [a, b, c] = lines.buffer();
    let width = TILE * lines.tiles;
    let taps: Vec<usize> = (0..3).flat_map(|y| y * lines.len..y * lines.len + 3 * g.channels).collect();
    with_buffer(a + b + c + TILE * width * g.filters, |buffer| {
        let (frame, rest) = buffer.split_at_mut(a);
        let (halfway, rest) = rest.split_at_mut(b);
        let (planes, spread) = rest.split_at_mut(c);
        for (row, grad) in grad.chunks_exact(lines.tiles * g.filters).enumerate() {
            lines.copy(g, image, row, frame);
            lines.transform(frame, halfway, planes);
            TileRow::new(g, &lines, planes, weight).write(MaximumGrad::new(spread, grad, width, g.filters));
            Product {
                a: frame,
                rows: &taps,
                segments: &[(0, width), (lines.len, width)],
                step: g.channels,
                b: spread,
                b_step: g.filters,
                columns: g.filters,
                accumulate: true,
            }
            .write(sum, g.filters);
        }
    });
}
