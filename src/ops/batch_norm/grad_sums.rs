use super::channels::{Channels, Source, Text, accumulate, fold};
use super::{SCALE, VARIANCE};
use crate::error::{Error, Result};
use crate::graph::{Capabilities, Kernel, Op, Tolerance};
use crate::ops::{Sample, sample::Given};
use crate::tensor::{Array, Meta, View, ViewMut};

/// What the gradient of batch normalisation needs of a whole channel: x `[.., c]`, gradient `[.., c]` and the result of
/// [`BatchStatistics`](super::BatchStatistics) for x to `[4, c]`.
///
/// The rows are the sum of the gradient, which is that of beta; its sum times x̂ = (x - mean) / sqrt(variance + epsilon),
/// which is that of gamma; and, with scale = gamma / sqrt(variance + epsilon), the shift and the slope in
/// `dx = scale · g - shift - slope · (x - mean)`: scale · sum / n and scale · product / n / sqrt(variance + epsilon).
#[derive(Clone, Debug)]
pub struct BatchNormGradSums {
    pub(super) epsilon: f32,
}

/// Rows of the result.
pub(super) const GRAD_BETA: usize = 0;
pub(super) const GRAD_GAMMA: usize = 1;
pub(super) const SHIFT: usize = 2;
pub(super) const SLOPE: usize = 3;
const ROWS: usize = 4;

impl Op for BatchNormGradSums {
    fn name(&self) -> &'static str {
        "batch_norm_grad_sums"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let result = Channels::result(self.name(), inputs[0], ROWS)?;
        let statistics = inputs[2];
        if inputs[1] != inputs[0] || statistics.dims().len() != 2 || statistics.shape.last() != result.shape.last() {
            let message = format!("x {}, gradient {} and statistics {statistics} do not fit", inputs[0], inputs[1]);
            return Err(Error::shape(self.name(), message));
        }
        Ok(result)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let Channels { rows, channels } = Channels::of(&inputs[0].shape);
        let [x, grad, statistics] = [0, 1, 2].map(|i| &inputs[i].data);
        Array::from_fn(&output.shape, |i| {
            let c = i % channels;
            let inverse = 1.0 / (statistics[VARIANCE * channels + c] + f64::from(self.epsilon)).sqrt();
            let share = statistics[SCALE * channels + c] / rows as f64;
            let column = || (0..rows).map(|r| r * channels + c);
            let sum = || column().map(|at| grad[at]).sum::<f64>();
            let product = || column().map(|at| grad[at] * (x[at] - statistics[c]) * inverse).sum::<f64>();
            match i / channels {
                GRAD_BETA => sum(),
                GRAD_GAMMA => product(),
                SHIFT => sum() * share,
                _ => product() * share * inverse,
            }
        })
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let all = Channels::of(&inputs[0].meta.shape);
        let c = all.channels;
        let statistics = |row: usize| &inputs[2].f32()[row * c..][..c];
        let mean = statistics(0);
        let (sums, derived) = output.f32().split_at_mut(2 * c);
        all.cpu(
            [inputs[0].f32(), inputs[1].f32()],
            sums,
            scratch,
            #[inline(always)]
            |[x, grad], [sums, products]| {
                // The mean of each lane, until the sums take its place.
                sums.chunks_exact_mut(c).for_each(|row| row.copy_from_slice(mean));
                accumulate(products, sums, [x, grad], |mean, [x, g]| g * (x - mean));
                fold(products, c);
                accumulate(sums, products, [grad], |_, [g]| g);
                fold(sums, c);
            },
            #[inline(always)]
            |parts, [sums, products]| {
                sums.iter_mut().zip(parts.sum(|_, _, sum, _| sum)).for_each(|(to, s)| *to = s as f32);
                products.iter_mut().zip(parts.sum(|_, _, _, product| product)).for_each(|(to, s)| *to = s as f32);
            },
        );
        let (sums, products) = sums.split_at_mut(c);
        let (variance, scale) = (statistics(VARIANCE), statistics(SCALE));
        for i in 0..c {
            let inverse = 1.0 / (variance[i] + self.epsilon).sqrt();
            let share = scale[i] / all.rows as f32;
            products[i] *= inverse;
            derived[i] = sums[i] * share;
            derived[c + i] = products[i] * share * inverse;
        }
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        Channels::of(&inputs[0].shape).cpu_scratch()
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let source = Source {
            constants: &[("EPSILON", self.epsilon)],
            part: include_str!("../../../shaders/common/grad_sums.wgsl"),
            rows: Text {
                text: include_str!("../../../shaders/common/grad_sums_of_rows.wgsl"),
                inputs: &[(0, "input"), (1, "grad"), (2, "statistics")],
            },
            parts: include_str!("../../../shaders/common/grad_sums_of_parts.wgsl"),
            finish: Text {
                text: include_str!("../../../shaders/common/grad_sums_store.wgsl"),
                inputs: &[(2, "statistics")],
            },
        };
        Channels::of(&inputs[0].shape).kernels(&source, capabilities)
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Statistics
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        4 * inputs[0].elements() as u64
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let sample = |shape: &[usize], mean: f64| {
        let statistics = Given::uniform(&[5, shape[shape.len() - 1]], mean + 0.1, mean + 0.5);
        let x = Given::uniform(shape, mean - 1.0, mean + 1.0);
        let inputs = [x, Given::uniform(shape, -1.0, 1.0), statistics];
        Sample::of(BatchNormGradSums { epsilon: 1e-3 }, inputs).forward_only()
    };
    let shapes = super::SHAPES.iter().chain(super::LONG);
    shapes.map(|shape| sample(shape, 0.0)).chain([sample(&[9, 4, 4, 8], 100.0)]).collect()
}
