use std::sync::Arc;

use super::{Conv2d, Geometry, conv2d, conv2d_grad_weight, cpu, expect_floats, kernels};
use crate::error::{Error, Result};
use crate::graph::{Backward, Capabilities, Expression, Graph, Kernel, Op, Tolerance, Value};
use crate::ops::epilogue::{self, Epilogue};
use crate::tensor::{Array, Meta, View, ViewMut};

/// The op of [`conv2d_grad_input`].
#[derive(Clone, Debug)]
pub struct Conv2dGradInput {
    pub(crate) conv: Conv2d,
    pub(crate) input: [usize; 2],
    pub(super) epilogue: Option<Expression>,
}

impl Conv2dGradInput {
    /// The gradient of a convolution with these attributes for an input of that height and width.
    pub fn new(conv: Conv2d, input: [usize; 2]) -> Self {
        Self { conv, input, epilogue: None }
    }

    fn geometry(&self, grad: &[usize], weight: &[usize]) -> Result<Geometry> {
        let ([n, oh, ow, o], [_, _, per_group, filters]) = (grad, weight) else {
            return Err(Error::shape("conv2d_grad_input", "gradient and weight must have 4 dimensions"));
        };
        let input = [*n, self.input[0], self.input[1], per_group * self.conv.groups];
        let g = Geometry::new(&self.conv, &input, weight)?;
        if g.output != [*oh, *ow] || filters != o {
            let message = format!("gradient {grad:?} does not belong to input {input:?} and weight {weight:?}");
            return Err(Error::shape("conv2d_grad_input", message));
        }
        Ok(g)
    }

    fn known(&self, inputs: &[&Meta]) -> Geometry {
        self.geometry(inputs[0].dims(), inputs[1].dims()).expect("the shapes were checked before")
    }
}

impl Op for Conv2dGradInput {
    fn name(&self) -> &'static str {
        "conv2d_grad_input"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        expect_floats(inputs)?;
        let g = self.geometry(inputs[0].dims(), inputs[1].dims())?;
        let output = Meta::f32([g.n, g.input[0], g.input[1], g.channels]);
        epilogue::check(self.name(), self.epilogue.as_ref(), &inputs[2..], &output.shape)?;
        Ok(output)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let (grad, weight) = (inputs[0], inputs[1]);
        let g = self.geometry(grad.shape.dims(), weight.shape.dims()).expect("the shapes were checked before");
        let mut result = Array::zeros(&output.shape);
        g.each_product(|i, w, o| result.data[i] += grad.data[o] * weight.data[w]);
        epilogue::reference(self.epilogue.as_ref(), result, &inputs[2..])
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let g = self.known(&[inputs[0].meta, inputs[1].meta]);
        cpu::grad_input(&g, inputs[0].f32(), inputs[1].f32(), output.f32(), scratch);
        Epilogue::new(self.epilogue.as_ref(), &inputs[2..], &output.meta.shape).apply_to_all(output.f32());
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        cpu::grad_input_scratch(&self.known(inputs))
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        kernels::grad_input(&self.known(inputs), self.epilogue.as_ref(), inputs, output, capabilities)
    }

    fn with_epilogue(&self, epilogue: &Expression) -> Option<Arc<dyn Op>> {
        let fused = || Arc::new(Self { epilogue: Some(epilogue.clone()), ..*self }) as Arc<dyn Op>;
        self.epilogue.is_none().then(fused)
    }

    fn magnitude(&self) -> Option<Arc<dyn Op>> {
        let epilogue = Some(self.epilogue.as_ref()?.magnitude());
        Some(Arc::new(Self { epilogue, ..*self }))
    }

    /// The op is linear in both inputs, and the convolution is its transpose.
    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        let [grad, weight, ..] = *at.inputs else { return Ok(None) };
        match of {
            0 => conv2d(graph, at.grad, weight, self.conv).map(Some),
            1 => {
                let &[kh, kw, ..] = graph.shape(weight).dims() else { return Ok(None) };
                conv2d_grad_weight(graph, at.grad, grad, self.conv, [kh, kw]).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        let g = self.known(inputs);
        epilogue::tolerance(self.epilogue.as_ref(), g.window.size[0] * g.window.size[1] * g.filters_in())
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        self.known(inputs).flops()
    }
}

/// Gradient of a convolution for its input: from `grad` `[n, h', w', o]` and `weight` `[kh, kw, c / groups, o]` to
/// `[n, h, w, c]`, where `input` is `[h, w]`.
///
/// Errors: if the shapes are not those of such a convolution.
pub fn conv2d_grad_input(
    graph: &mut Graph,
    grad: Value,
    weight: Value,
    conv: Conv2d,
    input: [usize; 2],
) -> Result<Value> {
    graph.apply(Conv2dGradInput::new(conv, input), &[grad, weight])
}
