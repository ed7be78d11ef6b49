use std::collections::HashMap;

use super::{Graph, Passes, Plan, Step, Update, Value, optimize, plan::Layout};
use crate::error::Result;
use crate::tensor::Meta;

impl Plan {
    /// Bytes that a step reads from and writes to memory: each different input once, the result once, scratch memory
    /// written and read once.
    pub fn step_bytes(&self, step: &Step) -> u64 {
        let node = self.graph.node(step.value);
        let mut inputs: Vec<Value> = node.inputs.iter().map(|&v| source(&self.graph, v)).collect();
        inputs.sort_unstable();
        inputs.dedup();
        let read: usize = inputs.iter().map(|&v| self.graph.meta(v).bytes()).sum();
        (read + node.meta.bytes() + 2 * step.scratch_bytes) as u64
    }

    /// Floating-point operations of a step, by the definition of its op.
    pub fn step_flops(&self, step: &Step) -> u64 {
        let node = self.graph.node(step.value);
        let metas: Vec<Meta> = node.inputs.iter().map(|&v| self.graph.meta(v).computed()).collect();
        node.op().map_or(0, |op| op.flops(&metas.iter().collect::<Vec<_>>(), &node.meta))
    }

    /// Bytes that a run moves through memory: those of its steps, of the copies to gradients and states, and of the update.
    pub fn bytes_moved(&self, update: Option<&dyn Update>) -> u64 {
        let steps: u64 = self.steps.iter().map(|step| self.step_bytes(step)).sum();
        let copied: usize = self.gathered_gradients().chain(self.renewed_states()).map(|(.., bytes)| 2 * bytes).sum();
        steps + copied as u64 + update_bytes(&self.graph, update)
    }
}

/// The least bytes that a run of `graph` has to move if every pointwise op merges with a neighbour and nothing is computed
/// twice.
///
/// Ops are those after lowering and sharing; views of another shape cost nothing. Where a result has a single user, the two
/// become one kernel, unless each of them holds an op that is not pointwise: the largest results first. A kernel then reads
/// each tensor that comes from outside once and writes each that is used outside once. The update reads and writes
/// parameters and moments and reads gradients.
///
/// It is the measure of what fusion leaves to be done, not a bound for all conceivable programs: computing a cheap value
/// twice, or two reductions over one tensor in one kernel, can move less.
///
/// Errors: if an op cannot be lowered.
pub fn least_traffic(graph: &Graph, update: Option<&dyn Update>) -> Result<u64> {
    let graph = optimize(graph, Passes { fuse: false, ..Passes::ALL })?;
    let clusters = clusters(&graph);
    let mut read: HashMap<(usize, Value), usize> = HashMap::new();
    let mut written: HashMap<Value, usize> =
        graph.roots().map(|v| (source(&graph, v), graph.meta(v).bytes())).collect();
    for (value, node) in graph.iter().filter(|(_, node)| node.op().is_some_and(|op| !op.is_alias())) {
        for input in node.inputs.iter().map(|&v| source(&graph, v)) {
            let bytes = graph.meta(input).bytes();
            let computed = graph.node(input).op().is_some();
            if computed && clusters[input.index()] == clusters[value.index()] {
                continue;
            }
            read.insert((clusters[value.index()], input), bytes);
            if computed {
                written.insert(input, bytes);
            }
        }
    }
    let moved: usize = read.values().chain(written.values()).sum();
    Ok(moved as u64 + update_bytes(&graph, update))
}

/// For each value the kernel that computes it, in a world of ideal fusion.
fn clusters(graph: &Graph) -> Vec<usize> {
    let mut users: Vec<Vec<Value>> = vec![Vec::new(); graph.nodes().len()];
    for (value, node) in graph.iter().filter(|(_, node)| node.op().is_some_and(|op| !op.is_alias())) {
        for input in node.inputs.iter().map(|&v| source(graph, v)) {
            if users[input.index()].last() != Some(&value) {
                users[input.index()].push(value);
            }
        }
    }
    let roots: Vec<Value> = graph.roots().map(|v| source(graph, v)).collect();
    let mut cluster: Vec<usize> = (0..users.len()).collect();
    let heavy = |node: &super::Node| node.op().is_some_and(|op| op.expression().is_none());
    let mut holds: Vec<bool> = graph.nodes().iter().map(heavy).collect();
    let mut edges: Vec<(Value, Value)> = graph
        .iter()
        .filter(|(v, node)| node.op().is_some() && !roots.contains(v))
        .filter_map(|(v, _)| <[Value; 1]>::try_from(users[v.index()].as_slice()).ok().map(|[user]| (v, user)))
        .collect();
    edges.sort_by_key(|&(v, _)| (std::cmp::Reverse(graph.meta(v).bytes()), v));
    for (value, user) in edges {
        let (from, to) = (cluster[value.index()], cluster[user.index()]);
        if from != to && !(holds[from] && holds[to]) {
            holds[to] |= holds[from];
            cluster.iter_mut().filter(|c| **c == from).for_each(|c| *c = to);
        }
    }
    cluster
}

/// The value whose memory a view shows.
fn source(graph: &Graph, mut value: Value) -> Value {
    while graph.node(value).op().is_some_and(|op| op.is_alias()) {
        value = graph.node(value).inputs[0];
    }
    value
}

/// Parameters and moments are read and written, gradients read; to clip their norm, read once more.
fn update_bytes(graph: &Graph, update: Option<&dyn Update>) -> u64 {
    let passes = |u: &dyn Update| 3 + 2 * u.moments() + usize::from(u.clip_norm().is_some());
    update.map_or(0, |u| (passes(u) * Layout::parameters(graph).len() * 4) as u64)
}
