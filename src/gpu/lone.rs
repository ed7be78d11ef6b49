use std::sync::Arc;

use super::context::Gpu;
use super::program::Program;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::graph::{Ending, Graph, Layout, Op, Value};
use crate::tensor::{Meta, Tensor};

/// One op as a graph of its own, with its result; inputs are `x0`, `x1`, ….
///
/// Errors: if the inputs do not fit the op.
pub fn lone_graph(op: &Arc<dyn Op>, inputs: &[Meta]) -> Result<(Graph, Value)> {
    let mut graph = Graph::new();
    let values: Vec<Value> =
        inputs.iter().enumerate().map(|(i, meta)| graph.input(&format!("x{i}"), meta.clone())).collect();
    let output = graph.apply_shared(op.clone(), &values)?;
    graph.output("output", output);
    Ok((graph, output))
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
