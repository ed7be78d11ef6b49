//! Another shape for the same elements. It costs nothing: the result is the input's memory.

use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Capabilities, Graph, Kernel, Op, Tolerance, Value};
use crate::tensor::{Array, Meta, Shape, View, ViewMut};

/// The elements of the input, in row-major order, under another shape.
#[derive(Clone, Debug)]
pub struct Reshape {
    shape: Shape,
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let from = &inputs[0].shape;
        if from.elements() != self.shape.elements() {
            let message =
                format!("shape {from} has {} elements, {} has {}", from.elements(), self.shape, self.shape.elements());
            return Err(Error::shape("reshape", message));
        }
        Ok(Meta::new(self.shape.clone(), inputs[0].dtype))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        let shape = graph.shape(at.inputs[0]).clone();
        reshape(graph, at.grad, shape).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        Array { shape: output.shape.clone(), data: inputs[0].data.clone() }
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        output.bytes().copy_from_slice(inputs[0].bytes());
    }

    fn kernels(&self, _inputs: &[&Meta], _output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        Vec::new()
    }

    fn is_alias(&self) -> bool {
        true
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Exact
    }
}

/// The elements of `x`, in row-major order, under `shape`; `x` itself if it has that shape.
///
/// Errors: if the numbers of elements differ.
pub fn reshape(graph: &mut Graph, x: Value, shape: impl Into<Shape>) -> Result<Value> {
    let shape = shape.into();
    if *graph.shape(x) == shape {
        return Ok(x);
    }
    graph.apply(Reshape { shape }, &[x])
}

/// `[n, ..]` as `[n, elements of one sample]`.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let x = graph.input("x", Meta::f32([8, 5, 5, 3]));
/// let rows = ops::flatten(&mut graph, x)?;
/// assert_eq!(graph.shape(rows).dims(), [8, 75]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if `x` has no axes.
pub fn flatten(graph: &mut Graph, x: Value) -> Result<Value> {
    let Some((&n, sample)) = graph.shape(x).dims().split_first() else {
        return Err(Error::shape("flatten", "a number without axes cannot be flattened"));
    };
    let shape = [n, sample.iter().product()];
    reshape(graph, x, shape)
}

pub(super) fn samples() -> Vec<Sample> {
    let sample = |from: &[usize], to: &[usize]| Sample::new(Reshape { shape: to.into() }, [from]);
    let bytes = Sample::of(Reshape { shape: [7].into() }, [Given::bytes(&[7, 1])]).forward_only();
    vec![sample(&[2, 3, 5], &[6, 5]), sample(&[1], &[]), sample(&[4, 1, 3], &[2, 2, 3, 1]), bytes]
}
