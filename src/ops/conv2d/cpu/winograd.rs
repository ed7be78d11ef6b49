//! 3×3 convolution with stride 1 by F(4×4, 3×3): 36 products instead of 144 for a tile of 4×4 results (Lavin & Gray 2015,
//! <https://arxiv.org/abs/1509.09308>; the matrices are theirs, at other points).
//!
//! `y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A` for each tile and channel; summed over channels, each of the 36 positions is a product
//! of matrices, of tiles by channels with channels by filters. A few tiles at a time go through all three stages, so that
//! what lies between them stays in the cache. The gradient for the weight is the adjoint,
//! `dg = Gᵀ [Σ (Bᵀ d B) ⊙ (A dy Aᵀ)] G`, that for the input a convolution with turned kernels.

mod transform;

use std::ops::Range;

use rayon::prelude::*;

use super::Geometry;
use crate::ops::epilogue::Epilogue;
use crate::simd::{Product, vectorized, with_buffer};
use transform::{Data, Grad, Grid, Kernel, KernelGrad, Output, transform};

/// Results of a tile along each axis.
const TILE: usize = 4;
/// Positions of a transformed tile.
const POSITIONS: usize = 36;
/// Fewest channels and filters for which it pays.
pub const FEWEST: usize = 16;
/// Floats that transformed tiles take at a time: they stay in the second-level cache.
const BLOCK: usize = 3 << 15;
/// Floats between the positions of a transformed tile beyond what they hold: else all would meet in one set of the cache.
const SPACE: usize = 16;
/// Fewest tiles of a partial gradient for the weight, and most floats of all of them.
const PART_TILES: usize = 64;
const PART_FLOATS: usize = 1 << 23;

/// Whether the algorithm applies, and saves time. With more padding there are results under a single tap, for which what
/// is rounded in a tile is too much; those in the padding would not be exactly 0.
pub fn suits(g: &Geometry) -> bool {
    suits_padded(g, 1)
}

fn suits_padded(g: &Geometry, most_padding: usize) -> bool {
    let window = &g.window;
    let plain = window.size == [3; 2] && window.stride == [1; 2] && window.dilation == [1; 2] && g.groups == 1;
    // Tiles reach beyond the result where its extents are no multiples of theirs.
    let computed: usize = g.output.map(|n| n.next_multiple_of(TILE)).iter().product();
    let padded = window.padding.iter().all(|&padding| padding <= most_padding);
    plain && padded && g.channels.min(g.filters) >= FEWEST && 2 * g.pixels() >= computed
}

/// Whether [`forward`] can pool the results: their rows must be pairs.
pub fn pools(g: &Geometry) -> bool {
    suits(g) && g.output[0].is_multiple_of(2) && g.output[1] >= 2
}

/// The convolution that is the gradient for the input, if the algorithm suits it: of the gradient, with as much padding
/// that each pixel lies under every tap.
pub fn turned(g: &Geometry) -> Option<Geometry> {
    let mut window = g.window;
    for (to, padding) in window.padding.iter_mut().zip(g.window.padding) {
        *to = 2_usize.checked_sub(padding)?;
    }
    let turned = Geometry { input: g.output, channels: g.filters, output: g.input, filters: g.channels, window, ..*g };
    suits_padded(&turned, 2).then_some(turned)
}

/// The weight for [`turned`]: each kernel turned by 180°, channels and filters exchanged.
pub fn turn(g: &Geometry, weight: &[f32], result: &mut [f32]) {
    let matrix = g.channels * g.filters;
    for (from, to) in weight.chunks_exact(matrix).rev().zip(result.chunks_exact_mut(matrix)) {
        for (o, row) in to.chunks_exact_mut(g.channels).enumerate() {
            row.iter_mut().enumerate().for_each(|(c, x)| *x = from[c * g.filters + o]);
        }
    }
}

/// Computes [`turned`]: the corners, which may lie under a single tap, one by one.
pub fn forward_turned(g: &Geometry, input: &[f32], weight: &[f32], output: &mut [f32], scratch: &mut [f32]) {
    forward(g, input, weight, output, &Epilogue::none(), scratch, false);
    if !g.window.padding.contains(&2) {
        return;
    }
    let images = output.par_chunks_exact_mut(g.output_len()).zip(input.par_chunks_exact(g.input_len()));
    images.for_each(|(result, image)| {
        let [bottom, right] = g.output.map(|n| n - 1);
        for (y, x) in [(0, 0), (0, right), (bottom, 0), (bottom, right)] {
            let corner = &mut result[(y * g.output[1] + x) * g.filters..][..g.filters];
            vectorized(
                #[inline(always)]
                || pixel(g, image, weight, [y, x], corner),
            );
        }
    });
}

/// One pixel of the result by the definition.
#[inline(always)]
fn pixel(g: &Geometry, image: &[f32], weight: &[f32], [y, x]: [usize; 2], result: &mut [f32]) {
    result.fill(0.0);
    for (tap, kernel) in weight.chunks_exact(g.channels * g.filters).enumerate() {
        let rows = g.window.pixel(0, y, tap / 3, g.input[0]);
        let (Some(row), Some(column)) = (rows, g.window.pixel(1, x, tap % 3, g.input[1])) else { continue };
        let values = &image[(row * g.input[1] + column) * g.channels..][..g.channels];
        for (value, kernel) in values.iter().zip(kernel.chunks_exact(g.filters)) {
            result.iter_mut().zip(kernel).for_each(|(sum, weight)| *sum += value * weight);
        }
    }
}

/// Floats of the transformed weight `[36, c, o]`.
pub fn weight_len(g: &Geometry) -> usize {
    POSITIONS * g.channels * g.filters
}

/// How results are cut into tiles. Tile rows are counted through all images.
struct Tiles<'a> {
    g: &'a Geometry,
    rows: usize,
    columns: usize,
}

impl<'a> Tiles<'a> {
    fn new(g: &'a Geometry) -> Self {
        let [rows, columns] = g.output.map(|n| n.div_ceil(TILE));
        Self { g, rows, columns }
    }

    /// Tile rows that are worked on at a time.
    fn rows_at_once(&self) -> usize {
        let tiles = (BLOCK / (POSITIONS * (self.g.channels + self.g.filters))).max(12);
        tiles.div_ceil(self.columns).min((self.g.n * self.rows).div_ceil(8))
    }

    /// Where the output row at the top of a tile row stands, counted through all images.
    fn output_row(&self, row: usize) -> usize {
        row / self.rows * self.g.output[0] + (row % self.rows * TILE).min(self.g.output[0])
    }

    /// The tiles of some rows with their corners in an image of `size` that lies `padding` pixels inside: as grids of
    /// `n` pixels a side.
    fn grids<'b>(
        &'b self,
        rows: Range<usize>,
        n: usize,
        size: [usize; 2],
        padding: [usize; 2],
        channels: usize,
    ) -> impl Iterator<Item = Grid> + use<'b> {
        let first = rows.start / self.rows;
        rows.flat_map(move |row| (0..self.columns).map(move |column| (row, column))).map(move |(row, column)| {
            let image = (row / self.rows - first) * size[0] * size[1];
            let corner = [row % self.rows * TILE, column * TILE];
            Grid::of_image(image, corner, padding, n, size, channels)
        })
    }

    fn of_input(&self, rows: Range<usize>) -> impl Iterator<Item = Grid> + use<'_> {
        let [top, _, left, _] = self.g.window.padding;
        self.grids(rows, 6, self.g.input, [top, left], self.g.channels)
    }

    fn of_output(&self, rows: Range<usize>) -> impl Iterator<Item = Grid> + use<'_> {
        self.grids(rows, TILE, self.g.output, [0; 2], self.g.filters)
    }
}

/// Transformed tiles `[36, tiles, channels]`.
#[derive(Clone, Copy)]
struct Planes {
    tiles: usize,
    channels: usize,
}

impl Planes {
    fn step(self) -> usize {
        self.tiles * self.channels + SPACE
    }

    fn len(self) -> usize {
        POSITIONS * self.step()
    }

    fn grids(self) -> impl Iterator<Item = Grid> {
        (0..self.tiles).map(move |tile| Grid::of_planes(tile * self.channels, 6, self.step()))
    }

    fn at(self, planes: &[f32], position: usize) -> &[f32] {
        &planes[position * self.step()..][..self.tiles * self.channels]
    }
}

/// `G g Gᵀ` for each channel and filter.
fn transform_weight(g: &Geometry, weight: &[f32], result: &mut [f32]) {
    let (o, matrix) = (g.filters, g.channels * g.filters);
    let grids = (0..g.channels).map(|c| (Grid::of_planes(c * o, 3, matrix), Grid::of_planes(c * o, 6, matrix)));
    transform(Kernel, weight, result, o, grids);
}

/// The convolution; with `pooled`, the largest of each 2×2 results instead of them.
pub fn forward(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
    pooled: bool,
) {
    transform_weight(g, weight, scratch);
    let weight = &*scratch;
    let tiles = Tiles::new(g);
    let rows = tiles.rows_at_once();
    // Where the results of a tile row stand in the output.
    let place = |row: usize| match pooled {
        true => tiles.output_row(row) / 2 * (g.output[1] / 2) * g.filters,
        false => tiles.output_row(row) * g.output[1] * g.filters,
    };
    let mut blocks = Vec::new();
    let mut rest = output;
    for first in (0..g.n * tiles.rows).step_by(rows) {
        let block = first..(first + rows).min(g.n * tiles.rows);
        let (result, left) = rest.split_at_mut(place(block.end) - place(block.start));
        rest = left;
        blocks.push((block, result));
    }
    blocks.into_par_iter().for_each(|(block, result)| {
        let start = place(block.start);
        forward_block(&tiles, input, weight, block, result, pooled);
        epilogue.apply(start, result);
    });
}

fn forward_block(
    tiles: &Tiles<'_>,
    input: &[f32],
    weight: &[f32],
    block: Range<usize>,
    result: &mut [f32],
    pooled: bool,
) {
    let g = tiles.g;
    let n = block.len() * tiles.columns;
    let data = Planes { tiles: n, channels: g.channels };
    let sums = Planes { tiles: n, channels: g.filters };
    let first = block.start / tiles.rows;
    let skipped = (tiles.output_row(block.start) - first * g.output[0]) * g.output[1] * g.filters;
    let computed = (tiles.output_row(block.end) - tiles.output_row(block.start)) * g.output[1] * g.filters;
    with_buffer(data.len() + sums.len() + if pooled { computed } else { 0 }, |buffer| {
        let (transformed, rest) = buffer.split_at_mut(data.len());
        let (products, whole) = rest.split_at_mut(sums.len());
        let input = &input[first * g.input_len()..];
        transform(Data, input, transformed, g.channels, tiles.of_input(block.clone()).zip(data.grids()));
        let rows: Vec<usize> = (0..n).map(|tile| tile * g.channels).collect();
        for position in 0..POSITIONS {
            Product {
                a: data.at(transformed, position),
                rows: &rows,
                segments: &[(0, g.channels)],
                step: 1,
                b: &weight[position * g.channels * g.filters..][..g.channels * g.filters],
                b_step: g.filters,
                columns: g.filters,
                accumulate: false,
            }
            .write(&mut products[position * sums.step()..], g.filters);
        }
        let results = tiles.of_output(block).map(|grid| grid.before(skipped));
        let to = if pooled { &mut *whole } else { &mut *result };
        transform(Output, products, to, g.filters, sums.grids().zip(results));
        if pooled {
            vectorized(
                #[inline(always)]
                || halve(whole, g.output[1], g.filters, result),
            );
        }
    });
}

/// The largest of each 2×2 pixels of lines of `width`.
#[inline(always)]
fn halve(pixels: &[f32], width: usize, channels: usize, result: &mut [f32]) {
    let lines = pixels.chunks_exact(2 * width * channels).zip(result.chunks_exact_mut(width / 2 * channels));
    for (pair, result) in lines {
        let (upper, lower) = pair.split_at(width * channels);
        let pairs = upper.chunks_exact(2 * channels).zip(lower.chunks_exact(2 * channels));
        for ((upper, lower), result) in pairs.zip(result.chunks_exact_mut(channels)) {
            let ((y0, y1), (y2, y3)) = (upper.split_at(channels), lower.split_at(channels));
            let all = y0.iter().zip(y1).zip(y2.iter().zip(y3));
            result.iter_mut().zip(all).for_each(|(r, ((y0, y1), (y2, y3)))| *r = y0.max(*y1).max(y2.max(*y3)));
        }
    }
}

/// Tile rows of each partial gradient for the weight; depends on the shapes alone.
fn rows_per_part(tiles: &Tiles<'_>) -> usize {
    let rows = tiles.g.n * tiles.rows;
    let most = (PART_FLOATS / weight_len(tiles.g)).clamp(1, super::MOST_PARTS);
    rows.div_ceil(most).max(PART_TILES.div_ceil(tiles.columns))
}

pub fn grad_weight_scratch(g: &Geometry) -> usize {
    let tiles = Tiles::new(g);
    (g.n * tiles.rows).div_ceil(rows_per_part(&tiles)) * weight_len(g)
}

pub fn grad_weight(g: &Geometry, input: &[f32], grad: &[f32], output: &mut [f32], scratch: &mut [f32]) {
    let tiles = Tiles::new(g);
    let (rows, share, len) = (g.n * tiles.rows, rows_per_part(&tiles), weight_len(g));
    scratch.par_chunks_exact_mut(len).enumerate().for_each(|(part, sum)| {
        sum.fill(0.0);
        let part = part * share..((part + 1) * share).min(rows);
        for first in part.clone().step_by(tiles.rows_at_once()) {
            let block = first..(first + tiles.rows_at_once()).min(part.end);
            grad_weight_block(&tiles, input, grad, block, sum);
        }
    });
    let (sum, parts) = scratch.split_at_mut(len);
    let piece = g.channels * g.filters;
    sum.par_chunks_exact_mut(piece).enumerate().for_each(|(i, sum)| {
        for part in parts.chunks_exact(len) {
            sum.iter_mut().zip(&part[i * piece..]).for_each(|(s, p)| *s += p);
        }
    });
    let (o, matrix) = (g.filters, piece);
    let grids = (0..g.channels).map(|c| (Grid::of_planes(c * o, 6, matrix), Grid::of_planes(c * o, 3, matrix)));
    transform(KernelGrad, sum, output, o, grids);
}

fn grad_weight_block(tiles: &Tiles<'_>, input: &[f32], grad: &[f32], block: Range<usize>, sum: &mut [f32]) {
    let g = tiles.g;
    let n = block.len() * tiles.columns;
    let data = Planes { tiles: n, channels: g.channels };
    let grads = Planes { tiles: n, channels: g.filters };
    let first = block.start / tiles.rows;
    with_buffer(data.len() + grads.len(), |buffer| {
        let (a, b) = buffer.split_at_mut(data.len());
        let (input, grad) = (&input[first * g.input_len()..], &grad[first * g.output_len()..]);
        transform(Data, input, a, g.channels, tiles.of_input(block.clone()).zip(data.grids()));
        transform(Grad, grad, b, g.filters, tiles.of_output(block).zip(grads.grids()));
        let rows: Vec<usize> = (0..g.channels).collect();
        for position in 0..POSITIONS {
            Product {
                a: data.at(a, position),
                rows: &rows,
                segments: &[(0, n)],
                step: g.channels,
                b: grads.at(b, position),
                b_step: g.filters,
                columns: g.filters,
                accumulate: true,
            }
            .write(&mut sum[position * g.channels * g.filters..], g.filters);
        }
    });
}
