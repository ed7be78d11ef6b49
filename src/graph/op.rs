use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Capabilities, Expression, Graph, Kernel, Tolerance, Value};
use crate::error::{Error, Result};
use crate::tensor::{Array, Meta, View, ViewMut};

/// An operation of the graph: a pure function of tensors with one result.
///
/// An op is one file in `src/ops`: attributes, shape rule, gradient rule, reference, CPU path, GPU kernels, samples.
pub trait Op: Any + fmt::Debug + Send + Sync {
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

    /// GPU kernels that compute the result, all of them right, the one to prefer on such an adapter first. None for an op
    /// which only [`Op::absorb`] makes, on the CPU.
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

    /// Where in the first input, counted in elements, the result stands, if it is a contiguous piece of it: who can read from
    /// there needs no copy.
    fn piece(&self, _input: &Meta) -> Option<usize> {
        self.is_alias().then_some(0)
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

    /// The op which computes the same result from what `inputs` are computed from, and its inputs, if that saves the CPU
    /// memory traffic. `alone` tells whether nothing else uses a value. What only comes about here needs no kernels.
    fn absorb(
        &self,
        _graph: &Graph,
        _inputs: &[Value],
        _alone: &dyn Fn(Value) -> bool,
    ) -> Option<(Arc<dyn Op>, Vec<Value>)> {
        None
    }

    /// How far from the reference a result may lie.
    fn tolerance(&self, inputs: &[&Meta], output: &Meta) -> Tolerance;

    /// The op whose result on the absolute values of the inputs bounds what rounding is relative to; `None` if it is this
    /// one, as it is where nothing is subtracted.
    fn magnitude(&self) -> Option<Arc<dyn Op>> {
        None
    }

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
