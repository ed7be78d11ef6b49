use std::sync::Arc;

use super::{Conv2d, Conv2dForward, Conv2dGradWeight, Geometry, cpu};
use crate::error::{Error, Result};
use crate::graph::{Backward, Capabilities, Expression, Graph, Kernel, Op, Tolerance, Value};
use crate::ops::epilogue::{self, Epilogue};
use crate::ops::{MaxPool2dGrad, Pool2d, Pool2dForward};
use crate::tensor::{Array, Meta, View, ViewMut};

/// The only pooling that is computed with a convolution.
const HALVES: Pool2d = Pool2d { window: [2; 2], stride: [2; 2], padding: [0; 4] };

fn pooled(results: &Meta) -> Result<Meta> {
    Pool2dForward::max(HALVES).infer(&[results])
}

/// A convolution and the 2×2 maximum pooling after it in one pass: its results never come to memory. Made by
/// [`Op::absorb`] on the CPU.
#[derive(Clone, Debug)]
pub struct Conv2dMaxPool {
    conv: Conv2d,
    epilogue: Option<Expression>,
}

impl Conv2dMaxPool {
    pub(super) fn new(conv: Conv2d, epilogue: Option<Expression>) -> Self {
        Self { conv, epilogue }
    }

    /// `pool` of a convolution of `inputs`, if it is computed in one pass.
    pub(in crate::ops) fn of(conv: &Conv2dForward, pool: Pool2d, inputs: &[&Meta]) -> Option<Self> {
        let suits = conv.epilogue.is_none() && pool == HALVES && cpu::pools(&conv.geometry(inputs));
        suits.then(|| Self::new(conv.conv, None))
    }

    fn convolution(&self) -> Conv2dForward {
        Conv2dForward::new(self.conv)
    }

    fn geometry(&self, inputs: &[&Meta]) -> Geometry {
        self.convolution().geometry(inputs)
    }
}

impl Op for Conv2dMaxPool {
    fn name(&self) -> &'static str {
        "conv2d_max_pool2d"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let output = pooled(&self.convolution().infer(&inputs[..2])?)?;
        epilogue::check(self.name(), self.epilogue.as_ref(), &inputs[2..], &output.shape)?;
        Ok(output)
    }

    fn gradient(&self, _graph: &mut Graph, _at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        Err(Error::shape(self.name(), "a convolution is differentiated before it is fused"))
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let metas = [Meta::f32(inputs[0].shape.clone()), Meta::f32(inputs[1].shape.clone())];
        let results = self.convolution().infer(&[&metas[0], &metas[1]]).expect("the shapes were checked");
        let results = self.convolution().reference(&inputs[..2], &results);
        let result = Pool2dForward::max(HALVES).reference(&[&results], output);
        epilogue::reference(self.epilogue.as_ref(), result, &inputs[2..])
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let g = self.geometry(&[inputs[0].meta, inputs[1].meta]);
        let epilogue = Epilogue::new(self.epilogue.as_ref(), &inputs[2..], &output.meta.shape);
        cpu::forward_pooled(&g, inputs[0].f32(), inputs[1].f32(), output.f32(), &epilogue, scratch);
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        cpu::forward_pooled_scratch(&self.geometry(inputs))
    }

    fn kernels(&self, _inputs: &[&Meta], _output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        Vec::new()
    }

    fn with_epilogue(&self, epilogue: &Expression) -> Option<Arc<dyn Op>> {
        let fused = || Arc::new(Self { epilogue: Some(epilogue.clone()), ..*self }) as Arc<dyn Op>;
        self.epilogue.is_none().then(fused)
    }

    fn magnitude(&self) -> Option<Arc<dyn Op>> {
        let epilogue = Some(self.epilogue.as_ref()?.magnitude());
        Some(Arc::new(Self { epilogue, ..*self }))
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        epilogue::tolerance(self.epilogue.as_ref(), self.geometry(inputs).terms())
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        self.geometry(inputs).flops()
    }
}

/// The gradient of a convolution and the 2×2 maximum pooling after it for the weight: from `input`, `weight` and the
/// gradient for the maxima to the weight's shape. The results are computed once more, and nothing of their size comes to
/// memory. Made by [`Op::absorb`] on the CPU.
#[derive(Clone, Debug)]
pub struct Conv2dMaxPoolGradWeight {
    conv: Conv2d,
}

impl Conv2dMaxPoolGradWeight {
    pub(super) fn new(conv: Conv2d) -> Self {
        Self { conv }
    }

    /// With its inputs, in place of the gradient of a convolution for the weight, from `input` and `grad`.
    pub(super) fn absorbing(graph: &Graph, conv: Conv2d, input: Value, grad: Value) -> Option<(Self, Vec<Value>)> {
        let node = graph.node(grad);
        let pooling: &MaxPool2dGrad = node.downcast()?;
        let [results, _, grad] = node.inputs[..] else { return None };
        let node = graph.node(results);
        let forward: &Conv2dForward = node.downcast()?;
        let (inputs, weight) = (&node.inputs, *node.inputs.get(1)?);
        let g = forward.geometry(&[graph.meta(input), graph.meta(weight)]);
        let same = inputs[..] == [input, weight] && forward.conv == conv && pooling.pool() == HALVES;
        (same && cpu::grad_weight_pools(&g)).then(|| (Self::new(conv), vec![input, weight, grad]))
    }

    fn geometry(&self, inputs: &[&Meta]) -> Geometry {
        Conv2dForward::new(self.conv).geometry(inputs)
    }
}

impl Op for Conv2dMaxPoolGradWeight {
    fn name(&self) -> &'static str {
        "conv2d_max_pool2d_grad_weight"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let maxima = pooled(&Conv2dForward::new(self.conv).infer(&inputs[..2])?)?;
        if *inputs[2] != maxima {
            return Err(Error::shape(self.name(), format!("the maxima are {maxima}, not {}", inputs[2])));
        }
        Ok(inputs[1].clone())
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let (input, weight, grad) = (inputs[0], inputs[1], inputs[2]);
        let g = Geometry::new(&self.conv, input.shape.dims(), weight.shape.dims()).expect("the shapes were checked");
        let results = Meta::f32([g.n, g.output[0], g.output[1], g.filters]);
        let forward = Conv2dForward::new(self.conv).reference(&[input, weight], &results);
        let maxima = Pool2dForward::max(HALVES).reference(&[&forward], &Meta::f32(grad.shape.clone()));
        let spread = MaxPool2dGrad::new(HALVES).reference(&[&forward, &maxima, grad], &results);
        Conv2dGradWeight::new(self.conv, g.window.size).reference(&[input, &spread], output)
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let g = self.geometry(&[inputs[0].meta, inputs[1].meta]);
        cpu::grad_weight_pooled(&g, inputs[0].f32(), inputs[1].f32(), inputs[2].f32(), output.f32(), scratch);
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        cpu::grad_weight_pooled_scratch(&self.geometry(inputs))
    }

    fn kernels(&self, _inputs: &[&Meta], _output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        Vec::new()
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        let g = self.geometry(inputs);
        Tolerance::Sum(g.n * g.pixels())
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        self.geometry(inputs).flops()
    }
}
