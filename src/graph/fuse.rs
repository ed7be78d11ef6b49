use std::sync::Arc;

use super::optimize::Rewrite;
use super::{Expression, Graph, Kind, Op, Value, pieces};
use crate::error::Result;
use crate::ops::{Piece, Pointwise};
use crate::tensor::DType;

/// Most inputs of a fused op: with its result, the 8 storage buffers a stage may count on.
const MOST_INPUTS: usize = 7;
/// Longest fused expression: beyond it registers spill.
const MOST_STEPS: usize = 48;

/// What a node computes after fusion.
enum Form {
    /// As before.
    Same,
    /// Inside the one that uses it.
    Absorbed,
    /// A longer chain.
    Chain(Expression, Vec<Value>),
    /// A product with a chain behind it.
    Epilogue(Arc<dyn Op>, Vec<Value>),
}

/// Merges chains of pointwise ops into one op each, then lets products apply the chain behind them themselves.
///
/// A value is merged into its user only if there is just one user, and if it has the user's shape: nothing is ever
/// computed twice.
pub(super) fn fuse(graph: &Graph) -> Result<Graph> {
    let mut fusion = Fusion { graph, users: users(graph), forms: graph.nodes.iter().map(|_| Form::Same).collect() };
    graph.iter().for_each(|(value, _)| fusion.merge(value));
    graph.iter().for_each(|(value, _)| fusion.attach(value));
    fusion.rewrite()
}

/// Number of different nodes which use a value; a result counts as one more.
pub(super) fn users(graph: &Graph) -> Vec<usize> {
    let mut users = vec![0; graph.nodes.len()];
    for node in &graph.nodes {
        let mut inputs = node.inputs.clone();
        inputs.sort_unstable();
        inputs.dedup();
        inputs.iter().for_each(|v| users[v.index()] += 1);
    }
    graph.roots().for_each(|v| users[v.index()] += 1);
    users
}

struct Fusion<'a> {
    graph: &'a Graph,
    users: Vec<usize>,
    forms: Vec<Form>,
}

impl Fusion<'_> {
    /// The chain a value stands for so far.
    fn chain(&self, value: Value) -> Option<(&Expression, &[Value])> {
        match &self.forms[value.index()] {
            Form::Chain(expression, inputs) => Some((expression, inputs)),
            Form::Same => {
                let node = self.graph.node(value);
                node.op()?.expression().map(|e| (e, node.inputs.as_slice()))
            }
            _ => None,
        }
    }

    /// Merges the chains of a node's inputs into its own.
    fn merge(&mut self, value: Value) {
        let node = self.graph.node(value);
        let Some(own) = node.op().and_then(|op| op.expression()).cloned() else { return };
        let mut merged: Vec<Value> = Vec::new();
        loop {
            let Some((expression, inputs)) = self.combine(&own, &node.inputs, &merged) else { return };
            let candidate = node.inputs.iter().copied().find(|&input| {
                !merged.contains(&input) && self.fits(input, value) && {
                    let with: Vec<Value> = merged.iter().copied().chain([input]).collect();
                    self.combine(&own, &node.inputs, &with)
                        .is_some_and(|(e, i)| i.len() <= MOST_INPUTS && e.steps().len() <= MOST_STEPS)
                }
            });
            match candidate {
                Some(input) => merged.push(input),
                None => {
                    merged.iter().for_each(|m| self.forms[m.index()] = Form::Absorbed);
                    self.forms[value.index()] = Form::Chain(expression, inputs);
                    return;
                }
            }
        }
    }

    fn fits(&self, input: Value, user: Value) -> bool {
        self.users[input.index()] == 1
            && self.graph.shape(input) == self.graph.shape(user)
            && self.chain(input).is_some()
    }

    /// `own` with the chains of `merged` in place of those inputs, and the inputs of the whole.
    fn combine(&self, own: &Expression, inputs: &[Value], merged: &[Value]) -> Option<(Expression, Vec<Value>)> {
        let mut all: Vec<Value> = Vec::new();
        let mut number = |value: Value| {
            all.iter().position(|&v| v == value).unwrap_or_else(|| {
                all.push(value);
                all.len() - 1
            })
        };
        let mut constants: Vec<Expression> = Vec::new();
        let mut parts: Vec<(Part<'_>, Vec<usize>)> = Vec::new();
        for &input in inputs {
            if merged.contains(&input) {
                let (expression, theirs) = self.chain(input)?;
                parts.push((Part::Chain(expression), theirs.iter().map(|&v| number(v)).collect()));
            } else if let Some(c) = self.scalar_constant(input) {
                constants.push(Expression::new(|[]: [super::Term; 0]| c.into()));
                parts.push((Part::Constant(constants.len() - 1), Vec::new()));
            } else {
                parts.push((Part::Input, vec![number(input)]));
            }
        }
        // A constant inside a merged chain is already part of its expression.
        let parts: Vec<(Option<&Expression>, Vec<usize>)> = parts
            .into_iter()
            .map(|(part, numbers)| match part {
                Part::Input => (None, numbers),
                Part::Chain(e) => (Some(e), numbers),
                Part::Constant(i) => (Some(&constants[i]), numbers),
            })
            .collect();
        Some((own.compose(&parts, all.len()), all))
    }

    fn scalar_constant(&self, value: Value) -> Option<f32> {
        match &self.graph.node(value).kind {
            Kind::Constant(t) if t.dtype() == DType::F32 && t.shape().elements() == 1 => Some(t.f32()[0]),
            _ => None,
        }
    }

    /// Puts a chain behind the product that feeds it.
    fn attach(&mut self, value: Value) {
        let Some((expression, inputs)) = self.chain(value) else { return };
        let shape = self.graph.shape(value);
        let producer = inputs.iter().copied().enumerate().rev().find_map(|(position, input)| {
            let node = self.graph.node(input);
            let op = node.op()?;
            let alone = self.users[input.index()] == 1 && matches!(self.forms[input.index()], Form::Same);
            let others = || inputs.iter().copied().filter(|&v| v != input);
            let aligned =
                others().all(|v| self.aligned(v, value)) && node.inputs.len() + others().count() <= MOST_INPUTS;
            if !(alone && aligned && node.meta.shape == *shape) {
                return None;
            }
            let epilogue = move_to_front(expression, position);
            let fused = op.with_epilogue(&epilogue)?;
            Some((input, fused, node.inputs.iter().copied().chain(others()).collect::<Vec<_>>()))
        });
        if let Some((input, op, inputs)) = producer {
            self.forms[input.index()] = Form::Absorbed;
            self.forms[value.index()] = Form::Epilogue(op, inputs);
        }
    }

    /// Whether `input` is a scalar, a vector along the last axis, or has the whole shape of `result`.
    fn aligned(&self, input: Value, result: Value) -> bool {
        let (meta, shape) = (self.graph.meta(input), self.graph.shape(result));
        meta.dtype == DType::F32
            && (meta.shape == *shape
                || meta.elements() == 1
                || (meta.elements() == shape.last() && meta.shape.last() == shape.last()))
    }

    /// What a chain reads where it would have read `input`: of a larger value, a piece.
    fn operand(&self, input: Value) -> (Value, Option<Piece>) {
        let (whole, offset) = pieces::whole(self.graph, input);
        if self.graph.meta(whole).elements() == self.graph.meta(input).elements() {
            return (input, None);
        }
        (whole, Some(Piece { offset, shape: self.graph.shape(input).clone() }))
    }

    fn rewrite(self) -> Result<Graph> {
        let mut rewrite = Rewrite::new(self.graph);
        for (value, node) in self.graph.iter() {
            match &self.forms[value.index()] {
                Form::Absorbed => {}
                Form::Same => rewrite.keep(value, node),
                Form::Chain(e, inputs) => {
                    let (inputs, pieces) =
                        inputs.iter().map(|&input| self.operand(input)).unzip::<_, _, Vec<_>, Vec<_>>();
                    let op = Pointwise::new(e.clone(), node.meta.shape.clone()).of_pieces(pieces);
                    rewrite.replace(value, node, Arc::new(op), &inputs)?;
                }
                Form::Epilogue(op, inputs) => rewrite.replace(value, node, op.clone(), inputs)?,
            }
        }
        Ok(rewrite.finish(self.graph))
    }
}

enum Part<'a> {
    Input,
    Chain(&'a Expression),
    Constant(usize),
}

/// The expression with input `position` as input 0 and the others after it, in order.
fn move_to_front(expression: &Expression, position: usize) -> Expression {
    let number = |i: usize| match i.cmp(&position) {
        std::cmp::Ordering::Less => i + 1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => i,
    };
    let parts: Vec<_> = (0..expression.inputs()).map(|i| (None, vec![number(i)])).collect();
    expression.compose(&parts, expression.inputs())
}
