use std::sync::Arc;

use super::{Conv2d, Conv2dMaxPoolGradWeight, Geometry, cpu, expect_floats, kernels};
use crate::error::{Error, Result};
use crate::graph::{Capabilities, Graph, Kernel, Op, Tolerance, Value};
use crate::tensor::{Array, Meta, View, ViewMut};

/// The op of [`conv2d_grad_weight`].
#[derive(Clone, Debug)]
pub struct Conv2dGradWeight {
    conv: Conv2d,
    kernel: [usize; 2],
}

impl Conv2dGradWeight {
    /// The gradient of a convolution with these attributes for a kernel of that height and width.
    pub fn new(conv: Conv2d, kernel: [usize; 2]) -> Self {
        Self { conv, kernel }
    }

    fn geometry(&self, input: &[usize], grad: &[usize]) -> Result<Geometry> {
        let ([n, _, _, c], [grad_n, oh, ow, o]) = (input, grad) else {
            return Err(Error::shape("conv2d_grad_weight", "input and gradient must have 4 dimensions"));
        };
        let weight = [self.kernel[0], self.kernel[1], c / self.conv.groups.max(1), *o];
        let g = Geometry::new(&self.conv, input, &weight)?;
        if g.output != [*oh, *ow] || n != grad_n {
            let message = format!("gradient {grad:?} does not belong to input {input:?} and weight {weight:?}");
            return Err(Error::shape("conv2d_grad_weight", message));
        }
        Ok(g)
    }

    fn known(&self, inputs: &[&Meta]) -> Geometry {
        self.geometry(inputs[0].dims(), inputs[1].dims()).expect("the shapes were checked before")
    }
}

impl Op for Conv2dGradWeight {
    fn name(&self) -> &'static str {
        "conv2d_grad_weight"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        expect_floats(inputs)?;
        let g = self.geometry(inputs[0].dims(), inputs[1].dims())?;
        Ok(Meta::f32([self.kernel[0], self.kernel[1], g.channels_in(), g.filters]))
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let (input, grad) = (inputs[0], inputs[1]);
        let g = self.geometry(input.shape.dims(), grad.shape.dims()).expect("the shapes were checked before");
        let mut result = Array::zeros(&output.shape);
        g.each_product(|i, w, o| result.data[w] += grad.data[o] * input.data[i]);
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let g = self.known(&[inputs[0].meta, inputs[1].meta]);
        cpu::grad_weight(&g, inputs[0].f32(), inputs[1].f32(), output.f32(), scratch);
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        cpu::grad_weight_scratch(&self.known(inputs))
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        kernels::grad_weight(&self.known(inputs), inputs, output, capabilities)
    }

    fn absorb(
        &self,
        graph: &Graph,
        inputs: &[Value],
        alone: &dyn Fn(Value) -> bool,
    ) -> Option<(Arc<dyn Op>, Vec<Value>)> {
        let (op, inputs) =
            Conv2dMaxPoolGradWeight::absorbing(graph, self.conv, inputs[0], inputs[1]).filter(|_| alone(inputs[1]))?;
        Some((Arc::new(op), inputs))
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        let g = self.known(inputs);
        Tolerance::Sum(g.n * g.pixels())
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        self.known(inputs).flops()
    }
}

/// Gradient of a convolution for its weight: from `input` `[n, h, w, c]` and `grad` `[n, h', w', o]` to
/// `[kh, kw, c / groups, o]`, where `kernel` is `[kh, kw]`.
///
/// Errors: if the shapes are not those of such a convolution.
pub fn conv2d_grad_weight(
    graph: &mut Graph,
    input: Value,
    grad: Value,
    conv: Conv2d,
    kernel: [usize; 2],
) -> Result<Value> {
    graph.apply(Conv2dGradWeight::new(conv, kernel), &[input, grad])
}
