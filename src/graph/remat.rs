use std::collections::HashMap;

use super::optimize::Rewrite;
use super::{Graph, Kind, Layout, Node, Plan, Value};
use crate::error::Result;

/// Most segments that are tried.
const MOST_SEGMENTS: usize = 24;
/// A value of less than this share of the largest is not worth computing twice.
const SMALL: usize = 64;

/// The training step with forward values computed a second time where the backward pass needs them, instead of kept until
/// then: less memory for about a third more arithmetic. The results are the same to the last bit.
///
/// The forward pass is cut into segments; what crosses a cut is kept, and a segment is computed again when the backward
/// pass comes to it (Chen et al. 2016, <https://arxiv.org/abs/1604.06174>). The number of segments is the one with which
/// the plan needs least. A graph without gradients comes back as it is.
pub(super) fn remat(graph: &Graph) -> Result<Graph> {
    let Some(loss) = graph.outputs.iter().map(|&(_, v)| v).max().filter(|_| !graph.gradients.is_empty()) else {
        return Ok(graph.clone());
    };
    let forward = Forward::new(graph, loss);
    let mut best = (live_bytes(graph)?, graph.clone());
    for segments in 2..=MOST_SEGMENTS {
        let candidate = forward.recompute(&forward.kept(segments));
        let live = live_bytes(&candidate)?;
        if live < best.0 {
            best = (live, candidate);
        }
    }
    Ok(best.1)
}

fn live_bytes(graph: &Graph) -> Result<usize> {
    let (parameters, states) = (Layout::parameters(graph), Layout::states(graph));
    Plan::new(graph, &parameters, &states, false, |_, _| Vec::new()).map(|plan| plan.live_bytes)
}

/// The forward pass of a training step: all ops up to the loss.
struct Forward<'a> {
    graph: &'a Graph,
    /// Nodes from here on belong to the backward pass.
    end: usize,
    /// The last forward op that uses each value.
    last_use: Vec<usize>,
}

impl<'a> Forward<'a> {
    fn new(graph: &'a Graph, loss: Value) -> Self {
        let end = loss.index() + 1;
        let mut last_use: Vec<usize> = (0..graph.nodes.len()).collect();
        // Backwards, so that the users of a view count as users of what it shows.
        for (i, node) in graph.nodes[..end].iter().enumerate().rev() {
            let until = if is_alias(node) { last_use[i] } else { i };
            node.inputs.iter().for_each(|v| last_use[v.index()] = until.max(last_use[v.index()]));
        }
        Self { graph, end, last_use }
    }

    /// Which forward values stay, if the pass is cut into so many segments.
    fn kept(&self, segments: usize) -> Vec<bool> {
        let nodes = &self.graph.nodes[..self.end];
        let computed = |node: &Node| node.op().is_some() && !is_alias(node);
        let bytes: Vec<usize> = nodes.iter().map(|n| if computed(n) { n.meta.bytes() } else { 0 }).collect();
        let (total, largest) = (bytes.iter().sum::<usize>(), bytes.iter().max().copied().unwrap_or(0));
        let segment: Vec<usize> = (bytes.iter())
            .scan(0, |sum: &mut usize, &bytes| {
                *sum += bytes;
                Some((*sum * segments).div_ceil(total.max(1)))
            })
            .collect();
        let crosses = |i: usize| segment[self.last_use[i].min(self.end - 1)] > segment[i] || segment[i] == segments;
        (0..self.end).map(|i| computed(&nodes[i]) && (bytes[i] * SMALL < largest || crosses(i))).collect()
    }

    fn recompute(&self, kept: &[bool]) -> Graph {
        let mut rewrite = Rewrite::new(self.graph);
        let mut again = HashMap::new();
        for (value, node) in self.graph.iter() {
            if value.index() < self.end || node.op().is_none() {
                rewrite.keep(value, node);
                continue;
            }
            let inputs = node.inputs.iter().map(|&v| self.at_hand(v, kept, &mut rewrite, &mut again)).collect();
            rewrite.map[value.index()] = Some(rewrite.graph.push(Node { inputs, ..node.clone() }));
        }
        rewrite.finish(self.graph)
    }

    /// A value for the backward pass: the one that was kept, or a new one with all it takes to compute it.
    fn at_hand(&self, value: Value, kept: &[bool], rewrite: &mut Rewrite, again: &mut HashMap<Value, Value>) -> Value {
        let node = self.graph.node(value);
        let stays = value.index() >= self.end || kept[value.index()] || !matches!(node.kind, Kind::Op(_));
        if stays {
            return rewrite.inputs(&[value])[0];
        }
        if let Some(&known) = again.get(&value) {
            return known;
        }
        let inputs = node.inputs.iter().map(|&v| self.at_hand(v, kept, rewrite, again)).collect();
        let new = rewrite.graph.push(Node { inputs, ..node.clone() });
        again.insert(value, new);
        new
    }
}

fn is_alias(node: &Node) -> bool {
    node.op().is_some_and(|op| op.is_alias())
}
