use std::collections::HashMap;
use std::sync::Arc;

use super::{Graph, Kind, Node, Op, Value, fuse, half, remat};
use crate::error::Result;
use crate::tensor::{Array, Tensor};

/// Which passes [`optimize`] runs; each device has its own. [`Passes::NONE`] is for comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Merge chains of pointwise ops, and put them behind the product that feeds them.
    pub fuse: bool,
    /// Compute equal ops once.
    pub share: bool,
    /// Compute forward values again for the backward pass, where that saves memory.
    pub remat: bool,
    /// Merge ops that the CPU computes in one pass over memory, as [`Op::absorb`] says.
    pub absorb: bool,
    /// Keep large intermediate values of a training step in 16 bits: for GPUs that have them.
    pub half: bool,
}

impl Passes {
    /// What suits all devices and costs nothing.
    pub const ALL: Self = Self { fuse: true, share: true, remat: false, absorb: false, half: false };
    /// What suits the CPU and costs nothing.
    pub const CPU: Self = Self { absorb: true, ..Self::ALL };
    /// Each op by itself, as described.
    pub const NONE: Self = Self { fuse: false, share: false, remat: false, absorb: false, half: false };
}

/// The graph as it is to be executed: lowered, without ops on which no result depends, and, as `passes` says, with
/// equal ops shared and chains fused. Inputs, parameters and states all stay.
pub fn optimize(graph: &Graph, passes: Passes) -> Result<Graph> {
    let mut graph = graph.clone();
    // Predictions stay what they are in f32.
    let in_half = passes.half && !graph.gradients.is_empty();
    if in_half {
        half::scale_gradients(&mut graph);
    }
    while let Some(lowered) = lower(&graph)? {
        graph = lowered;
    }
    graph = rebuild(&graph, passes.share)?;
    while let Some(merged) = if passes.absorb { absorb(&graph)? } else { None } {
        graph = rebuild(&merged, passes.share)?;
    }
    if passes.fuse {
        // Pieces that chains now read in place are left over.
        graph = rebuild(&fuse::fuse(&graph)?, false)?;
    }
    if passes.remat {
        graph = remat::remat(&graph)?;
    }
    if in_half {
        half::narrow(&mut graph);
    }
    Ok(graph)
}

/// A graph in the making, and where each value of the old one is in it.
pub(super) struct Rewrite {
    pub graph: Graph,
    pub map: Vec<Option<Value>>,
}

impl Rewrite {
    pub fn new(old: &Graph) -> Self {
        Self { graph: Graph::new(), map: vec![None; old.nodes.len()] }
    }

    pub fn inputs(&self, inputs: &[Value]) -> Vec<Value> {
        inputs.iter().map(|v| self.map[v.index()].expect("inputs come before their uses")).collect()
    }

    /// Takes a node over, with its inputs translated.
    pub fn keep(&mut self, value: Value, node: &Node) {
        let inputs = self.inputs(&node.inputs);
        self.map[value.index()] = Some(self.graph.push(Node { inputs, ..node.clone() }));
    }

    /// Puts an op in a node's place.
    pub fn replace(&mut self, value: Value, node: &Node, op: Arc<dyn Op>, inputs: &[Value]) -> Result<()> {
        self.graph.scope(&node.name);
        let inputs = self.inputs(inputs);
        self.map[value.index()] = Some(self.graph.apply_shared(op, &inputs)?);
        Ok(())
    }

    /// Takes the old graph's results over.
    pub fn finish(mut self, old: &Graph) -> Graph {
        let at = |v: Value| self.map[v.index()].expect("results are kept");
        self.graph.outputs = old.outputs.iter().map(|(name, v)| (name.clone(), at(*v))).collect();
        self.graph.updates = old.updates.iter().map(|&(s, v)| (at(s), at(v))).collect();
        self.graph.kept = old.kept.iter().map(|&v| at(v)).collect();
        self.graph.gradients = old.gradients.iter().map(|&(p, v)| (at(p), at(v))).collect();
        self.graph.gradient_scale = old.gradient_scale;
        self.graph
    }
}

/// Which values some result needs, and all sources.
pub(super) fn reachable(graph: &Graph) -> Vec<bool> {
    let mut needed: Vec<bool> =
        graph.nodes.iter().map(|n| matches!(n.kind, Kind::Input | Kind::Parameter | Kind::State)).collect();
    graph.roots().for_each(|v| needed[v.index()] = true);
    for (value, node) in graph.iter().rev() {
        if needed[value.index()] {
            node.inputs.iter().for_each(|v| needed[v.index()] = true);
        }
    }
    needed
}

/// Replaces ops by the simpler ones they are made of; `None` if there was nothing to replace.
fn lower(graph: &Graph) -> Result<Option<Graph>> {
    let mut rewrite = Rewrite::new(graph);
    let needed = reachable(graph);
    let mut changed = false;
    for (value, node) in graph.iter().filter(|(v, _)| needed[v.index()]) {
        let Some(op) = node.op() else {
            rewrite.keep(value, node);
            continue;
        };
        let inputs = rewrite.inputs(&node.inputs);
        rewrite.graph.scope(&node.name);
        match op.lower(&mut rewrite.graph, &inputs)? {
            Some(lowered) => {
                changed = true;
                rewrite.map[value.index()] = Some(lowered);
            }
            None => rewrite.keep(value, node),
        }
    }
    Ok(changed.then(|| rewrite.finish(graph)))
}

/// Lets ops absorb those that make their inputs; `None` if there was nothing to absorb.
fn absorb(graph: &Graph) -> Result<Option<Graph>> {
    let mut rewrite = Rewrite::new(graph);
    let users = fuse::users(graph);
    let mut changed = false;
    for (value, node) in graph.iter() {
        match node.op().and_then(|op| op.absorb(graph, &node.inputs, &|v| users[v.index()] == 1)) {
            Some((op, inputs)) => {
                changed = true;
                rewrite.replace(value, node, op, &inputs)?;
            }
            None => rewrite.keep(value, node),
        }
    }
    Ok(changed.then(|| rewrite.finish(graph)))
}

/// Elements of the largest result that is computed beforehand.
const FOLDED: usize = 1 << 16;

/// The result of a node of which all inputs are constants.
fn fold(graph: &Graph, node: &Node, inputs: &[Value]) -> Option<Tensor> {
    let op = node.op().filter(|_| !inputs.is_empty() && node.meta.elements() <= FOLDED)?;
    let constant = |v: &Value| match &graph.node(*v).kind {
        Kind::Constant(tensor) => Some(tensor.to_array()),
        _ => None,
    };
    let values = inputs.iter().map(constant).collect::<Option<Vec<Array>>>()?;
    let result = op.reference(&values.iter().collect::<Vec<_>>(), &node.meta);
    Some(Tensor::from_array(&result, node.meta.dtype))
}

/// Drops what no result needs and computes what depends on constants alone; with `share`, equal ops of equal inputs become
/// one.
fn rebuild(graph: &Graph, share: bool) -> Result<Graph> {
    let mut rewrite = Rewrite::new(graph);
    let needed = reachable(graph);
    let mut known: HashMap<(String, Vec<Value>), Value> = HashMap::new();
    for (value, node) in graph.iter().filter(|(v, _)| needed[v.index()]) {
        if let Some(tensor) = fold(&rewrite.graph, node, &rewrite.inputs(&node.inputs)) {
            rewrite.map[value.index()] = Some(rewrite.graph.constant(tensor));
            continue;
        }
        let key = node.op().filter(|_| share).map(|op| (format!("{op:?}"), rewrite.inputs(&node.inputs)));
        match key.as_ref().and_then(|k| known.get(k)) {
            Some(&same) => rewrite.map[value.index()] = Some(same),
            None => rewrite.keep(value, node),
        }
        if let (Some(key), Some(new)) = (key, rewrite.map[value.index()]) {
            known.insert(key, new);
        }
    }
    Ok(rewrite.finish(graph))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;
    use crate::tensor::Meta;

    #[test]
    fn what_depends_on_constants_alone_is_computed_beforehand() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([2, 2]));
        let [a, b] = [[1.0, 2.0, 3.0, 4.0], [0.5; 4]].map(|v| graph.constant(Tensor::new([4], v.to_vec()).unwrap()));
        let product = ops::mul(&mut graph, a, b).unwrap();
        let scale = ops::reshape(&mut graph, product, [2, 2]).unwrap();
        let output = ops::mul(&mut graph, x, scale).unwrap();
        graph.output("output", output);
        let graph = optimize(&graph, Passes::NONE).unwrap();
        assert_eq!(graph.nodes().iter().filter(|n| n.op().is_some()).count(), 1);
        let constants = graph.nodes().iter().filter_map(|n| match &n.kind {
            Kind::Constant(tensor) => Some(tensor.f32().to_vec()),
            _ => None,
        });
        assert!(constants.into_iter().any(|values| values == [0.5, 1.0, 1.5, 2.0]));
    }
}
