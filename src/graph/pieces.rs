//! Values that are contiguous pieces of others: rows of a matrix, other shapes of the same elements.

use super::{Graph, Value};

/// The value in whose memory `value` could be found if no piece were copied, and from which element on.
pub(super) fn whole(graph: &Graph, mut value: Value) -> (Value, usize) {
    let mut offset = 0;
    while let Some((source, start)) = source(graph, value) {
        (value, offset) = (source, offset + start);
    }
    (value, offset)
}

pub(super) fn source(graph: &Graph, value: Value) -> Option<(Value, usize)> {
    let node = graph.node(value);
    let &input = node.inputs.first()?;
    node.op()?.piece(graph.meta(input)).map(|start| (input, start))
}

/// Which values need no memory of their own because they serve but one purpose: to be, in the end, copied to a gradient or a
/// state from the computed value they are a piece of.
pub(crate) fn views(graph: &Graph) -> Vec<bool> {
    let uses = graph.uses();
    let mut views = vec![false; graph.nodes.len()];
    for &(_, root) in graph.gradients.iter().chain(&graph.updates) {
        let mut chain = Vec::new();
        let mut value = root;
        while let (1, Some((input, _))) = (uses[value.index()], source(graph, value)) {
            chain.push(value);
            value = input;
        }
        if graph.node(value).op().is_some() && source(graph, value).is_none() {
            chain.iter().for_each(|v| views[v.index()] = true);
        }
    }
    views
}
