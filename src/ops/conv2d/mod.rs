//! Two-dimensional convolution and its gradients. As everywhere in deep learning the kernel is not flipped:
//! `output[i, j] = Σ input[i·stride + m·dilation, j·stride + n·dilation] · weight[m, n]` (cross-correlation).
//!
//! The gradients for input and weight are ops of their own, with reference and kernels like any other; the gradient for a
//! bias is a sum over rows.

mod cpu;
mod grad_input;
mod grad_weight;
mod kernels;
mod max_pool;
mod points;
mod samples;
mod winograd;

use std::sync::Arc;

pub use grad_input::{Conv2dGradInput, conv2d_grad_input};
pub use grad_weight::{Conv2dGradWeight, conv2d_grad_weight};
pub use max_pool::{Conv2dMaxPool, Conv2dMaxPoolGradWeight};
pub(super) use samples::samples;

use super::epilogue::{self, Epilogue};
use super::window::Window;
use crate::error::{Error, Result};
use crate::graph::{Backward, Capabilities, Expression, Graph, Kernel, Op, Tolerance, Value};
use crate::tensor::{Array, DType, Meta, View, ViewMut};

/// Attributes of a convolution. Pairs are `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Pixels from one position of the kernel to the next.
    pub stride: [usize; 2],
    /// Zeros added at the top, bottom, left and right; see [`Padding::resolve`](super::Padding::resolve).
    pub padding: [usize; 4],
    /// Pixels from one tap of the kernel to the next.
    pub dilation: [usize; 2],
    /// Groups of channels that do not mix; as many as there are input channels makes it depthwise.
    pub groups: usize,
}

impl Default for Conv2d {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 4], dilation: [1; 2], groups: 1 }
    }
}

/// All extents of a convolution.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    n: usize,
    input: [usize; 2],
    channels: usize,
    output: [usize; 2],
    filters: usize,
    groups: usize,
    window: Window,
}

impl Geometry {
    /// Of an input `[n, h, w, c]` and a weight `[kh, kw, c / groups, o]`.
    fn new(conv: &Conv2d, input: &[usize], weight: &[usize]) -> Result<Self> {
        let ([n, h, w, channels], [kh, kw, per_group, filters]) = (input, weight) else {
            let message =
                format!("input and weight must have 4 dimensions, they have {} and {}", input.len(), weight.len());
            return Err(Error::shape("conv2d", message));
        };
        let groups = conv.groups;
        if groups == 0 || per_group * groups != *channels {
            let message = format!(
                "input has {channels} channels, but the weight expects {} ({per_group} in each of {groups} groups)",
                per_group * groups
            );
            return Err(Error::shape("conv2d", message));
        }
        if filters % groups != 0 || *filters == 0 {
            return Err(Error::shape("conv2d", format!("{filters} filters do not divide into {groups} groups")));
        }
        let Conv2d { stride, padding, dilation, .. } = *conv;
        let window = Window { size: [*kh, *kw], stride, padding, dilation };
        let output = window.output("conv2d", [*h, *w])?;
        Ok(Self { n: *n, input: [*h, *w], channels: *channels, output, filters: *filters, groups, window })
    }

    /// Input channels of a group.
    fn channels_in(&self) -> usize {
        self.channels / self.groups
    }

    /// Filters of a group.
    fn filters_in(&self) -> usize {
        self.filters / self.groups
    }

    /// Terms of one output element.
    fn terms(&self) -> usize {
        self.window.size[0] * self.window.size[1] * self.channels_in()
    }

    fn input_len(&self) -> usize {
        self.input[0] * self.input[1] * self.channels
    }

    /// Output pixels of an image.
    fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    fn output_len(&self) -> usize {
        self.pixels() * self.filters
    }

    fn is_depthwise(&self) -> bool {
        self.channels_in() == 1 && self.filters_in() == 1
    }

    fn flops(&self) -> u64 {
        2 * (self.n * self.output_len() * self.terms()) as u64
    }

    /// Calls `f` with the positions in input, weight and output of each product of the definition.
    fn each_product(&self, mut f: impl FnMut(usize, usize, usize)) {
        let ([h, w], [oh, ow], [kh, kw]) = (self.input, self.output, self.window.size);
        let (cg, og) = (self.channels_in(), self.filters_in());
        for (image, oy, ox) in (0..self.n).flat_map(|i| (0..oh).flat_map(move |y| (0..ow).map(move |x| (i, y, x)))) {
            for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
                let (Some(y), Some(x)) = (self.window.pixel(0, oy, ky, h), self.window.pixel(1, ox, kx, w)) else {
                    continue;
                };
                for o in 0..self.filters {
                    for c in 0..cg {
                        let input = ((image * h + y) * w + x) * self.channels + o / og * cg + c;
                        let weight = ((ky * kw + kx) * cg + c) * self.filters + o;
                        f(input, weight, ((image * oh + oy) * ow + ox) * self.filters + o);
                    }
                }
            }
        }
    }
}

fn expect_floats(inputs: &[&Meta]) -> Result<()> {
    match inputs.iter().find(|m| m.dtype != DType::F32) {
        Some(other) => Err(Error::shape("conv2d", format!("takes floats, not {other}"))),
        None => Ok(()),
    }
}

/// The op of [`conv2d`].
#[derive(Clone, Debug)]
pub struct Conv2dForward {
    pub(crate) conv: Conv2d,
    epilogue: Option<Expression>,
}

impl Conv2dForward {
    /// A convolution with these attributes.
    pub fn new(conv: Conv2d) -> Self {
        Self { conv, epilogue: None }
    }

    fn geometry(&self, inputs: &[&Meta]) -> Geometry {
        Geometry::new(&self.conv, inputs[0].dims(), inputs[1].dims()).expect("the shapes were checked before")
    }
}

impl Op for Conv2dForward {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        expect_floats(inputs)?;
        let g = Geometry::new(&self.conv, inputs[0].dims(), inputs[1].dims())?;
        let output = Meta::f32([g.n, g.output[0], g.output[1], g.filters]);
        epilogue::check("conv2d", self.epilogue.as_ref(), &inputs[2..], &output.shape)?;
        Ok(output)
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        if self.epilogue.is_some() {
            return Err(Error::shape("conv2d", "a convolution is differentiated before it is fused"));
        }
        let (input, weight) = (at.inputs[0], at.inputs[1]);
        if of == 0 {
            let [_, h, w, _] = graph.shape(input).expect("conv2d", "input")?;
            conv2d_grad_input(graph, at.grad, weight, self.conv, [h, w]).map(Some)
        } else {
            let [kh, kw, ..] = graph.shape(weight).expect::<4>("conv2d", "weight")?;
            conv2d_grad_weight(graph, input, at.grad, self.conv, [kh, kw]).map(Some)
        }
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let (input, weight) = (inputs[0], inputs[1]);
        let g = Geometry::new(&self.conv, input.shape.dims(), weight.shape.dims()).expect("the shapes were checked");
        let mut result = Array::zeros(&output.shape);
        g.each_product(|i, w, o| result.data[o] += input.data[i] * weight.data[w]);
        epilogue::reference(self.epilogue.as_ref(), result, &inputs[2..])
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let g = self.geometry(&[inputs[0].meta, inputs[1].meta]);
        let epilogue = Epilogue::new(self.epilogue.as_ref(), &inputs[2..], &output.meta.shape);
        cpu::forward(&g, inputs[0].f32(), inputs[1].f32(), output.f32(), &epilogue, scratch);
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        cpu::forward_scratch(&self.geometry(inputs))
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        kernels::forward(&self.geometry(inputs), self.epilogue.as_ref(), inputs, output, capabilities)
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

/// Convolves `input` `[n, h, w, c]` with `weight` `[kh, kw, c / groups, o]`; gives `[n, h', w', o]`.
///
/// Errors: if the channels do not fit, or the kernel does not fit the padded input.
pub fn conv2d(graph: &mut Graph, input: Value, weight: Value, conv: Conv2d) -> Result<Value> {
    graph.apply(Conv2dForward::new(conv), &[input, weight])
}
