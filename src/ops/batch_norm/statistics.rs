use super::channels::{Channels, Source, Text, accumulate, fold};
use super::{BatchNorm, expect_channels};
use crate::error::Result;
use crate::graph::{Capabilities, Kernel, Op, Tolerance};
use crate::ops::{Sample, sample::Given};
use crate::tensor::{Array, Meta, View, ViewMut};

/// All that batch normalisation takes from a batch: x `[.., c]`, gamma, running mean and running variance `[c]` to `[5, c]`.
/// The rows are mean, biased variance, gamma / sqrt(variance + epsilon), and what the running ones become.
///
/// Parts of the rows of x are reduced to their mean and their squared differences from it, which are then combined (Chan,
/// Golub & LeVeque 1979, <http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf>): a large mean costs no
/// accuracy.
#[derive(Clone, Debug)]
pub struct BatchStatistics(pub(super) BatchNorm);

/// Rows of the result.
pub(super) const MEAN: usize = 0;
pub(super) const VARIANCE: usize = 1;
pub(super) const SCALE: usize = 2;
pub(super) const NEXT_MEAN: usize = 3;
pub(super) const NEXT_VARIANCE: usize = 4;
const ROWS: usize = 5;

impl Op for BatchStatistics {
    fn name(&self) -> &'static str {
        "batch_statistics"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let vectors = [("gamma", inputs[1]), ("running mean", inputs[2]), ("running variance", inputs[3])];
        expect_channels(inputs[0], &vectors)?;
        Channels::result(self.name(), inputs[0], ROWS)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let Channels { rows, channels } = Channels::of(&inputs[0].shape);
        let [gamma, running_mean, running_variance] = [1, 2, 3].map(|i| &inputs[i].data);
        let BatchNorm { epsilon, momentum } = self.0;
        Array::from_fn(&output.shape, |i| {
            let c = i % channels;
            let column = || (0..rows).map(|r| inputs[0].data[r * channels + c]);
            let mean = column().sum::<f64>() / rows as f64;
            let variance = column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / rows as f64;
            match i / channels {
                MEAN => mean,
                VARIANCE => variance,
                SCALE => gamma[c] / (variance + f64::from(epsilon)).sqrt(),
                NEXT_MEAN => momentum * running_mean[c] + (1.0 - momentum) * mean,
                _ => momentum * running_variance[c] + (1.0 - momentum) * variance,
            }
        })
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let all = Channels::of(&inputs[0].meta.shape);
        let c = all.channels;
        let (moments, derived) = output.f32().split_at_mut(2 * c);
        all.cpu(
            [inputs[0].f32()],
            moments,
            scratch,
            #[inline(always)]
            |[x], [mean, squares]| {
                // Shifted by the first row: sums of what is left are not rounded to a large mean's last digits.
                let shift = &x[..c];
                squares.chunks_exact_mut(c).for_each(|row| row.copy_from_slice(shift));
                accumulate(mean, squares, [x], |shift, [x]| x - shift);
                fold(mean, c);
                let share = c as f32 / x.len() as f32;
                mean[..c].iter_mut().zip(shift).for_each(|(m, shift)| *m = shift + *m * share);
                for lane in c..mean.len() {
                    mean[lane] = mean[lane - c];
                }
                accumulate(squares, mean, [x], |mean, [x]| (x - mean) * (x - mean));
                fold(squares, c);
            },
            #[inline(always)]
            |parts, [mean, variance]| {
                let share = 1.0 / all.rows as f64;
                let means = parts.sum(|_, n, m, _| n * m).map(|sum| sum * share);
                let squares = parts.sum(|j, n, m, squares| squares + n * (m - means[j]) * (m - means[j]));
                mean.iter_mut().zip(means).for_each(|(to, m)| *to = m as f32);
                variance.iter_mut().zip(squares).for_each(|(to, s)| *to = (s * share) as f32);
            },
        );
        let (mean, variance) = moments.split_at(c);
        let [gamma, running_mean, running_variance] = [1, 2, 3].map(|i| inputs[i].f32());
        let [kept, taken] = self.0.shares();
        for i in 0..c {
            derived[i] = gamma[i] / (variance[i] + self.0.epsilon).sqrt();
            derived[c + i] = kept * running_mean[i] + taken * mean[i];
            derived[2 * c + i] = kept * running_variance[i] + taken * variance[i];
        }
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        Channels::of(&inputs[0].shape).cpu_scratch()
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let [kept, taken] = self.0.shares();
        let source = Source {
            constants: &[("EPSILON", self.0.epsilon), ("KEPT", kept), ("TAKEN", taken)],
            part: include_str!("../../../shaders/common/moments.wgsl"),
            rows: Text { text: include_str!("../../../shaders/common/moments_of_rows.wgsl"), inputs: &[(0, "input")] },
            parts: include_str!("../../../shaders/common/moments_of_parts.wgsl"),
            finish: Text {
                text: include_str!("../../../shaders/common/statistics_store.wgsl"),
                inputs: &[(1, "gamma"), (2, "running_mean"), (3, "running_variance")],
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
        let channels = [shape[shape.len() - 1]];
        let x = Given::uniform(shape, mean - 1.0, mean + 1.0);
        let vector = |low, high| Given::uniform(&channels, low, high);
        let inputs = [x, vector(0.5, 1.5), vector(mean - 0.5, mean + 0.5), vector(0.1, 1.0)];
        Sample::of(BatchStatistics(super::SAMPLE), inputs).forward_only()
    };
    let shapes = super::SHAPES.iter().chain(super::LONG);
    shapes.map(|shape| sample(shape, 0.0)).chain([sample(&[9, 4, 4, 8], 100.0)]).collect()
}
