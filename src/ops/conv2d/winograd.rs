//! Winograd's F(2×2, 3×3): two by two pixels from 16 multiplications for each channel instead of 36, by way of a batch of
//! 16 products (A. Lavin & S. Gray, Fast Algorithms for Convolutional Neural Networks, 2015,
//! <https://arxiv.org/abs/1509.09308>). The larger F(4×4, 3×3) loses more digits than an op may.

use super::kernels::{WORKGROUP, Windows};
use crate::graph::{Binding, Capabilities, Kernel, Launch};
use crate::ops::product::{Product, Stored, matrix_a, matrix_b};

/// Adds Winograd's form to the kernels of a convolution, if it has one. It comes after the direct forms: it moves four times
/// the input and the result besides, and whether that costs more than it saves only a measurement can tell.
pub(super) fn append(kernels: &mut Vec<Kernel>, windows: &Windows, result: Stored<'_>, capabilities: &Capabilities) {
    let fits = windows.size == [3, 3] && [windows.stride, windows.dilation, windows.up] == [[1; 2]; 3];
    if fits && windows.channels.is_multiple_of(4) && windows.filters.is_multiple_of(4) {
        kernels.push(kernel(windows, result, capabilities));
    }
}

/// Scratch: 0 the weight, 1 the input, 2 the product, all transformed.
fn kernel(windows: &Windows, result: Stored<'_>, capabilities: &Capabilities) -> Kernel {
    let (c, o) = (windows.channels, windows.filters);
    let [tiles_h, tiles_w] = windows.result.map(|extent| extent.div_ceil(2));
    let tiles = windows.n * tiles_h * tiles_w;
    let grid = [("TILES_H", tiles_h), ("TILES_W", tiles_w)];

    let text = include_str!("../../../shaders/conv2d_winograd_weight.wgsl");
    let weight = Launch::new("conv2d_winograd_weight.wgsl", text)
        .constants([("C", c), ("O", o), ("FLIP", usize::from(windows.flipped))])
        .params([0])
        .bindings([Binding::Input(1), Binding::Scratch(0)])
        .threads(c * o, WORKGROUP);

    let text = include_str!("../../../shaders/conv2d_winograd_input.wgsl");
    let input = Launch::new("conv2d_winograd_input.wgsl", text)
        .constants(windows.constants())
        .constants(grid)
        .params([tiles])
        .bindings([Binding::Input(0), Binding::Scratch(1)])
        .threads(tiles * c / 4, WORKGROUP);

    let product = Product {
        batch: 16,
        rows: tiles,
        columns: o,
        terms: c,
        a: matrix_a(Binding::Scratch(1), false, [tiles, c]),
        b: matrix_b(Binding::Scratch(0), false, [c, o]),
        constants: Vec::new(),
        result: Stored::Scratch(2),
    };

    let text = include_str!("../../../shaders/conv2d_winograd_output.wgsl");
    let output = Launch::new("conv2d_winograd_output.wgsl", text).bindings([Binding::Scratch(2), Binding::Output]);
    let output = result
        .attach(output)
        .constants(windows.constants())
        .constants([("O", o)])
        .constants(grid)
        .params([tiles])
        .threads(tiles * o / 4, WORKGROUP);

    Kernel {
        variant: "winograd".into(),
        launches: vec![weight, input, product.whole(capabilities), output],
        scratch: vec![16 * c * o * 4, 16 * tiles * c * 4, 16 * tiles * o * 4],
    }
}
