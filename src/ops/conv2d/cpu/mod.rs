//! Convolution on the CPU: 3×3 windows by Winograd's algorithm where that saves arithmetic (small tiles for few
//! channels that are pooled), depthwise ones by loops over channels, the others directly. Images are shared out among the cores; what is computed does not depend on how many
//! there are.

mod depthwise;
mod direct;
mod few_channels;
mod winograd;

use rayon::prelude::*;

use super::Geometry;
use crate::ops::epilogue::Epilogue;
pub(super) use few_channels::{grad_weight_pooled, grad_weight_scratch as grad_weight_pooled_scratch};

/// Partial gradients for a weight, each of some images: at most that many, of so many floats together. Their number
/// depends on the shapes alone, so that sums are the same on any number of cores.
const MOST_PARTS: usize = 8;
const PART_FLOATS: usize = 1 << 23;

pub(super) fn forward_scratch(g: &Geometry) -> usize {
    if winograd::suits(g) { winograd::weight_len(g) } else { 0 }
}

pub(super) fn forward(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) {
    if g.is_depthwise() {
        depthwise::forward(g, input, weight, output, epilogue);
    } else if winograd::suits(g) {
        winograd::forward(g, input, weight, output, epilogue, scratch, false);
    } else {
        direct::forward(g, input, weight, output, epilogue);
    }
}

/// Whether [`forward_pooled`] computes it.
pub(super) fn pools(g: &Geometry) -> bool {
    few_channels::suits(g) || winograd::pools(g)
}

pub(super) fn forward_pooled_scratch(g: &Geometry) -> usize {
    if winograd::suits(g) { winograd::weight_len(g) } else { few_channels::weight_len(g) }
}

/// The convolution followed by a 2×2 maximum pooling, before the epilogue.
pub(super) fn forward_pooled(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) {
    if winograd::suits(g) {
        winograd::forward(g, input, weight, output, epilogue, scratch, true);
    } else {
        few_channels::forward_pooled(g, input, weight, output, epilogue, scratch);
    }
}

pub(super) fn grad_input_scratch(g: &Geometry) -> usize {
    let weight = if g.is_depthwise() { 0 } else { g.terms() * g.filters };
    weight + winograd::turned(g).map_or(0, |t| winograd::weight_len(&t))
}

pub(super) fn grad_input(g: &Geometry, grad: &[f32], weight: &[f32], output: &mut [f32], scratch: &mut [f32]) {
    if g.is_depthwise() {
        return depthwise::grad_input(g, grad, weight, output);
    }
    let (kernel, scratch) = scratch.split_at_mut(g.terms() * g.filters);
    match winograd::turned(g) {
        Some(t) => {
            winograd::turn(g, weight, kernel);
            winograd::forward_turned(&t, grad, kernel, output, scratch);
        }
        None => direct::grad_input(g, grad, weight, output, kernel),
    }
}

/// Of images that are summed one after the other.
fn parts(g: &Geometry) -> usize {
    (PART_FLOATS / (g.terms() * g.filters)).clamp(1, MOST_PARTS).min(g.n)
}

pub(super) fn grad_weight_scratch(g: &Geometry) -> usize {
    if winograd::suits(g) { winograd::grad_weight_scratch(g) } else { parts(g) * g.terms() * g.filters }
}

pub(super) fn grad_weight(g: &Geometry, input: &[f32], grad: &[f32], output: &mut [f32], scratch: &mut [f32]) {
    if winograd::suits(g) {
        return winograd::grad_weight(g, input, grad, output, scratch);
    }
    sum_over_images(g, output, scratch, |image, sum| {
        let pixels = &input[image * g.input_len()..][..g.input_len()];
        let grad = &grad[image * g.output_len()..][..g.output_len()];
        if g.is_depthwise() {
            depthwise::grad_weight(g, pixels, grad, sum);
        } else {
            direct::grad_weight(g, pixels, grad, sum);
        }
    });
}

/// Sums up gradients for the weight, of which `add` adds that of an image.
fn sum_over_images(g: &Geometry, output: &mut [f32], scratch: &mut [f32], add: impl Fn(usize, &mut [f32]) + Sync) {
    let (len, parts) = (g.terms() * g.filters, parts(g));
    let share = g.n.div_ceil(parts);
    scratch[..parts * len].par_chunks_exact_mut(len).enumerate().for_each(|(part, sum)| {
        sum.fill(0.0);
        (part * share..((part + 1) * share).min(g.n)).for_each(|image| add(image, sum));
    });
    output.copy_from_slice(&scratch[..len]);
    for part in scratch[len..parts * len].chunks_exact(len) {
        output.iter_mut().zip(part).for_each(|(o, p)| *o += p);
    }
}

/// Whether [`grad_weight_pooled`] computes it: making the results again must be cheaper than keeping them.
pub(super) fn grad_weight_pools(g: &Geometry) -> bool {
    few_channels::suits(g)
}
