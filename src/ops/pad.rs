//! A margin of one value around a tensor, or a margin taken off.

use rayon::prelude::*;

use super::sample::{Given, Sample};
use super::words::{self, words, words_mut};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Op, Tolerance, Value};
use crate::tensor::{Array, DType, Meta, View, ViewMut};

/// Most axes which one op changes.
const MOST_AXES: usize = 3;

/// Per axis, elements to put before the first and after the last; negative numbers take off as many. At most three axes
/// change at once. See [`pad`] and [`slice`](super::slice).
#[derive(Clone, Debug)]
pub struct Pad {
    pub(crate) margins: Vec<[isize; 2]>,
    pub(crate) value: f32,
}

/// One axis of the kernel: a changed axis with all unchanged ones inside it.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    before: isize,
}

impl Pad {
    /// The changed axes from outside to inside, and in front the axes outside of all.
    fn axes(&self, input: &Meta) -> [Axis; MOST_AXES + 1] {
        const UNCHANGED: Axis = Axis { input: 1, output: 1, before: 0 };
        let mut axes = vec![UNCHANGED];
        for (i, (&extent, [before, after])) in input.dims().iter().zip(&self.margins).enumerate() {
            let changed = (*before, *after) != (0, 0);
            if changed && i > 0 {
                axes.push(UNCHANGED);
            }
            let axis = axes.last_mut().expect("there is one from the start");
            axis.input *= extent;
            axis.output *= extent.saturating_add_signed(before + after);
            axis.before = if changed { *before } else { axis.before * extent as isize };
        }
        // The outermost stays in front: it is the one whose extent varies with the batch size.
        while axes.len() < MOST_AXES + 1 {
            axes.insert(1, UNCHANGED);
        }
        axes.try_into().unwrap_or_else(|_| unreachable!("the shape rule allows no more changed axes"))
    }

    fn word(&self, dtype: DType) -> u32 {
        match dtype {
            DType::I32 => (self.value as i32).cast_unsigned(),
            _ => self.value.to_bits(),
        }
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        words::expect_words("pad", inputs[0])?;
        let dims = inputs[0].dims();
        let wrong =
            || Err(Error::shape("pad", format!("margins {:?} do not fit shape {}", self.margins, inputs[0].shape)));
        if self.margins.len() != dims.len() || self.margins.iter().filter(|m| **m != [0, 0]).count() > MOST_AXES {
            return wrong();
        }
        let mut padded = Vec::with_capacity(dims.len());
        for (&extent, [before, after]) in dims.iter().zip(&self.margins) {
            let taken = before.min(&0).unsigned_abs() + after.min(&0).unsigned_abs();
            match before.checked_add(*after).and_then(|both| extent.checked_add_signed(both)) {
                Some(d) if d > 0 && taken <= extent => padded.push(d),
                _ => return wrong(),
            }
        }
        Ok(Meta::new(padded, inputs[0].dtype))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        let margins = self.margins.iter().map(|m| m.map(|side| -side)).collect();
        graph.apply(Self { margins, value: 0.0 }, &[at.grad]).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let mut result = Array::zeros(&output.shape).map(|_| f64::from(self.value));
        for index in super::grid::indices(&inputs[0].shape) {
            let moved: Option<Vec<usize>> = (index.iter().zip(&self.margins).zip(output.dims()))
                .map(|((i, m), &extent)| i.checked_add_signed(m[0]).filter(|&i| i < extent))
                .collect();
            if let Some(moved) = moved {
                *result.at_mut(&moved) = inputs[0].at(&index);
            }
        }
        result
    }

    /// If elements are taken off one axis, and it is the outermost of more than one element.
    fn piece(&self, input: &Meta) -> Option<usize> {
        let axis = self.margins.iter().position(|margins| *margins != [0, 0])?;
        let [before, after] = self.margins[axis];
        let (outer, inner) = input.dims().split_at(axis);
        let alone = self.margins[axis + 1..].iter().all(|margins| *margins == [0, 0]);
        let contiguous = alone && before <= 0 && after <= 0 && outer.iter().all(|&extent| extent == 1);
        contiguous.then(|| before.unsigned_abs() * inner[1..].iter().product::<usize>())
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let [a0, a1, a2, a3] = self.axes(inputs[0].meta);
        let (input, value) = (words(&inputs[0]), self.word(output.meta.dtype));
        let inside = |axis: Axis, i: usize| i.checked_add_signed(-axis.before).filter(|&i| i < axis.input);
        // Columns of the result which come from the input.
        let first = a3.before.max(0).unsigned_abs().min(a3.output);
        let last = a3.input.saturating_add_signed(a3.before).clamp(first, a3.output);
        let rows = words_mut(&mut output).par_chunks_mut(a3.output).enumerate();
        rows.with_min_len(words::TASK.div_ceil(a3.output)).for_each(|(i, row)| {
            let source = || {
                let x2 = inside(a2, i % a2.output)?;
                let x1 = inside(a1, i / a2.output % a1.output)?;
                let x0 = inside(a0, i / (a2.output * a1.output))?;
                Some(((x0 * a1.input + x1) * a2.input + x2) * a3.input)
            };
            match source() {
                None => row.fill(value),
                Some(start) => {
                    row[..first].fill(value);
                    row[last..].fill(value);
                    let from = start + first.saturating_add_signed(-a3.before);
                    row[first..last].copy_from_slice(&input[from..][..last - first]);
                }
            }
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let axes = self.axes(inputs[0]);
        let kernel = |width: usize| {
            let mut axes = axes;
            axes[3].input /= width;
            axes[3].output /= width;
            axes[3].before /= width as isize;
            let before = |i: usize| axes[i].before as i32 as u32 as usize;
            let n = output.elements() / width;
            let launch = words::launch("pad.wgsl", include_str!("../../shaders/pad.wgsl"), width)
                .constants([("IN1", axes[1].input), ("IN2", axes[2].input), ("IN3", axes[3].input)])
                .constants([("OUT1", axes[1].output), ("OUT2", axes[2].output), ("OUT3", axes[3].output)])
                .constants([("BEFORE0", before(0)), ("BEFORE1", before(1))])
                .constants([("BEFORE2", before(2)), ("BEFORE3", before(3))])
                .constants([("VALUE", self.word(output.dtype) as usize)])
                .params([n, axes[0].input])
                .bindings([Binding::Input(0), Binding::Output])
                .threads(n, 64);
            Kernel::single(words::variant(width), launch)
        };
        let inner = axes[3];
        match words::width(&[inner.input, inner.output, inner.before.unsigned_abs()]) {
            4 => vec![kernel(4), kernel(1)],
            _ => vec![kernel(1)],
        }
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Exact
    }
}

/// `x` with `value` around it: per axis, how many before the first element and how many after the last.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let x = graph.input("x", Meta::f32([8, 5, 5, 3]));
/// let framed = ops::pad(&mut graph, x, &[(0, 0), (1, 1), (0, 2), (0, 0)], 0.0)?;
/// assert_eq!(graph.shape(framed).dims(), [8, 7, 7, 3]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if `margins` has not an entry for each axis, or if `x` holds bytes.
pub fn pad(graph: &mut Graph, x: Value, margins: &[(usize, usize)], value: f32) -> Result<Value> {
    let side = |n: usize| {
        isize::try_from(n).map_err(|_| Error::shape("pad", format!("a margin of {n} elements is too large")))
    };
    let margins = margins.iter().map(|&(b, a)| Ok([side(b)?, side(a)?])).collect::<Result<Vec<_>>>()?;
    change_margins(graph, x, &margins, value)
}

/// Adds and takes off margins, a few axes at a time.
pub(super) fn change_margins(graph: &mut Graph, x: Value, margins: &[[isize; 2]], value: f32) -> Result<Value> {
    if margins.len() != graph.shape(x).rank() {
        let message = format!("{} margins for shape {}, one per axis is needed", margins.len(), graph.shape(x));
        return Err(Error::shape("pad", message));
    }
    let changed: Vec<usize> = (0..margins.len()).filter(|&axis| margins[axis] != [0, 0]).collect();
    changed.chunks(MOST_AXES).try_fold(x, |x, axes| {
        let margins = (0..margins.len()).map(|i| if axes.contains(&i) { margins[i] } else { [0, 0] }).collect();
        graph.apply(Pad { margins, value }, &[x])
    })
}

pub(super) fn samples() -> Vec<Sample> {
    let cases: [(&[usize], &[[isize; 2]]); 12] = [
        (&[5], &[[2, 1]]),
        (&[5], &[[-2, -1]]),
        (&[2, 3, 5, 3], &[[0, 0], [1, 2], [2, 0], [0, 0]]),
        (&[2, 3, 5, 4], &[[0, 0], [1, 1], [0, 3], [0, 0]]),
        (&[2, 3, 5, 4], &[[0, 0], [0, 0], [0, 0], [4, 8]]),
        (&[2, 3, 5, 3], &[[0, 0], [0, 0], [0, 0], [0, 1]]),
        (&[2, 6, 5, 8], &[[0, 0], [-1, -2], [-2, 0], [0, 0]]),
        (&[2, 6, 5, 8], &[[0, 0], [-1, 2], [3, -1], [0, 0]]),
        (&[3, 4], &[[1, 2], [0, 0]]),
        (&[3, 4], &[[-1, 0], [0, 0]]),
        (&[3, 2, 4], &[[1, 0], [0, 1], [-1, -1]]),
        (&[4, 3, 1], &[[0, 0], [-2, 0], [0, 2]]),
    ];
    let sample = |(shape, margins): (&[usize], &[[isize; 2]])| {
        Sample::new(Pad { margins: margins.to_vec(), value: -0.75 }, [shape])
    };
    let mut samples: Vec<Sample> = cases.into_iter().map(sample).collect();
    let integers = Pad { margins: vec![[1, 2]], value: 7.0 };
    samples.push(Sample::of(integers, [Given::ids(&[4], 9)]).forward_only());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::evaluate;

    #[test]
    fn more_axes_than_one_op_changes() {
        let padded = evaluate(&[(&[1, 1, 1, 1], &[5.0])], |g, v| pad(g, v[0], &[(0, 1); 4], 2.0));
        let expected: Vec<f64> = (0..16).map(|i| if i == 0 { 5.0 } else { 2.0 }).collect();
        assert_eq!((padded.shape.dims(), padded.data), (&[2; 4][..], expected));
    }

    #[test]
    fn contiguous_pieces() {
        let piece = |shape: &[usize], margins: &[[isize; 2]]| {
            Pad { margins: margins.to_vec(), value: 0.0 }.piece(&Meta::f32(shape))
        };
        assert_eq!(piece(&[5, 2, 3], &[[-2, -1], [0, 0], [0, 0]]), Some(12));
        assert_eq!(piece(&[1, 4, 3], &[[0, 0], [0, -2], [0, 0]]), Some(0));
        assert_eq!(piece(&[2, 4, 3], &[[0, 0], [-1, 0], [0, 0]]), None);
        assert_eq!(piece(&[5, 4], &[[-1, 0], [-1, 0]]), None);
        assert_eq!(piece(&[5, 4], &[[-1, 1], [0, 0]]), None);
    }

    #[test]
    fn one_margin_per_axis() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([2, 3]));
        let bytes = graph.input("bytes", Meta::new([2], DType::U8));
        assert!(pad(&mut graph, x, &[(1, 1)], 0.0).is_err());
        assert!(pad(&mut graph, bytes, &[(1, 1)], 0.0).is_err());
        assert!(pad(&mut graph, x, &[(usize::MAX, 0), (0, 0)], 0.0).is_err());
        assert!(graph.apply(Pad { margins: vec![[-2, 0], [0, 0]], value: 0.0 }, &[x]).is_err());
    }
}
