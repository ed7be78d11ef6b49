//! Rows of a table by id: embeddings, weights of classes.

use rayon::prelude::*;

use super::sample::{Given, Sample};
use super::words::{self, words, words_mut};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value};
use crate::tensor::{Array, DType, Meta, Shape, View, ViewMut};

/// Inputs: a table `[rows, ..]` and ids, i32. See [`gather`].
#[derive(Clone, Debug)]
pub struct Gather;

/// Gradient of [`Gather`] with respect to its table, which has `shape`. Inputs: ids, and the gradient with respect to the
/// gathered rows. Each row of the table adds up what was gathered from it, in the order of the ids.
#[derive(Clone, Debug)]
pub struct GatherGrad {
    shape: Shape,
}

/// Shape of the rows gathered from a table.
fn gathered_shape(at: &str, table: &Shape, ids: &Meta) -> Result<Shape> {
    if table.dims().is_empty() || ids.dtype != DType::I32 {
        let message = format!("takes a table with rows and i32 ids, not a table of shape {table} and {ids}");
        return Err(Error::shape(at, message));
    }
    Ok(Shape::from([ids.dims(), &table.dims()[1..]].concat()))
}

/// Elements of a table's row.
fn row(table: &Shape) -> usize {
    table.dims()[1..].iter().product()
}

impl Op for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        words::expect_words("gather", inputs[0])?;
        Ok(Meta::new(gathered_shape("gather", &inputs[0].shape, inputs[1])?, inputs[0].dtype))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        if of == 1 {
            return Ok(None);
        }
        let shape = graph.shape(at.inputs[0]).clone();
        graph.apply(GatherGrad { shape }, &[at.inputs[1], at.grad]).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let row = row(&inputs[0].shape);
        let rows = inputs[0].shape.dims()[0] as f64;
        Array::from_fn(&output.shape, |i| match inputs[1].data[i / row] {
            id if (0.0..rows).contains(&id) => inputs[0].data[id as usize * row + i % row],
            _ => 0.0,
        })
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let row = row(&inputs[0].meta.shape);
        let table = words(&inputs[0]);
        let rows = words_mut(&mut output).par_chunks_mut(row).zip(inputs[1].i32());
        rows.with_min_len(words::TASK.div_ceil(row)).for_each(|(result, &id)| {
            let start = usize::try_from(id).ok().and_then(|id| id.checked_mul(row));
            match start.filter(|&start| start < table.len()) {
                Some(start) => result.copy_from_slice(&table[start..][..row]),
                None => result.fill(0),
            }
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let row = row(&inputs[0].shape);
        let kernel = |width: usize| {
            let n = output.elements() / width;
            let launch = words::launch("gather.wgsl", include_str!("../../shaders/gather.wgsl"), width)
                .constants([("ROW", row / width)])
                .params([n, inputs[0].dims()[0]])
                .bindings([Binding::Input(0), Binding::Input(1), Binding::Output])
                .threads(n, 64);
            Kernel::single(words::variant(width), launch)
        };
        if words::width(&[row]) == 4 { vec![kernel(4), kernel(1)] } else { vec![kernel(1)] }
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Exact
    }
}

impl Op for GatherGrad {
    fn name(&self) -> &'static str {
        "gather_grad"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let expected = Meta::f32(gathered_shape("gather_grad", &self.shape, inputs[0])?);
        if *inputs[1] != expected {
            return Err(Error::shape("gather_grad", format!("the gradient is {}, not {expected}", inputs[1])));
        }
        Ok(Meta::f32(self.shape.clone()))
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let row = row(&self.shape);
        let mut result = Array::zeros(&output.shape);
        for (i, grad) in inputs[1].data.iter().enumerate() {
            let id = inputs[0].data[i / row];
            if (0.0..self.shape.dims()[0] as f64).contains(&id) {
                result.data[id as usize * row + i % row] += grad;
            }
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let row = row(&self.shape);
        let (ids, grad) = (inputs[0].i32(), inputs[1].f32());
        // Each task owns some rows of the table and looks through all ids.
        let rows_per_task = self.shape.dims()[0].div_ceil(64);
        output.f32().par_chunks_mut(rows_per_task * row).enumerate().for_each(|(task, table)| {
            table.fill(0.0);
            let first = task * rows_per_task;
            let rows = table.len() / row;
            for (&id, grad) in ids.iter().zip(grad.chunks(row)) {
                let Some(here) = usize::try_from(id).ok().and_then(|id| id.checked_sub(first)) else { continue };
                if here < rows {
                    table[here * row..][..row].iter_mut().zip(grad).for_each(|(t, g)| *t += g);
                }
            }
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let row = row(&self.shape);
        let kernel = |width: usize| {
            let n = output.elements() / width;
            let launch = Launch::new("gather_grad.wgsl", include_str!("../../shaders/gather_grad.wgsl"))
                .prepend(if width == 4 { "alias V = vec4f;\n" } else { "alias V = f32;\n" })
                .constants([("ROW", row / width)])
                .params([n, inputs[0].elements()])
                .bindings([Binding::Input(0), Binding::Input(1), Binding::Output])
                .threads(n, 64);
            Kernel::single(words::variant(width), launch)
        };
        if words::width(&[row]) == 4 { vec![kernel(4), kernel(1)] } else { vec![kernel(1)] }
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Sum(inputs[0].elements())
    }
}

/// The rows of `table` `[rows, ..]` named by `indices`, i32 `[..k]`: `[..k, ..]`. An index that is no row gives zeros.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let table = graph.parameter("embedding", [100, 16]);
/// let ids = graph.input("ids", Meta::i32([8]));
/// let rows = ops::gather(&mut graph, table, ids)?;
/// assert_eq!(graph.shape(rows).dims(), [8, 16]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if the table has no rows or holds bytes, or if the indices are not i32.
pub fn gather(graph: &mut Graph, table: Value, indices: Value) -> Result<Value> {
    graph.apply(Gather, &[table, indices])
}

pub(super) fn samples() -> Vec<Sample> {
    let cases: [(&[usize], &[usize]); 6] =
        [(&[5, 4], &[7]), (&[3, 5], &[2, 3]), (&[4], &[9]), (&[130, 2, 3], &[65]), (&[1, 8], &[1]), (&[7, 12], &[])];
    let mut samples = Vec::new();
    for (table, ids) in cases {
        // The largest id is no row.
        let ids = Given::ids(ids, table[0] + 1);
        let rows = [ids.meta.dims(), &table[1..]].concat();
        samples.push(Sample::of(Gather, [Given::uniform(table, -1.0, 1.0), ids.clone()]));
        let given = [ids, Given::uniform(&rows, -1.0, 1.0)];
        samples.push(Sample::of(GatherGrad { shape: table.into() }, given).forward_only());
    }
    samples.push(Sample::of(Gather, [Given::ids(&[5, 2], 99), Given::ids(&[3], 5)]).forward_only());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_integers_and_tables_have_rows() {
        let mut graph = Graph::new();
        let table = graph.input("table", Meta::f32([5, 2]));
        let number = graph.input("number", Meta::f32([]));
        let ids = graph.input("ids", Meta::i32([3]));
        assert!(gather(&mut graph, table, ids).is_ok());
        assert!(gather(&mut graph, table, table).is_err());
        assert!(gather(&mut graph, number, ids).is_err());
    }
}
