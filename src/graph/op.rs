use std::fmt;
use std::sync::Arc;

use super::{Capabilities, Expression, Graph, Kernel, Value};
use crate::error::{Error, Result};
use crate::tensor::{Array, Meta, View, ViewMut};

/// An operation of the graph: a pure function of tensors with one result.
///
/// An op is one file in `src/ops`: attributes, shape rule, gradient rule, reference, CPU path, GPU kernels, samples.
pub trait Op: fmt::Debug + Send + Sync + 'static {
    /// The name by which errors, plans and profiles speak of it, for instance `conv2d`.
    fn name(&self) -> &'static str;

    /// Shape and element type of the result.
    ///
    /// Errors: if the inputs do not fit; the message says what came and what was expected.
    fn infer(&self, inputs: &[&Meta]) -> Result<Meta>;

    /// The definition, in plain f64 loops.
    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array;

    /// Computes the result on the CPU. `output` and `scratch` hold arbitrary values on entry.
    fn cpu(&self, inputs: &[View<'_>], output: ViewMut<'_>, scratch: &mut [f32]);

    /// Elements of scratch memory which [`Op::cpu`] wants.
    fn cpu_scratch(&self, _inputs: &[&Meta], _output: &Meta) -> usize {
        0
    }

    /// GPU kernels that compute the result, all of them right, the one to prefer on such an adapter first.
    fn kernels(&self, inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel>;

    /// The gradient of the loss with respect to input `of`, written with other ops; `None` where there is none (class
    /// ids, say).
    ///
    /// Errors: if the op cannot be differentiated.
    fn gradient(&self, _graph: &mut Graph, _at: &Backward, _of: usize) -> Result<Option<Value>> {
        Err(Error::shape(self.name(), "has no gradient rule: it cannot stand between a parameter and the loss"))
    }

    /// The same result written with simpler ops, if that runs faster; asked after differentiation.
    fn lower(&self, _graph: &mut Graph, _inputs: &[Value]) -> Result<Option<Value>> {
        Ok(None)
    }

    /// Whether the result is the first input's memory under another shape.
    fn is_alias(&self) -> bool {
        false
    }

    /// The expression which gives each element of the result, if the op is pointwise.
    fn expression(&self) -> Option<&Expression> {
        None
    }

    /// The op which also applies `epilogue` to each element of its result. Input 0 of the expression is that element;
    /// its further inputs become further inputs of the op: scalars, vectors along the last axis, or tensors of the
    /// result's shape.
    fn with_epilogue(&self, _epilogue: &Expression) -> Option<Arc<dyn Op>> {
        None
    }

    /// How far from the reference a result may lie.
    fn tolerance(&self, inputs: &[&Meta], output: &Meta) -> Tolerance;

    /// Floating-point operations of the definition: a multiply-add counts two. 0 where memory traffic is all there is.
    fn flops(&self, _inputs: &[&Meta], _output: &Meta) -> u64 {
        0
    }
}

/// Where a gradient rule stands.
pub struct Backward<'a> {
    /// The op's inputs.
    pub inputs: &'a [Value],
    /// The op's result.
    pub output: Value,
    /// Gradient of the loss with respect to the result; same shape.
    pub grad: Value,
}

/// Allowed difference from the f64 reference. The bounds stand in one place: [`Tolerance::bound`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// The same value: relu, max pooling, reshape, gather.
    Exact,
    /// A few rounded additions or multiplications.
    Arithmetic,
    /// WGSL's own accuracy of exp, log, pow and the like.
    Transcendental,
    /// A sum over that many terms, measured against the same sum over absolute values.
    Sum(usize),
    /// Normalised by statistics: measured against the largest value of the result.
    Normalized,
}

impl Tolerance {
    /// The allowed difference where the reference is `reference`, the same computation on absolute values is
    /// `magnitude`, and the largest absolute value of the result is `largest`.
    pub fn bound(self, reference: f64, magnitude: f64, largest: f64) -> f64 {
        let ulp = f64::from(f32::EPSILON) / 2.0;
        match self {
            Self::Exact => 0.0,
            Self::Arithmetic => 8.0 * ulp * magnitude.max(reference.abs()) + 1e-37,
            Self::Transcendental => 1e-5 * reference.abs() + 1e-5,
            Self::Sum(terms) => 4.0 * (terms as f64).sqrt().max(2.0) * ulp * magnitude.max(reference.abs()) + 1e-37,
            Self::Normalized => 1e-5 * largest + 1e-6,
        }
    }
}
