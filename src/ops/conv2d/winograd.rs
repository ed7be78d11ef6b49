//! Winograd's F(4×4, 3×3) on the GPU: four by four pixels from 36 multiplications for each channel instead of 144, by way
//! of a batch of 36 products (A. Lavin & S. Gray, Fast Algorithms for Convolutional Neural Networks, 2015,
//! <https://arxiv.org/abs/1509.09308>; at other points, see [`points`]). The gradient for the weight is the adjoint, that
//! for the input a convolution with turned kernels.
//!
//! What lies between the stages is 2.25 times what a convolution reads and writes. So tiles go through them a block at a
//! time, through the same scratch memory.

use std::ops::Range;

use super::Geometry;
use super::kernels::{WORKGROUP, Windows};
use super::points::HEADER;
use crate::graph::{Binding, Capabilities, Kernel, Launch};
use crate::ops::product::{Layers, Product, Stored, matrix_a, matrix_b};

/// Results of a tile along each axis.
const TILE: usize = 4;
/// Positions of a transformed tile.
const POSITIONS: usize = 36;
/// Fewest channels and filters for which it pays.
const FEWEST: usize = 16;
/// Multiply-adds, for each position of a tile, from which on it comes first in software: below, what is moved costs what is
/// saved.
const MANY: usize = 1 << 20;
/// Bytes of transformed tiles at a time: enough to keep hardware busy; in software, what stays in the caches of its cores.
const BLOCK: usize = 32 << 20;
const BLOCK_IN_CACHE: usize = 3 << 20;
/// Most bytes of the partial sums of a gradient for the weight.
const SUMS: usize = 64 << 20;
/// Most bytes of a buffer that every adapter can bind.
const BINDING: usize = 128 << 20;

/// Adds Winograd's form to the kernels of a convolution, or of the gradient for its input, if it has one.
pub(super) fn append(kernels: &mut Vec<Kernel>, windows: &Windows, result: Stored<'_>, capabilities: &Capabilities) {
    // With more padding there are results under a single tap, for which what is rounded in a tile is too much. Those of a
    // gradient for the input are its corners, and computed by themselves.
    let most = if windows.flipped { 2 } else { 1 };
    if suits(windows, most) {
        place(kernels, forward(windows, result, capabilities), windows, capabilities);
    }
}

/// The same for the gradient for the weight.
pub(super) fn append_grad_weight(kernels: &mut Vec<Kernel>, g: &Geometry, capabilities: &Capabilities) {
    let windows = Windows::forward(g);
    if suits(&windows, 1) {
        place(kernels, grad_weight(g, capabilities), &windows, capabilities);
    }
}

fn suits(windows: &Windows, most_padding: usize) -> bool {
    let plain = windows.size == [3, 3] && [windows.stride, windows.dilation, windows.up] == [[1; 2]; 3];
    let (c, o) = (windows.channels, windows.filters);
    let in_fours = c.is_multiple_of(4) && o.is_multiple_of(4) && c.min(o) >= FEWEST;
    let padded = |padding: [usize; 2]| padding.iter().all(|&p| p <= most_padding);
    // Tiles reach beyond the result where its extents are no multiples of theirs.
    let computed: usize = windows.result.iter().map(|n| n.next_multiple_of(TILE)).product();
    let [h, w] = windows.result;
    plain && in_fours && padded(windows.before) && windows.after().is_some_and(padded) && 2 * h * w >= computed
}

/// In software it is the form to prefer, where channels are many. On hardware it comes after the direct ones: there only a
/// measurement can tell.
fn place(kernels: &mut Vec<Kernel>, kernel: Kernel, windows: &Windows, capabilities: &Capabilities) {
    let multiply_adds = Tiles::new(windows.n, windows.result).count * windows.channels * windows.filters;
    let first = capabilities.software && multiply_adds >= MANY;
    if kernel.scratch.iter().all(|&bytes| bytes <= BINDING) {
        kernels.insert(if first { 0 } else { kernels.len() }, kernel);
    }
}

/// The tiles of all images, by number.
struct Tiles {
    grid: [usize; 2],
    count: usize,
}

impl Tiles {
    fn new(n: usize, result: [usize; 2]) -> Self {
        let grid = result.map(|extent| extent.div_ceil(TILE));
        Self { grid, count: n * grid[0] * grid[1] }
    }

    /// The words by which a shader finds a block of tiles in images of that size.
    fn of_result(&self, block: &Range<usize>, [h, w]: [usize; 2], filters: usize) -> [usize; 7] {
        [block.start, block.len(), h, w, filters / 4, self.grid[0], self.grid[1]]
    }

    /// Blocks of as many tiles as fill [`BLOCK`] with `channels` floats for each position, but not more than `most`.
    fn blocks(&self, channels: usize, most: usize, capabilities: &Capabilities) -> Vec<Range<usize>> {
        let bytes = if capabilities.software { BLOCK_IN_CACHE } else { BLOCK };
        let count = (self.count * POSITIONS * channels * 4).div_ceil(bytes).min(most);
        let size = self.count.div_ceil(count);
        (0..self.count).step_by(size).map(|first| first..(first + size).min(self.count)).collect()
    }
}

/// Scratch: 0 the weight, 1 the input, 2 the product, all transformed.
fn forward(windows: &Windows, result: Stored<'_>, capabilities: &Capabilities) -> Kernel {
    let (c, o) = (windows.channels, windows.filters);
    let tiles = Tiles::new(windows.n, windows.result);
    let blocks = tiles.blocks(c + o, usize::MAX, capabilities);
    let largest = blocks[0].len();
    let text = include_str!("../../../shaders/conv2d_winograd_weight.wgsl");
    let weight = Launch::new("conv2d_winograd_weight.wgsl", text)
        .constants([("FLIP", usize::from(windows.flipped))])
        .float_constants(HEADER)
        .params([c, o])
        .bindings([Binding::Input(1), Binding::Scratch(0)])
        .threads(c * o, WORKGROUP);
    let mut launches = vec![weight];
    for block in blocks {
        let product = Product {
            batch: POSITIONS,
            rows: block.len(),
            columns: o,
            terms: c,
            a: matrix_a(Binding::Scratch(1), false, [block.len(), c]),
            b: matrix_b(Binding::Scratch(0), false, [c, o]),
            constants: Vec::new(),
            result: Stored::Scratch(2),
        };
        launches.push(input(windows, &tiles, &block, 1));
        launches.push(product.whole(capabilities));
        launches.push(output(windows, &tiles, &block, result));
    }
    if [windows.before, windows.after().unwrap_or_default()].as_flattened().contains(&2) {
        launches.push(corners(windows, result));
    }
    let floats = [c * o, largest * c, largest * o];
    Kernel { variant: "winograd".into(), launches, scratch: floats.map(|n| POSITIONS * n * 4).to_vec() }
}

/// Transforms a block of the image into a scratch buffer.
fn input(windows: &Windows, tiles: &Tiles, block: &Range<usize>, scratch: usize) -> Launch {
    let text = include_str!("../../../shaders/conv2d_winograd_input.wgsl");
    let ([h, w], [top, left], [tiles_h, tiles_w]) = (windows.source, windows.before, tiles.grid);
    Launch::new("conv2d_winograd_input.wgsl", text)
        .float_constants(HEADER)
        .params([block.start, block.len(), h, w, windows.channels / 4, top, left, tiles_h, tiles_w])
        .bindings([Binding::Input(0), Binding::Scratch(scratch)])
        .threads(block.len() * windows.channels / 4, WORKGROUP)
}

/// Computes the results of a block from the products in scratch 2.
fn output(windows: &Windows, tiles: &Tiles, block: &Range<usize>, result: Stored<'_>) -> Launch {
    let text = include_str!("../../../shaders/conv2d_winograd_output.wgsl");
    let launch = Launch::new("conv2d_winograd_output.wgsl", text).bindings([Binding::Scratch(2), Binding::Output]);
    result
        .attach(launch)
        .float_constants(HEADER)
        .params(tiles.of_result(block, windows.result, windows.filters))
        .threads(block.len() * windows.filters / 4, WORKGROUP)
}

/// Computes the corners of a gradient for the input anew.
fn corners(windows: &Windows, result: Stored<'_>) -> Launch {
    let vectors = windows.n * windows.filters;
    let text = include_str!("../../../shaders/conv2d_winograd_corners.wgsl");
    let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output];
    result
        .attach(Launch::new("conv2d_winograd_corners.wgsl", text).bindings(bindings))
        .constants(windows.constants())
        .constants([("O", windows.filters)])
        .params([vectors, 9, windows.channels / 4])
        .threads(vectors, WORKGROUP)
}

/// Scratch: 0 the input, 1 the gradient, both transformed; 2 their products, of each block and each part of it; 3 the sum
/// of those, if they are several.
fn grad_weight(g: &Geometry, capabilities: &Capabilities) -> Kernel {
    let (c, o) = (g.channels, g.filters);
    let windows = Windows::forward(g);
    let tiles = Tiles::new(g.n, g.output);
    let blocks = tiles.blocks(c + o, (SUMS / (POSITIONS * c * o * 4)).max(1), capabilities);
    let largest = blocks[0].len();
    let product = |terms: usize| Product {
        batch: POSITIONS,
        rows: c,
        columns: o,
        terms,
        a: matrix_a(Binding::Scratch(0), true, [c, terms]),
        b: matrix_b(Binding::Scratch(1), false, [terms, o]),
        constants: Vec::new(),
        result: Stored::Scratch(2),
    };
    let parts = product(largest).preferred_parts(capabilities);
    let layers = parts * blocks.len();
    let mut launches = Vec::new();
    for (i, block) in blocks.iter().enumerate() {
        let text = include_str!("../../../shaders/conv2d_winograd_grad.wgsl");
        let grad = Launch::new("conv2d_winograd_grad.wgsl", text)
            .float_constants(HEADER)
            .params(tiles.of_result(block, g.output, o))
            .bindings([Binding::Input(1), Binding::Scratch(1)])
            .threads(block.len() * o / 4, WORKGROUP);
        let share = Layers { parts, first: i * parts, of: layers };
        launches.extend([input(&windows, &tiles, block, 0), grad, product(block.len()).preferred(capabilities, share)]);
    }
    let mut floats = vec![largest * c, largest * o, layers * c * o];
    if layers > 1 {
        let sum = Product { result: Stored::Scratch(3), ..product(largest) };
        launches.push(sum.add_layers(2, layers));
        floats.push(c * o);
    }
    let text = include_str!("../../../shaders/conv2d_winograd_weight_grad.wgsl");
    let last = Launch::new("conv2d_winograd_weight_grad.wgsl", text)
        .float_constants(HEADER)
        .params([c * o / 4])
        .bindings([Binding::Scratch(if layers > 1 { 3 } else { 2 }), Binding::Output])
        .threads(c * o / 4, WORKGROUP);
    launches.push(last);
    let scratch = floats.into_iter().map(|n| POSITIONS * n * 4).collect();
    Kernel { variant: "winograd".into(), launches, scratch }
}
