//! Tensors one behind the other along an axis.

use rayon::prelude::*;

use super::sample::{Given, Sample};
use super::words::{self, words, words_mut};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Op, Tolerance, Value};
use crate::tensor::{Array, Meta, View, ViewMut};

/// Any number of inputs, equal in all extents but that along `axis`. See [`concat()`].
#[derive(Clone, Debug)]
pub struct Concat {
    pub(crate) axis: usize,
}

impl Concat {
    /// Words of `meta` in one row: from the axis inwards.
    fn row(&self, meta: &Meta) -> usize {
        meta.dims()[self.axis..].iter().product()
    }
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let Some((first, rest)) = inputs.split_first() else {
            return Err(Error::shape("concat", "there is nothing to join"));
        };
        words::expect_words("concat", first)?;
        if self.axis >= first.dims().len() {
            return Err(Error::shape("concat", format!("shape {} has no axis {}", first.shape, self.axis)));
        }
        let mut joined = first.dims().to_vec();
        for meta in rest {
            let mut dims = meta.dims().to_vec();
            let extent = dims.get(self.axis).copied().unwrap_or(0);
            if dims.len() == joined.len() {
                dims[self.axis] = joined[self.axis];
            }
            if dims != joined || meta.dtype != first.dtype {
                let message = format!("{meta} and {first} may differ only along axis {}", self.axis);
                return Err(Error::shape("concat", message));
            }
            joined[self.axis] += extent;
        }
        Ok(Meta::new(joined, first.dtype))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        let extent = |v: &Value| graph.shape(*v).dims()[self.axis];
        let start: usize = at.inputs[..of].iter().map(extent).sum();
        let mut ranges: Vec<_> = graph.shape(at.output).dims().iter().map(|&d| 0..d).collect();
        ranges[self.axis] = start..start + extent(&at.inputs[of]);
        super::slice(graph, at.grad, &ranges).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let mut result = Array::zeros(&output.shape);
        let mut start = 0;
        for input in inputs {
            for mut index in super::grid::indices(&input.shape) {
                let value = input.at(&index);
                index[self.axis] += start;
                *result.at_mut(&index) = value;
            }
            start += input.shape.dims()[self.axis];
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let stride = self.row(output.meta);
        let sources: Vec<(&[u32], usize)> = inputs.iter().map(|v| (words(v), self.row(v.meta))).collect();
        let rows = words_mut(&mut output).par_chunks_mut(stride).enumerate();
        rows.with_min_len(words::TASK.div_ceil(stride)).for_each(|(i, mut rest)| {
            for (source, row) in &sources {
                let (now, later) = rest.split_at_mut(*row);
                now.copy_from_slice(&source[i * row..][..*row]);
                rest = later;
            }
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let rows: Vec<usize> = inputs.iter().map(|m| self.row(m)).collect();
        let kernel = |width: usize| {
            let mut offset = 0;
            let mut launches = Vec::new();
            for (i, row) in rows.iter().enumerate() {
                let n = inputs[i].elements() / width;
                let extents = [("ROW", row / width), ("OFFSET", offset / width), ("STRIDE", self.row(output) / width)];
                let launch = words::launch("concat.wgsl", include_str!("../../shaders/concat.wgsl"), width)
                    .constants(extents)
                    .params([n])
                    .bindings([Binding::Input(i), Binding::Output])
                    .threads(n, 64);
                launches.push(launch);
                offset += row;
            }
            Kernel { variant: words::variant(width).into(), launches, scratch: Vec::new() }
        };
        if words::width(&rows) == 4 { vec![kernel(4), kernel(1)] } else { vec![kernel(1)] }
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Exact
    }
}

/// The tensors `xs`, as many as wanted, one behind the other along `axis`.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let colours = graph.input("colours", Meta::f32([8, 5, 5, 3]));
/// let depth = graph.input("depth", Meta::f32([8, 5, 5, 1]));
/// let both = ops::concat(&mut graph, &[colours, depth], 3)?;
/// assert_eq!(graph.shape(both).dims(), [8, 5, 5, 4]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if there are none, or if they differ in element type or in another extent.
pub fn concat(graph: &mut Graph, xs: &[Value], axis: usize) -> Result<Value> {
    graph.apply(Concat { axis }, xs)
}

pub(super) fn samples() -> Vec<Sample> {
    let sample = |axis: usize, shapes: &[&[usize]]| {
        Sample::of(Concat { axis }, shapes.iter().map(|s| Given::uniform(s, -1.0, 1.0)))
    };
    let many: Vec<Vec<usize>> = (1..=9).map(|i| vec![2, i, 3]).collect();
    let many: Vec<&[usize]> = many.iter().map(Vec::as_slice).collect();
    let integers = Sample::of(Concat { axis: 0 }, [Given::ids(&[3], 9), Given::ids(&[2], 9)]).forward_only();
    vec![
        sample(3, &[&[2, 3, 5, 4], &[2, 3, 5, 8]]),
        sample(3, &[&[2, 3, 5, 3], &[2, 3, 5, 1], &[2, 3, 5, 4]]),
        sample(0, &[&[1, 5], &[3, 5]]),
        sample(1, &[&[65, 2, 2], &[65, 1, 2]]),
        sample(1, &[&[4, 4]]),
        sample(1, &many),
        integers,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([2, 3]));
        let y = graph.input("y", Meta::f32([2, 4]));
        let row = graph.input("row", Meta::f32([3]));
        let ids = graph.input("ids", Meta::i32([2, 3]));
        assert!(concat(&mut graph, &[x, y], 1).is_ok());
        assert!(concat(&mut graph, &[x, y], 0).is_err());
        assert!(concat(&mut graph, &[x, row], 0).is_err());
        assert!(concat(&mut graph, &[x, ids], 0).is_err());
        assert!(concat(&mut graph, &[x], 2).is_err());
        assert!(concat(&mut graph, &[], 0).is_err());
    }
}
