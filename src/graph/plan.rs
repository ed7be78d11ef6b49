use std::collections::HashMap;

use super::{Graph, Kind, Value, pieces};
use crate::error::Result;
use crate::ops;
use crate::tensor::Shape;

/// Every tensor starts at a multiple of this many bytes: the alignment of bindings which all adapters accept.
const ALIGNMENT: usize = 256;

/// Where each named tensor stands in an arena. Parameters, their gradients and each moment of the optimizer share one
/// layout; states have another.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    entries: Vec<LayoutEntry>,
    len: usize,
    decayed: usize,
}

/// One tensor of a [`Layout`].
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutEntry {
    /// Its name, for instance `conv2d.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// Where it starts, in elements.
    pub offset: usize,
}

impl Layout {
    /// Of a graph's parameters. Those of two or more dimensions come first: weight decay applies to them, and not to
    /// biases and the parameters of normalisation.
    pub fn parameters(graph: &Graph) -> Self {
        let of_rank =
            |decayed: bool| graph.parameters().map(|(_, n)| n).filter(move |n| (n.meta.shape.rank() >= 2) == decayed);
        let weights = Self::of(of_rank(true).map(|n| (&n.name, &n.meta.shape)), 0);
        let decayed = weights.len;
        let others = Self::of(of_rank(false).map(|n| (&n.name, &n.meta.shape)), decayed);
        Self { entries: [weights.entries, others.entries].concat(), len: others.len, decayed }
    }

    /// Of a graph's states.
    pub fn states(graph: &Graph) -> Self {
        Self::of(graph.states().map(|(_, n)| (&n.name, &n.meta.shape)), 0)
    }

    fn of<'a>(tensors: impl Iterator<Item = (&'a String, &'a Shape)>, start: usize) -> Self {
        let mut offset = start;
        let mut entries = Vec::new();
        for (name, shape) in tensors {
            entries.push(LayoutEntry { name: name.clone(), shape: shape.clone(), offset });
            offset += align(shape.elements() * 4) / 4;
        }
        Self { entries, len: offset, decayed: 0 }
    }

    /// The tensors, in order of offset.
    pub fn entries(&self) -> &[LayoutEntry] {
        &self.entries
    }

    /// Elements of the arena, padding included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Elements at the front to which weight decay applies.
    pub fn decayed(&self) -> usize {
        self.decayed
    }

    /// The tensor of that name.
    pub fn find(&self, name: &str) -> Option<&LayoutEntry> {
        self.entries.iter().find(|e| e.name == name)
    }
}

/// Where a value stands. Offsets are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the arena of parameters.
    Parameter(usize),
    /// In the arena of gradients.
    Gradient(usize),
    /// In the arena of states.
    State(usize),
    /// In the arena which replaces that of states at the end of a run.
    NextState(usize),
    /// In the buffer of that input, counted in the graph's order.
    Input(usize),
    /// In the buffer of constants.
    Constant(usize),
    /// In one of the buffers of intermediate values.
    Pool {
        /// Which buffer.
        pool: usize,
        /// Where in it.
        offset: usize,
    },
}

/// Memory that programs of one network take besides its weights. They run one after the other, so that they share what
/// holds intermediate values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of each pool.
    pub pools: Vec<usize>,
    /// Bytes of scratch memory outside the pools, which the CPU has.
    pub scratch: usize,
    /// Bytes that each program has for itself: inputs and constants.
    pub own: usize,
}

impl Footprint {
    /// Of a planned program. Each buffer takes a multiple of `unit` bytes.
    pub fn of(plan: &Plan, scratch: usize, unit: usize) -> Self {
        let whole = |bytes: usize| bytes.max(1).next_multiple_of(unit);
        let inputs = plan.graph.nodes().iter().filter(|n| matches!(n.kind, Kind::Input));
        let own = inputs.map(|n| whole(n.meta.bytes())).sum::<usize>() + whole(plan.constants.len());
        Self { pools: plan.pools.iter().map(|&bytes| whole(bytes)).collect(), scratch, own }
    }

    /// With another program beside those so far.
    pub fn and(mut self, other: &Self) -> Self {
        self.pools.resize(self.pools.len().max(other.pools.len()), 0);
        self.pools.iter_mut().zip(&other.pools).for_each(|(pool, &bytes)| *pool = bytes.max(*pool));
        Self { scratch: self.scratch.max(other.scratch), own: self.own + other.own, ..self }
    }

    /// All of it.
    pub fn bytes(&self) -> usize {
        self.pools.iter().sum::<usize>() + self.scratch + self.own
    }
}

/// An op to execute.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its value.
    pub value: Value,
    /// Where its scratch memory stands: pool and offset in bytes.
    pub scratch: Vec<Place>,
    /// Bytes of all its scratch memory.
    pub scratch_bytes: usize,
}

/// A graph with a place for every value.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The graph, with copies added where a result must stand in an arena but is used elsewhere too.
    pub graph: Graph,
    /// Ops in order; aliases need none.
    pub steps: Vec<Step>,
    /// Place of each value; `None` for values nobody needs.
    pub places: Vec<Option<Place>>,
    /// Bytes of each pool.
    pub pools: Vec<usize>,
    /// Content of the buffer of constants.
    pub constants: Vec<u8>,
    /// Bytes of intermediate values and scratch memory alive at the worst moment: no plan can need less.
    pub live_bytes: usize,
}

impl Plan {
    /// Plans memory. `scratch` tells how many bytes of scratch memory an op wants, per buffer. With `disjoint`, no op
    /// finds an input in the buffer it writes to, as WebGPU demands.
    pub fn new(
        graph: &Graph,
        parameters: &Layout,
        states: &Layout,
        disjoint: bool,
        scratch: impl Fn(&Graph, Value) -> Vec<usize>,
    ) -> Result<Self> {
        let graph = settle(graph)?;
        let mut planner = Planner::new(&graph, parameters, states);
        planner.collect(scratch);
        planner.choose_pools(disjoint);
        let pools = planner.choose_offsets();
        let live_bytes = planner.live_bytes();
        let (steps, places, constants) = planner.finish();
        Ok(Self { graph, steps, places, pools, constants, live_bytes })
    }

    /// What must be copied when all steps are done, before an update: gradients that are pieces of other values. From where,
    /// to where, and how many bytes.
    pub fn gathered_gradients(&self) -> impl Iterator<Item = (Place, Place, usize)> + '_ {
        self.graph.gradients().iter().filter_map(|&(parameter, gradient)| {
            let Place::Parameter(offset) = self.place(parameter) else { unreachable!("parameters have an arena") };
            let (from, to) = (self.place(gradient), Place::Gradient(offset));
            (from != to).then(|| (from, to, self.graph.meta(parameter).bytes()))
        })
    }

    /// What must be copied at the very end: new states. From where, to where, and how many bytes.
    pub fn renewed_states(&self) -> impl Iterator<Item = (Place, Place, usize)> + '_ {
        let copy =
            |&(state, next): &(Value, Value)| (self.place(next), self.place(state), self.graph.meta(state).bytes());
        self.graph.updates().iter().map(copy)
    }

    /// Place of a value that some step or result needs.
    pub fn place(&self, value: Value) -> Place {
        self.places[value.index()].expect("a needed value has a place")
    }

    /// Bytes of all pools together.
    pub fn pool_bytes(&self) -> usize {
        self.pools.iter().sum()
    }
}

/// Lets every gradient and every new state be a value of its own, computed by an op and used by nothing else, so that
/// the op can write it straight to its place in the arena; or a piece of another value, to be copied in the end.
pub(crate) fn settle(graph: &Graph) -> Result<Graph> {
    let mut graph = graph.clone();
    let (uses, views) = (graph.uses(), pieces::views(&graph));
    let own = |graph: &Graph, v: Value| {
        views[v.index()] || (graph.node(v).op().is_some_and(|op| !op.is_alias()) && uses[v.index()] == 1)
    };
    for i in 0..graph.gradients.len() {
        let (_, gradient) = graph.gradients[i];
        if !own(&graph, gradient) {
            graph.gradients[i].1 = ops::copy(&mut graph, gradient)?;
        }
    }
    for i in 0..graph.updates.len() {
        let (_, next) = graph.updates[i];
        if !own(&graph, next) {
            graph.updates[i].1 = ops::copy(&mut graph, next)?;
        }
    }
    Ok(graph)
}

/// A piece of pool memory in use from one step to another, both included.
struct Block {
    bytes: usize,
    first: usize,
    last: usize,
    pool: usize,
    offset: usize,
}

struct Planner<'a> {
    graph: &'a Graph,
    places: Vec<Option<Place>>,
    constants: Vec<u8>,
    steps: Vec<Value>,
    blocks: Vec<Block>,
    /// Block of each value's memory; an alias has that of its source.
    block_of: Vec<Option<usize>>,
    /// Values that are only copied from the block of another, and where in it they start, in bytes.
    views: Vec<bool>,
    starts: Vec<usize>,
    scratch_of: Vec<Vec<usize>>,
}

impl<'a> Planner<'a> {
    fn new(graph: &'a Graph, parameters: &Layout, states: &Layout) -> Self {
        let n = graph.nodes.len();
        let mut planner = Self {
            graph,
            places: vec![None; n],
            constants: Vec::new(),
            steps: Vec::new(),
            blocks: Vec::new(),
            block_of: vec![None; n],
            views: pieces::views(graph),
            starts: vec![0; n],
            scratch_of: Vec::new(),
        };
        planner.place_sources(parameters, states);
        planner
    }

    fn place_sources(&mut self, parameters: &Layout, states: &Layout) {
        let offset = |layout: &Layout, name: &str| layout.find(name).expect("the layout is of this network").offset * 4;
        let mut inputs = 0;
        for (value, node) in self.graph.iter() {
            self.places[value.index()] = match &node.kind {
                Kind::Input => {
                    inputs += 1;
                    Some(Place::Input(inputs - 1))
                }
                Kind::Parameter => Some(Place::Parameter(offset(parameters, &node.name))),
                Kind::State => Some(Place::State(offset(states, &node.name))),
                Kind::Constant(tensor) => {
                    let start = self.constants.len();
                    self.constants.extend_from_slice(tensor.bytes());
                    self.constants.resize(align(self.constants.len()), 0);
                    Some(Place::Constant(start))
                }
                Kind::Op(_) => None,
            };
        }
        for &(parameter, gradient) in self.graph.gradients.iter().filter(|(_, v)| !self.views[v.index()]) {
            let start = offset(parameters, &self.graph.node(parameter).name);
            self.places[gradient.index()] = Some(Place::Gradient(start));
        }
        for &(state, next) in self.graph.updates.iter().filter(|(_, v)| !self.views[v.index()]) {
            let start = offset(states, &self.graph.node(state).name);
            self.places[next.index()] = Some(Place::NextState(start));
        }
    }

    /// Lists the steps and the blocks of memory with their lifetimes.
    fn collect(&mut self, scratch: impl Fn(&Graph, Value) -> Vec<usize>) {
        let needed = super::optimize::reachable(self.graph);
        for (value, node) in self.graph.iter().filter(|(v, _)| needed[v.index()]) {
            let Some(op) = node.op() else { continue };
            if op.is_alias() || self.views[value.index()] {
                let source = node.inputs[0];
                let start = op.piece(self.graph.meta(source)).unwrap_or(0) * node.meta.dtype.size();
                self.block_of[value.index()] = self.block_of[source.index()];
                self.places[value.index()] = self.places[source.index()];
                self.starts[value.index()] = self.starts[source.index()] + start;
                continue;
            }
            let step = self.steps.len();
            self.steps.push(value);
            for input in &node.inputs {
                if let Some(block) = self.block_of[input.index()] {
                    self.blocks[block].last = step;
                }
            }
            if self.places[value.index()].is_none() {
                self.block_of[value.index()] = Some(self.block(node.meta.bytes(), step));
            }
            let wanted = scratch(self.graph, value);
            let blocks = wanted.into_iter().map(|bytes| self.block(bytes, step)).collect();
            self.scratch_of.push(blocks);
        }
        let written = self.graph.gradients.iter().chain(&self.graph.updates).map(|&(_, v)| v);
        for root in self.graph.outputs.iter().map(|&(_, v)| v).chain(written) {
            if let Some(block) = self.block_of[root.index()] {
                self.blocks[block].last = self.steps.len();
            }
        }
    }

    fn block(&mut self, bytes: usize, step: usize) -> usize {
        self.blocks.push(Block { bytes: align(bytes.max(1)), first: step, last: step, pool: 0, offset: 0 });
        self.blocks.len() - 1
    }

    /// Colours the blocks so that what a step writes is in another pool than what it reads. Among the pools allowed, the
    /// one that grows least.
    fn choose_pools(&mut self, disjoint: bool) {
        if !disjoint {
            return;
        }
        let mut live: Vec<usize> = Vec::new();
        let mut peak: Vec<usize> = Vec::new();
        for step in 0..self.steps.len() {
            let node = self.graph.node(self.steps[step]);
            let read: Vec<usize> =
                node.inputs.iter().filter_map(|v| self.block_of[v.index()]).map(|b| self.blocks[b].pool).collect();
            let written: Vec<usize> = self.block_of[self.steps[step].index()]
                .into_iter()
                .chain(self.scratch_of[step].iter().copied())
                .collect();
            for block in written {
                let bytes = self.blocks[block].bytes;
                let growth = |p: usize, live: &[usize], peak: &[usize]| (live[p] + bytes).saturating_sub(peak[p]);
                let best = (0..live.len()).filter(|p| !read.contains(p)).min_by_key(|&p| growth(p, &live, &peak));
                let pool = best.unwrap_or_else(|| {
                    live.push(0);
                    peak.push(0);
                    live.len() - 1
                });
                self.blocks[block].pool = pool;
                live[pool] += bytes;
                peak[pool] = peak[pool].max(live[pool]);
            }
            for block in self.blocks.iter().filter(|b| b.last == step && b.first <= step) {
                live[block.pool] -= block.bytes;
            }
        }
    }

    /// Gives each block an offset in its pool: the largest first, each at the lowest offset free during its life
    /// (greedy by size; Pisarchyk & Lee 2020, <https://arxiv.org/abs/2001.03288>). Returns the bytes of each pool.
    fn choose_offsets(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.blocks.len()).collect();
        order.sort_by_key(|&b| (std::cmp::Reverse(self.blocks[b].bytes), b));
        let mut pools: Vec<usize> = Vec::new();
        let mut placed: HashMap<usize, Vec<usize>> = HashMap::new();
        for block in order {
            let Block { bytes, first, last, pool, .. } = self.blocks[block];
            let others = placed.entry(pool).or_default();
            let mut taken: Vec<(usize, usize)> = others
                .iter()
                .map(|&b| &self.blocks[b])
                .filter(|b| b.first <= last && first <= b.last)
                .map(|b| (b.offset, b.offset + b.bytes))
                .collect();
            taken.sort_unstable();
            let offset =
                taken.iter().fold(0, |at: usize, &(start, end)| if at + bytes <= start { at } else { at.max(end) });
            others.push(block);
            self.blocks[block].offset = offset;
            pools.resize(pools.len().max(pool + 1), 0);
            pools[pool] = pools[pool].max(offset + bytes);
        }
        pools
    }

    fn live_bytes(&self) -> usize {
        let at = |step: usize| self.blocks.iter().filter(|b| b.first <= step && step <= b.last).map(|b| b.bytes).sum();
        (0..self.steps.len()).map(at).max().unwrap_or(0)
    }

    fn finish(mut self) -> (Vec<Step>, Vec<Option<Place>>, Vec<u8>) {
        let at =
            |b: usize, start: usize| Place::Pool { pool: self.blocks[b].pool, offset: self.blocks[b].offset + start };
        let place = |b: usize| at(b, 0);
        for (value, block) in self.block_of.iter().enumerate() {
            if let Some(block) = block {
                self.places[value] = Some(at(*block, self.starts[value]));
            }
        }
        let steps: Vec<Step> = self
            .steps
            .iter()
            .zip(&self.scratch_of)
            .map(|(&value, scratch)| Step {
                value,
                scratch: scratch.iter().map(|&b| place(b)).collect(),
                scratch_bytes: scratch.iter().map(|&b| self.blocks[b].bytes).sum(),
            })
            .collect();
        debug_assert!(
            steps.iter().all(|s| self.graph.node(s.value).inputs.iter().all(|v| self.places[v.index()].is_some()))
        );
        (steps, self.places, self.constants)
    }
}

fn align(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}
