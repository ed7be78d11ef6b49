//! One filter for each channel: channels are the vectors.

use rayon::prelude::*;

use super::Geometry;
use crate::ops::epilogue::Epilogue;
use crate::simd::vectorized;

/// Each tap of each output pixel of some rows, as the positions of pixel, tap and output pixel.
#[inline(always)]
fn each_tap(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    let ([h, w], [oh, ow], [kh, kw]) = (g.input, g.output, g.window.size);
    for (oy, ox) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
        for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
            let (Some(y), Some(x)) = (g.window.pixel(0, oy, ky, h), g.window.pixel(1, ox, kx, w)) else { continue };
            f(y * w + x, ky * kw + kx, oy * ow + ox);
        }
    }
}

/// `to += a b`, channel by channel, of pixels or taps `at` in each.
#[inline(always)]
fn add_products(c: usize, to: (&mut [f32], usize), a: (&[f32], usize), b: (&[f32], usize)) {
    let (to, a, b) = (&mut to.0[to.1 * c..][..c], &a.0[a.1 * c..][..c], &b.0[b.1 * c..][..c]);
    to.iter_mut().zip(a).zip(b).for_each(|((to, a), b)| *to += a * b);
}

pub fn forward(g: &Geometry, input: &[f32], weight: &[f32], output: &mut [f32], epilogue: &Epilogue<'_>) {
    let images = output.par_chunks_exact_mut(g.output_len()).zip(input.par_chunks_exact(g.input_len()));
    images.enumerate().for_each(|(i, (result, image))| {
        vectorized(
            #[inline(always)]
            || {
                result.fill(0.0);
                each_tap(g, |pixel, tap, out| add_products(g.channels, (result, out), (image, pixel), (weight, tap)));
            },
        );
        epilogue.apply(i * g.output_len(), result);
    });
}

pub fn grad_input(g: &Geometry, grad: &[f32], weight: &[f32], output: &mut [f32]) {
    let images = output.par_chunks_exact_mut(g.input_len()).zip(grad.par_chunks_exact(g.output_len()));
    images.for_each(|(image, grad)| {
        vectorized(
            #[inline(always)]
            || {
                image.fill(0.0);
                each_tap(g, |pixel, tap, out| add_products(g.channels, (image, pixel), (grad, out), (weight, tap)));
            },
        );
    });
}

/// Adds the gradient from one image.
pub fn grad_weight(g: &Geometry, image: &[f32], grad: &[f32], sum: &mut [f32]) {
    vectorized(
        #[inline(always)]
        || each_tap(g, |pixel, tap, out| add_products(g.channels, (sum, tap), (grad, out), (image, pixel))),
    );
}
