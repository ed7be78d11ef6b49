//! The static graph between the description of a network and its execution.
//!
//! Layers and importers come in by emitting ops into a [`Graph`] with known shapes; [`Graph::differentiate`] adds the
//! backward ops; [`optimize`] lowers and fuses; [`Plan`] gives every tensor its place in memory. What goes out is a plan
//! which the `cpu` and `gpu` rooms execute. [`evaluate`] is the reference interpreter in f64.
//!
//! An op is anything that implements [`Op`]; the graph knows none by name.

mod differentiate;
mod expression;
mod fuse;
mod half;
mod kernel;
mod op;
mod optimize;
mod pieces;
mod plan;
mod reference;
mod remat;
mod tolerance;
mod traffic;
mod update;

use std::sync::Arc;

pub use expression::{BLOCK, BlockInput, Expression, Function, Operand, Term, exp};
pub use half::kernels;
pub(crate) use half::narrow_where;
pub use kernel::{Binding, Capabilities, Kernel, Launch, MAX_WORKGROUPS, spread, wgsl_f32};
pub use op::{Backward, Op};
pub use optimize::{Passes, optimize};
pub(crate) use pieces::views;
pub(crate) use plan::settle;
pub use plan::{Footprint, Layout, LayoutEntry, Place, Plan, Step};
pub use reference::evaluate;
pub use tolerance::{Comparison, Tolerance};
pub use traffic::least_traffic;
pub use update::{Ending, NORM_PARTIALS, Update, UpdatePiece, accumulate_launch, clip_launches};

use crate::error::Result;
use crate::tensor::{Meta, Shape, Tensor};

/// The result of a node. Values are numbered in the order of computation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Value(u32);

impl Value {
    /// The node's position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a node's value comes from.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Given anew for each run.
    Input,
    /// Trained.
    Parameter,
    /// Kept between runs but not trained: running statistics, frozen weights.
    State,
    /// Fixed.
    Constant(Arc<Tensor>),
    /// Computed.
    Op(Arc<dyn Op>),
}

/// One value of the graph and how it comes about.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value comes from.
    pub kind: Kind,
    /// What an op computes from.
    pub inputs: Vec<Value>,
    /// Shape and element type.
    pub meta: Meta,
    /// Name of the input, parameter or state; for an op, of the layer which emitted it.
    pub name: String,
}

impl Node {
    /// The op, if the value is computed.
    pub fn op(&self) -> Option<&Arc<dyn Op>> {
        match &self.kind {
            Kind::Op(op) => Some(op),
            _ => None,
        }
    }

    /// The op, if the value is computed by one of that type.
    pub fn downcast<T: Op>(&self) -> Option<&T> {
        let op: &dyn std::any::Any = self.op()?.as_ref();
        op.downcast_ref()
    }
}

/// A network, or a whole training step, as a list of ops in order of computation.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    scope: String,
    outputs: Vec<(String, Value)>,
    updates: Vec<(Value, Value)>,
    gradients: Vec<(Value, Value)>,
    kept: Vec<Value>,
    /// A loss that was differentiated, and the constant 1 from which its gradients start.
    seed: Option<(Value, Value)>,
    gradient_scale: Option<f32>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// A value given for each run.
    pub fn input(&mut self, name: &str, meta: Meta) -> Value {
        self.source(Kind::Input, name, meta)
    }

    /// A trained f32 tensor. Names are unique in a graph.
    pub fn parameter(&mut self, name: &str, shape: impl Into<Shape>) -> Value {
        self.source(Kind::Parameter, name, Meta::f32(shape))
    }

    /// An f32 tensor which is kept but not trained. Names are unique in a graph.
    pub fn state(&mut self, name: &str, shape: impl Into<Shape>) -> Value {
        self.source(Kind::State, name, Meta::f32(shape))
    }

    /// A fixed tensor.
    pub fn constant(&mut self, tensor: Tensor) -> Value {
        let meta = tensor.meta();
        self.source(Kind::Constant(Arc::new(tensor)), "constant", meta)
    }

    fn source(&mut self, kind: Kind, name: &str, meta: Meta) -> Value {
        self.push(Node { kind, inputs: Vec::new(), meta, name: name.to_owned() })
    }

    fn push(&mut self, node: Node) -> Value {
        self.nodes.push(node);
        Value(self.nodes.len() as u32 - 1)
    }

    /// Appends an op.
    ///
    /// Errors: if the inputs do not fit it. The message names the layer in whose scope it stands.
    pub fn apply(&mut self, op: impl Op, inputs: &[Value]) -> Result<Value> {
        self.apply_shared(Arc::new(op), inputs)
    }

    /// Appends an op that other graphs may hold too.
    pub fn apply_shared(&mut self, op: Arc<dyn Op>, inputs: &[Value]) -> Result<Value> {
        let metas: Vec<&Meta> = inputs.iter().map(|&v| self.meta(v)).collect();
        let meta = op.infer(&metas).map_err(|e| self.in_scope(e))?;
        Ok(self.push(Node { kind: Kind::Op(op), inputs: inputs.to_vec(), meta, name: self.scope.clone() }))
    }

    fn in_scope(&self, error: crate::Error) -> crate::Error {
        match error {
            crate::Error::Shape { at, message } if !self.scope.is_empty() => {
                crate::Error::shape(format!("{at} \"{}\"", self.scope), message)
            }
            other => other,
        }
    }

    /// Sets the layer name which errors and plans show for the ops that follow.
    pub fn scope(&mut self, name: &str) {
        name.clone_into(&mut self.scope);
    }

    /// Makes a value a result of each run, under a name.
    pub fn output(&mut self, name: &str, value: Value) {
        self.outputs.push((name.to_owned(), value));
    }

    /// Computes a value in each run though nothing uses it: for measurements.
    pub fn keep(&mut self, value: Value) {
        self.kept.push(value);
    }

    /// Replaces `state` by `value` at the end of each run.
    pub fn update(&mut self, state: Value, value: Value) {
        debug_assert_eq!(self.meta(state), self.meta(value));
        self.updates.push((state, value));
    }

    /// Makes a value the gradient of a parameter, whatever it is.
    pub(crate) fn set_gradient(&mut self, parameter: Value, gradient: Value) {
        debug_assert_eq!(self.meta(parameter), self.meta(gradient));
        self.gradients.push((parameter, gradient));
    }

    /// How many times too large the gradients are.
    pub fn gradient_scale(&self) -> f32 {
        self.gradient_scale.unwrap_or(1.0)
    }

    /// All nodes in order of computation.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A value's node.
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.index()]
    }

    /// A value's shape and element type.
    pub fn meta(&self, value: Value) -> &Meta {
        &self.node(value).meta
    }

    /// A value's extents.
    pub fn shape(&self, value: Value) -> &Shape {
        &self.meta(value).shape
    }

    /// Values with their node.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Value, &Node)> {
        self.nodes.iter().enumerate().map(|(i, node)| (Value(i as u32), node))
    }

    /// Names and values of the results.
    pub fn outputs(&self) -> &[(String, Value)] {
        &self.outputs
    }

    /// States and what replaces them.
    pub fn updates(&self) -> &[(Value, Value)] {
        &self.updates
    }

    /// Parameters and the gradients which [`Graph::differentiate`] found for them.
    pub fn gradients(&self) -> &[(Value, Value)] {
        &self.gradients
    }

    /// The input, parameter or state of that name.
    pub fn find(&self, name: &str) -> Option<Value> {
        self.iter()
            .find(|(_, n)| n.name == name && matches!(n.kind, Kind::Input | Kind::Parameter | Kind::State))
            .map(|(v, _)| v)
    }

    /// The parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (Value, &Node)> {
        self.iter().filter(|(_, n)| matches!(n.kind, Kind::Parameter))
    }

    /// The states, in order.
    pub fn states(&self) -> impl Iterator<Item = (Value, &Node)> {
        self.iter().filter(|(_, n)| matches!(n.kind, Kind::State))
    }

    /// Values that must exist at the end: results, gradients, new states.
    pub fn roots(&self) -> impl Iterator<Item = Value> + '_ {
        let outputs = self.outputs.iter().map(|&(_, v)| v);
        let written = self.gradients.iter().chain(&self.updates).map(|&(_, v)| v);
        outputs.chain(written).chain(self.kept.iter().copied())
    }

    /// How often each value is used, as an input or as a root.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        let inputs = self.nodes.iter().flat_map(|n| n.inputs.iter().copied());
        inputs.chain(self.roots()).for_each(|v| uses[v.index()] += 1);
        uses
    }
}
