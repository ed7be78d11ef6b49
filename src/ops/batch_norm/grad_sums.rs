use super::channels::{Channels, Source, accumulate, fold};
use crate::error::{Error, Result};
use crate::graph::{Binding, Capabilities, Kernel, Op, Tolerance, wgsl_f32};
use crate::ops::{Sample, sample::Given};
use crate::tensor::{Array, Meta, View, ViewMut};

/// What the gradient of batch normalisation needs of a whole channel, and at once the gradients of `beta` and `gamma`:
/// x `[.., c]`, gradient `[.., c]`, moments `[2, c]` to `[2, c]`, the sum of the gradient and its sum times
/// `(x - mean) / sqrt(variance + epsilon)`.
#[derive(Clone, Debug)]
pub struct BatchNormGradSums {
    pub(super) epsilon: f32,
}

impl Op for BatchNormGradSums {
    fn name(&self) -> &'static str {
        "batch_norm_grad_sums"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let result = Channels::result(self.name(), inputs[0])?;
        if inputs[1] != inputs[0] || *inputs[2] != result {
            let message = format!("x {}, gradient {} and moments {} do not fit", inputs[0], inputs[1], inputs[2]);
            return Err(Error::shape(self.name(), message));
        }
        Ok(result)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let Channels { rows, channels } = Channels::of(&inputs[0].shape);
        let [x, grad, moments] = [0, 1, 2].map(|i| &inputs[i].data);
        Array::from_fn(&output.shape, |i| {
            let c = i % channels;
            let inverse = 1.0 / (moments[channels + c] + f64::from(self.epsilon)).sqrt();
            let normalised = |at: usize| (x[at] - moments[c]) * inverse;
            let column = (0..rows).map(|r| r * channels + c);
            column.map(|at| if i < channels { grad[at] } else { grad[at] * normalised(at) }).sum()
        })
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let all = Channels::of(&inputs[0].meta.shape);
        let c = all.channels;
        let (mean, variance) = inputs[2].f32().split_at(c);
        all.cpu(
            [inputs[0].f32(), inputs[1].f32()],
            output.f32(),
            scratch,
            |[x, grad], [sums, products]| {
                // The mean of each lane, until the sums take its place.
                sums.chunks_exact_mut(c).for_each(|row| row.copy_from_slice(mean));
                accumulate(products, sums, [x, grad], |mean, [x, g]| g * (x - mean));
                fold(products, c);
                accumulate(sums, products, [grad], |_, [g]| g);
                fold(sums, c);
            },
            |parts, [sums, products]| {
                sums.iter_mut().zip(parts.sum(|_, _, sum, _| sum)).for_each(|(to, s)| *to = s as f32);
                products.iter_mut().zip(parts.sum(|_, _, _, product| product)).for_each(|(to, s)| *to = s as f32);
            },
        );
        let products = &mut output.f32()[c..];
        products.iter_mut().zip(variance).for_each(|(product, v)| *product /= (v + self.epsilon).sqrt());
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        Channels::of(&inputs[0].shape).cpu_scratch()
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let rows = include_str!("../../../shaders/common/grad_sums_of_rows.wgsl");
        let parts = include_str!("../../../shaders/common/grad_sums_of_parts.wgsl");
        let rows = Source {
            snippet: format!("const EPSILON: f32 = {};\n{rows}", wgsl_f32(self.epsilon)),
            bindings: &[Binding::Input(0), Binding::Input(1), Binding::Input(2)],
        };
        Channels::of(&inputs[0].shape).kernels(&rows, parts, capabilities)
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Normalized
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        4 * inputs[0].elements() as u64
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let sample = |shape: &[usize], mean: f64| {
        let moments = Given::uniform(&[2, shape[shape.len() - 1]], mean + 0.1, mean + 0.5);
        let x = Given::uniform(shape, mean - 1.0, mean + 1.0);
        let inputs = [x, Given::uniform(shape, -1.0, 1.0), moments];
        Sample::of(BatchNormGradSums { epsilon: 1e-3 }, inputs).forward_only()
    };
    let shapes = super::SHAPES.iter().chain(super::LONG);
    shapes.map(|shape| sample(shape, 0.0)).chain([sample(&[9, 4, 4, 8], 100.0)]).collect()
}
