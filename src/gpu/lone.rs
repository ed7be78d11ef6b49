use std::sync::Arc;

use super::context::Gpu;
use super::program::Program;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::graph::{Ending, Graph, Layout, Op, Value, narrow_where};
use crate::tensor::{DType, Meta, Tensor};

/// One op as a graph of its own, with its result; inputs are `x0`, `x1`, …. All floats are f32.
///
/// Errors: if the inputs do not fit the op.
pub fn lone_graph(op: &Arc<dyn Op>, inputs: &[Meta]) -> Result<(Graph, Value)> {
    let mut graph = Graph::new();
    let input = |(i, meta): (usize, &Meta)| graph.input(&format!("x{i}"), meta.computed());
    let values: Vec<Value> = inputs.iter().enumerate().map(input).collect();
    let output = graph.apply_shared(op.clone(), &values)?;
    graph.output("output", output);
    Ok((graph, output))
}

/// The same, with inputs and result kept as `inputs` and `result` say.
///
/// Errors: as for [`lone_graph`].
pub(super) fn lone_graph_in(op: &Arc<dyn Op>, inputs: &[Meta], result: DType) -> Result<Graph> {
    let (mut graph, output) = lone_graph(op, inputs)?;
    narrow_where(&mut graph, |value, _| match inputs.get(value.index()) {
        Some(meta) => meta.dtype == DType::F16,
        None => value == output && result == DType::F16,
    });
    Ok(graph)
}

/// A program for such a graph in which every op takes its kernel number `variant`, or its last.
///
/// Errors: if it does not fit the adapter.
pub fn lone_program(gpu: &Arc<Gpu>, graph: &Graph, variant: usize) -> Result<Program> {
    let weights = Weights::new(gpu, Arc::new(Layout::parameters(graph)), Arc::new(Layout::states(graph)), 0)?;
    Program::with_kernels(gpu, graph, &weights, Ending::Nothing, &|_, kernels| variant.min(kernels.len() - 1))
}

/// The result of such a program on these inputs. Its memory is poisoned with NaN first.
///
/// Errors: if the adapter fails.
pub fn lone_result(program: &mut Program, inputs: &[Tensor]) -> Result<Tensor> {
    program.poison();
    for (i, tensor) in inputs.iter().enumerate() {
        program.feed(&format!("x{i}"), tensor.bytes())?;
    }
    program.run(&[])?;
    let result = program.take_result()?.and_then(|mut results| results.pop());
    result.ok_or_else(|| Error::device("the program gave no result"))
}
