//! Convolution on the CPU: patches are laid out as matrix rows, a few at a time so that they stay in the cache, and
//! multiplied with the weight (im2col; Chellapilla et al. 2006, <https://inria.hal.science/inria-00112631>). Images are
//! shared out among the cores; what each core computes does not depend on how many there are.

use rayon::prelude::*;

use super::Geometry;
use crate::ops::epilogue::Epilogue;
use crate::simd::vectorized;

/// Floats of patches that are laid out at a time.
const PATCH_FLOATS: usize = 1 << 16;
/// Partial gradients that are summed separately, and the floats they may take together.
const MOST_PARTS: usize = 8;
const PART_FLOATS: usize = 1 << 23;

/// Matrices of one product: `c = a b`, or `c += a b`; each with the steps from row to row and from column to column.
struct Product<'a> {
    m: usize,
    n: usize,
    k: usize,
    a: (&'a [f32], [usize; 2]),
    b: (&'a [f32], [usize; 2]),
    accumulate: bool,
}

impl Product<'_> {
    fn write(&self, c: &mut [f32], [row, column]: [usize; 2]) {
        let Self { m, n, k, a: (a, a_steps), b: (b, b_steps), .. } = *self;
        let last = |steps: [usize; 2], rows: usize, columns: usize| (rows - 1) * steps[0] + (columns - 1) * steps[1];
        assert!(last(a_steps, m, k) < a.len() && last(b_steps, k, n) < b.len() && last([row, column], m, n) < c.len());
        // SAFETY: just asserted: the last element of each matrix lies inside its slice.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                column as isize,
                row as isize,
                self.accumulate,
                a.as_ptr(),
                a_steps[1] as isize,
                a_steps[0] as isize,
                b.as_ptr(),
                b_steps[1] as isize,
                b_steps[0] as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// Output rows whose patches are laid out at a time.
fn rows_at_once(g: &Geometry) -> usize {
    (PATCH_FLOATS / (g.output[1] * g.terms())).clamp(1, g.output[0])
}

/// The patches of some output rows of one image and group, as a matrix `[pixels, terms]`.
fn lay_out(g: &Geometry, image: &[f32], group: usize, rows: std::ops::Range<usize>, patches: &mut [f32]) {
    let ([h, w], [kh, kw], cg) = (g.input, g.window.size, g.channels_in());
    let line = kw * cg;
    let mut target = patches.chunks_exact_mut(line);
    for oy in rows {
        for ox in 0..g.output[1] {
            for ky in 0..kh {
                let Some(patch) = target.next() else { return };
                let Some(y) = g.window.pixel(0, oy, ky, h) else {
                    patch.fill(0.0);
                    continue;
                };
                let row = &image[y * w * g.channels..(y + 1) * w * g.channels];
                let (first, last) = (g.window.pixel(1, ox, 0, w), g.window.pixel(1, ox, kw - 1, w));
                if let (Some(x), Some(_), 1, 1) = (first, last, g.window.dilation[1], g.groups) {
                    patch.copy_from_slice(&row[x * cg..x * cg + line]);
                    continue;
                }
                for (kx, tap) in patch.chunks_exact_mut(cg).enumerate() {
                    match g.window.pixel(1, ox, kx, w) {
                        Some(x) => tap.copy_from_slice(&row[x * g.channels + group * cg..][..cg]),
                        None => tap.fill(0.0),
                    }
                }
            }
        }
    }
}

/// Adds the gradients of patches to the pixels they come from: the transpose of [`lay_out`].
fn gather_back(g: &Geometry, patches: &[f32], group: usize, rows: std::ops::Range<usize>, image: &mut [f32]) {
    let ([h, w], [kh, kw], cg) = (g.input, g.window.size, g.channels_in());
    let mut source = patches.chunks_exact(kw * cg);
    for oy in rows {
        for ox in 0..g.output[1] {
            for ky in 0..kh {
                let Some(patch) = source.next() else { return };
                let Some(y) = g.window.pixel(0, oy, ky, h) else { continue };
                for (kx, tap) in patch.chunks_exact(cg).enumerate() {
                    let Some(x) = g.window.pixel(1, ox, kx, w) else { continue };
                    let start = (y * w + x) * g.channels + group * cg;
                    image[start..start + cg].iter_mut().zip(tap).for_each(|(i, t)| *i += t);
                }
            }
        }
    }
}

/// Whether patches are the pixels themselves.
fn is_pointwise(g: &Geometry) -> bool {
    g.window.size == [1; 2] && g.window.stride == [1; 2] && g.window.padding == [0; 4] && g.groups == 1
}

pub(super) fn forward(g: &Geometry, input: &[f32], weight: &[f32], output: &mut [f32], epilogue: &Epilogue<'_>) {
    let rows = rows_at_once(g);
    let block = rows * g.output[1] * g.filters;
    let blocks = g.output[0].div_ceil(rows);
    let images: Vec<&mut [f32]> =
        output.chunks_exact_mut(g.output_len()).flat_map(|image| image.chunks_mut(block)).collect();
    images.into_par_iter().enumerate().for_each_init(Vec::new, |patches, (i, result)| {
        let (image, first) = (i / blocks, i % blocks * rows);
        let pixels = &input[image * g.input_len()..(image + 1) * g.input_len()];
        let range = first..(first + rows).min(g.output[0]);
        if g.is_depthwise() {
            vectorized(|| depthwise(g, pixels, weight, range.clone(), result));
        } else {
            forward_block(g, pixels, weight, range, result, patches);
        }
        epilogue.apply(image * g.output_len() + first * g.output[1] * g.filters, result);
    });
}

fn forward_block(
    g: &Geometry,
    image: &[f32],
    weight: &[f32],
    rows: std::ops::Range<usize>,
    result: &mut [f32],
    patches: &mut Vec<f32>,
) {
    let (m, k, og) = (rows.len() * g.output[1], g.terms(), g.filters_in());
    for group in 0..g.groups {
        let a = if is_pointwise(g) {
            &image[rows.start * g.output[1] * k..]
        } else {
            patches.resize(m * k, 0.0);
            lay_out(g, image, group, rows.clone(), patches);
            &patches[..]
        };
        let b = (&weight[group * og..], [g.filters, 1]);
        let product = Product { m, n: og, k, a: (a, [k, 1]), b, accumulate: false };
        product.write(&mut result[group * og..], [g.filters, 1]);
    }
}

#[inline(always)]
fn depthwise(g: &Geometry, image: &[f32], weight: &[f32], rows: std::ops::Range<usize>, result: &mut [f32]) {
    let ([h, w], [kh, kw], c) = (g.input, g.window.size, g.channels);
    result.fill(0.0);
    let pixels = rows.flat_map(|y| (0..g.output[1]).map(move |x| (y, x)));
    for (out, (oy, ox)) in result.chunks_exact_mut(c).zip(pixels) {
        for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
            let (Some(y), Some(x)) = (g.window.pixel(0, oy, ky, h), g.window.pixel(1, ox, kx, w)) else { continue };
            let (from, by) = (&image[(y * w + x) * c..][..c], &weight[(ky * kw + kx) * c..][..c]);
            out.iter_mut().zip(from).zip(by).for_each(|((o, i), w)| *o += i * w);
        }
    }
}

pub(super) fn grad_input(g: &Geometry, grad: &[f32], weight: &[f32], output: &mut [f32]) {
    let rows = rows_at_once(g);
    let images = output.par_chunks_exact_mut(g.input_len()).zip(grad.par_chunks_exact(g.output_len()));
    images.for_each_init(Vec::new, |patches, (image, grad)| {
        image.fill(0.0);
        if g.is_depthwise() {
            vectorized(|| depthwise_grad_input(g, grad, weight, image));
            return;
        }
        for first in (0..g.output[0]).step_by(rows) {
            let range = first..(first + rows).min(g.output[0]);
            grad_input_block(g, grad, weight, range, image, patches);
        }
    });
}

fn grad_input_block(
    g: &Geometry,
    grad: &[f32],
    weight: &[f32],
    rows: std::ops::Range<usize>,
    image: &mut [f32],
    patches: &mut Vec<f32>,
) {
    let (m, k, og) = (rows.len() * g.output[1], g.terms(), g.filters_in());
    for group in 0..g.groups {
        let a = (&grad[rows.start * g.output[1] * g.filters + group * og..], [g.filters, 1]);
        let b = (&weight[group * og..], [1, g.filters]);
        let product = Product { m, n: k, k: og, a, b, accumulate: false };
        if is_pointwise(g) {
            product.write(&mut image[rows.start * g.output[1] * k..], [k, 1]);
        } else {
            patches.resize(m * k, 0.0);
            product.write(patches, [k, 1]);
            vectorized(|| gather_back(g, patches, group, rows.clone(), image));
        }
    }
}

#[inline(always)]
fn depthwise_grad_input(g: &Geometry, grad: &[f32], weight: &[f32], image: &mut [f32]) {
    let ([h, w], [kh, kw], c) = (g.input, g.window.size, g.channels);
    let pixels = (0..g.output[0]).flat_map(|y| (0..g.output[1]).map(move |x| (y, x)));
    for (grad, (oy, ox)) in grad.chunks_exact(c).zip(pixels) {
        for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
            let (Some(y), Some(x)) = (g.window.pixel(0, oy, ky, h), g.window.pixel(1, ox, kx, w)) else { continue };
            let (to, by) = (&mut image[(y * w + x) * c..][..c], &weight[(ky * kw + kx) * c..][..c]);
            to.iter_mut().zip(grad).zip(by).for_each(|((i, o), w)| *i += o * w);
        }
    }
}

/// Partial gradients: a number that depends on the shapes alone, so that sums are the same on any number of cores.
fn parts(g: &Geometry) -> usize {
    (PART_FLOATS / (g.terms() * g.filters)).clamp(1, MOST_PARTS).min(g.n)
}

pub(super) fn grad_weight_scratch(g: &Geometry) -> usize {
    parts(g) * g.terms() * g.filters
}

pub(super) fn grad_weight(g: &Geometry, input: &[f32], grad: &[f32], output: &mut [f32], scratch: &mut [f32]) {
    let (len, parts) = (g.terms() * g.filters, parts(g));
    let share = g.n.div_ceil(parts);
    scratch[..parts * len].par_chunks_exact_mut(len).enumerate().for_each_init(Vec::new, |patches, (part, sum)| {
        sum.fill(0.0);
        for image in (part * share..((part + 1) * share).min(g.n)).rev() {
            let pixels = &input[image * g.input_len()..(image + 1) * g.input_len()];
            let grad = &grad[image * g.output_len()..(image + 1) * g.output_len()];
            if g.is_depthwise() {
                vectorized(|| depthwise_grad_weight(g, pixels, grad, sum));
            } else {
                grad_weight_image(g, pixels, grad, sum, patches);
            }
        }
    });
    output.copy_from_slice(&scratch[..len]);
    for part in scratch[len..parts * len].chunks_exact(len) {
        output.iter_mut().zip(part).for_each(|(o, p)| *o += p);
    }
}

fn grad_weight_image(g: &Geometry, image: &[f32], grad: &[f32], sum: &mut [f32], patches: &mut Vec<f32>) {
    let (k, og, rows) = (g.terms(), g.filters_in(), rows_at_once(g));
    for group in 0..g.groups {
        for first in (0..g.output[0]).step_by(rows) {
            let range = first..(first + rows).min(g.output[0]);
            let m = range.len() * g.output[1];
            let a = if is_pointwise(g) {
                &image[first * g.output[1] * k..]
            } else {
                patches.resize(m * k, 0.0);
                lay_out(g, image, group, range, patches);
                &patches[..]
            };
            let b = (&grad[first * g.output[1] * g.filters + group * og..], [g.filters, 1]);
            let product = Product { m: k, n: og, k: m, a: (a, [1, k]), b, accumulate: true };
            product.write(&mut sum[group * og..], [g.filters, 1]);
        }
    }
}

#[inline(always)]
fn depthwise_grad_weight(g: &Geometry, image: &[f32], grad: &[f32], sum: &mut [f32]) {
    let ([h, w], [kh, kw], c) = (g.input, g.window.size, g.channels);
    let pixels = (0..g.output[0]).flat_map(|y| (0..g.output[1]).map(move |x| (y, x)));
    for (grad, (oy, ox)) in grad.chunks_exact(c).zip(pixels) {
        for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
            let (Some(y), Some(x)) = (g.window.pixel(0, oy, ky, h), g.window.pixel(1, ox, kx, w)) else { continue };
            let (to, from) = (&mut sum[(ky * kw + kx) * c..][..c], &image[(y * w + x) * c..][..c]);
            to.iter_mut().zip(grad).zip(from).for_each(|((s, o), i)| *s += o * i);
        }
    }
}
