//! Permutation of axes.
//!
//! One op swaps two neighbouring blocks of axes, `[outer, a, b, inner]` to `[outer, b, a, inner]`. Most permutations in
//! use are one such swap (NHWC to NCHW, heads of attention); the others are two or more.

use rayon::prelude::*;

use super::sample::{Given, Sample};
use super::words::{self, words, words_mut};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value};
use crate::tensor::{Array, Meta, Shape, View, ViewMut};

/// Swaps axes `start..middle` with axes `middle..end`. See [`transpose`].
#[derive(Clone, Debug)]
pub struct Transpose {
    start: usize,
    middle: usize,
    end: usize,
}

/// A shape seen as `[outer, a, b, inner]`.
#[derive(Clone, Copy)]
struct Extents {
    a: usize,
    b: usize,
    inner: usize,
}

impl Transpose {
    fn extents(&self, input: &Shape) -> Extents {
        let extent = |dims: &[usize]| dims.iter().product();
        let dims = input.dims();
        Extents {
            a: extent(&dims[self.start..self.middle]),
            b: extent(&dims[self.middle..self.end]),
            inner: extent(&dims[self.end..]),
        }
    }

    /// The axes, or what belongs to them, in their new order.
    pub(crate) fn swap(&self, dims: &[usize]) -> Vec<usize> {
        let mut dims = dims.to_vec();
        dims[self.start..self.end].rotate_left(self.middle - self.start);
        dims
    }
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        words::expect_words("transpose", inputs[0])?;
        if !(self.start < self.middle && self.middle < self.end && self.end <= inputs[0].dims().len()) {
            return Err(Error::shape("transpose", format!("{self:?} does not fit shape {}", inputs[0].shape)));
        }
        Ok(Meta::new(self.swap(inputs[0].dims()), inputs[0].dtype))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        let middle = self.start + self.end - self.middle;
        graph.apply(Self { middle, ..*self }, &[at.grad]).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let mut result = Array::zeros(&output.shape);
        for index in super::grid::indices(&inputs[0].shape) {
            *result.at_mut(&self.swap(&index)) = inputs[0].at(&index);
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        /// Rows and columns of a block: what it touches on both sides stays in the first-level cache.
        const BLOCK: usize = 16;
        let Extents { a, b, inner } = self.extents(&inputs[0].meta.shape);
        let matrices = words_mut(&mut output).par_chunks_mut(a * b * inner);
        matrices.zip(words(&inputs[0]).par_chunks(a * b * inner)).for_each(|(to, from)| {
            to.par_chunks_mut(BLOCK * a * inner).enumerate().for_each(|(block, rows)| {
                for first in (0..a).step_by(BLOCK) {
                    for (j, row) in rows.chunks_mut(a * inner).enumerate() {
                        for i in first..a.min(first + BLOCK) {
                            let source = (i * b + block * BLOCK + j) * inner;
                            row[i * inner..][..inner].copy_from_slice(&from[source..][..inner]);
                        }
                    }
                }
            });
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let Extents { a, b, inner } = self.extents(&inputs[0].shape);
        let n = output.elements();
        let complete = |variant: &str, launch: Launch| {
            let launch = launch.constants([("A", a), ("B", b)]).bindings([Binding::Input(0), Binding::Output]);
            Kernel::single(variant, launch)
        };
        let width = words::width(&[inner]);
        let text = include_str!("../../shaders/transpose.wgsl");
        let fetch = words::launch("transpose.wgsl", text, width).constants([("INNER", inner / width)]);
        let mut kernels = vec![complete(words::variant(width), fetch.params([n / width]).threads(n / width, 64))];
        if inner == 1 {
            let text = include_str!("../../shaders/transpose_tile.wgsl");
            let outer = n / (a * b);
            let tiles = outer * a.div_ceil(16) * b.div_ceil(16);
            let tile = Launch::new("transpose_tile.wgsl", text).params([outer]).threads(tiles, 1);
            kernels.insert(usize::from(capabilities.software), complete("tile", tile));
        }
        if inner == 1 && a.is_multiple_of(4) && b.is_multiple_of(4) {
            let text = include_str!("../../shaders/transpose_4x4.wgsl");
            let blocks = Launch::new("transpose_4x4.wgsl", text).params([n / 16]).threads(n / 16, 64);
            kernels.insert(usize::from(!capabilities.software), complete("4x4", blocks));
        }
        kernels
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Exact
    }
}

/// `x` with its axes in another order: axis `i` of the result is axis `permutation[i]` of `x`.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let x = graph.input("x", Meta::f32([8, 28, 30, 3]));
/// let channels_first = ops::transpose(&mut graph, x, &[0, 3, 1, 2])?;
/// assert_eq!(graph.shape(channels_first).dims(), [8, 3, 28, 30]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if `permutation` does not name each axis once, or if `x` holds bytes.
pub fn transpose(graph: &mut Graph, x: Value, permutation: &[usize]) -> Result<Value> {
    let rank = graph.shape(x).rank();
    let mut sorted = permutation.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank) {
        let message = format!("{permutation:?} is no permutation of the axes of shape {}", graph.shape(x));
        return Err(Error::shape("transpose", message));
    }
    swaps(permutation).into_iter().try_fold(x, |x, swap| {
        let Extents { a, b, .. } = swap.extents(graph.shape(x));
        if a == 1 || b == 1 {
            let shape = swap.swap(graph.shape(x).dims());
            return super::reshape(graph, x, shape);
        }
        graph.apply(swap, &[x])
    })
}

/// The swaps which, one after the other, bring axes into the order of `permutation`.
fn swaps(permutation: &[usize]) -> Vec<Transpose> {
    let mut order: Vec<usize> = (0..permutation.len()).collect();
    let mut swaps = Vec::new();
    for start in 0..order.len() {
        let middle = order.iter().position(|axis| *axis == permutation[start]).expect("every axis is named");
        if middle > start {
            let together = order[middle..].iter().zip(&permutation[start..]).take_while(|(a, b)| a == b).count();
            let swap = Transpose { start, middle, end: middle + together };
            order = swap.swap(&order);
            swaps.push(swap);
        }
    }
    swaps
}

pub(super) fn samples() -> Vec<Sample> {
    let cases: [(&[usize], [usize; 3]); 9] = [
        (&[2, 3], [0, 1, 2]),
        (&[17, 15], [0, 1, 2]),
        (&[16, 32], [0, 1, 2]),
        (&[33, 64], [0, 1, 2]),
        (&[2, 5, 7, 3], [1, 3, 4]),
        (&[2, 4, 6, 8], [1, 3, 4]),
        (&[2, 3, 5, 4], [1, 2, 3]),
        (&[2, 3, 5, 3], [0, 1, 3]),
        (&[3, 1, 7], [0, 2, 3]),
    ];
    let mut samples: Vec<Sample> = cases
        .into_iter()
        .map(|(shape, [start, middle, end])| Sample::new(Transpose { start, middle, end }, [shape]))
        .collect();
    let swap = Transpose { start: 0, middle: 1, end: 2 };
    samples.push(Sample::of(swap, [Given::ids(&[5, 6], 1000)]).forward_only());
    // More than 65 535 tiles.
    samples.push(Sample::new(Transpose { start: 1, middle: 2, end: 3 }, [&[65_600, 2, 3]]).forward_only());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::evaluate;

    #[test]
    fn every_permutation_of_four_axes() {
        let shape = [2, 3, 4, 5];
        let values: Vec<f64> = (0..120).map(f64::from).collect();
        let input = Array { shape: shape.into(), data: values.clone() };
        for code in 0..256_usize {
            let permutation: Vec<usize> = (0..4).map(|i| code >> (2 * i) & 3).collect();
            let mut sorted = permutation.clone();
            sorted.sort_unstable();
            if sorted != [0, 1, 2, 3] {
                continue;
            }
            let result = evaluate(&[(&shape, &values)], |g, v| transpose(g, v[0], &permutation));
            for index in crate::ops::grid::indices(&result.shape) {
                let mut source = [0; 4];
                permutation.iter().zip(&index).for_each(|(&axis, &i)| source[axis] = i);
                assert_eq!(result.at(&index), input.at(&source), "{permutation:?} at {index:?}");
            }
        }
    }

    #[test]
    fn nhwc_to_nchw_is_one_swap() {
        assert_eq!(swaps(&[0, 3, 1, 2]).len(), 1);
        assert_eq!(swaps(&[0, 2, 3, 1]).len(), 1);
        assert_eq!(swaps(&[0, 2, 1, 3]).len(), 1);
        assert_eq!(swaps(&[0, 1, 2, 3]).len(), 0);
    }

    #[test]
    fn only_permutations() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([2, 3]));
        assert!(transpose(&mut graph, x, &[0]).is_err());
        assert!(transpose(&mut graph, x, &[0, 0]).is_err());
        assert!(transpose(&mut graph, x, &[1, 2]).is_err());
    }
}
