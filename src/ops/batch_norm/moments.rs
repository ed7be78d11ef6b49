use super::channels::{Channels, Source, accumulate, fold};
use crate::error::Result;
use crate::graph::{Backward, Binding, Capabilities, Expression, Graph, Kernel, Op, Term, Tolerance, Value};
use crate::ops::{Pointwise, Sample, sample::Given};
use crate::tensor::{Array, Meta, View, ViewMut};

/// Mean and biased variance of each channel: `[.., c]` to `[2, c]`.
///
/// Parts of the rows are reduced to their mean and their squared differences from it, which are then combined (Chan,
/// Golub & LeVeque 1979, <http://i.stanford.edu/pub/cstr/reports/cs/tr/79/773/CS-TR-79-773.pdf>): a large mean costs no
/// accuracy.
#[derive(Clone, Debug)]
pub struct Moments;

impl Op for Moments {
    fn name(&self) -> &'static str {
        "moments"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        Channels::result("moments", inputs[0])
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        let x = at.inputs[0];
        let shape = graph.shape(x).clone();
        let share = 1.0 / Channels::of(&shape).rows as f32;
        let mean = super::row(graph, at.output, 0)?;
        let grad_mean = super::row(graph, at.grad, 0)?;
        let grad_variance = super::row(graph, at.grad, 1)?;
        let total = Expression::new(|[x, mean, grad_mean, grad_variance]: [Term; 4]| {
            (grad_mean + 2.0 * (x - mean) * grad_variance) * share
        });
        graph.apply(Pointwise::new(total, shape), &[x, mean, grad_mean, grad_variance]).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let Channels { rows, channels } = Channels::of(&inputs[0].shape);
        Array::from_fn(&output.shape, |i| {
            let column = || (0..rows).map(|r| inputs[0].data[r * channels + i % channels]);
            let mean = column().sum::<f64>() / rows as f64;
            if i < channels { mean } else { column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / rows as f64 }
        })
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let all = Channels::of(&inputs[0].meta.shape);
        let c = all.channels;
        all.cpu(
            [inputs[0].f32()],
            output.f32(),
            scratch,
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
            |parts, [mean, variance]| {
                let share = 1.0 / all.rows as f64;
                let means = parts.sum(|_, n, m, _| n * m).map(|sum| sum * share);
                let squares = parts.sum(|j, n, m, squares| squares + n * (m - means[j]) * (m - means[j]));
                mean.iter_mut().zip(means).for_each(|(to, m)| *to = m as f32);
                variance.iter_mut().zip(squares).for_each(|(to, s)| *to = (s * share) as f32);
            },
        );
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        Channels::of(&inputs[0].shape).cpu_scratch()
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let common = include_str!("../../../shaders/common/moments.wgsl");
        let rows = include_str!("../../../shaders/common/moments_of_rows.wgsl");
        let parts = include_str!("../../../shaders/common/moments_of_parts.wgsl");
        let rows = Source { snippet: [common, rows].concat(), bindings: &[Binding::Input(0)] };
        Channels::of(&inputs[0].shape).kernels(&rows, &[common, parts].concat(), capabilities)
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Normalized
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        4 * inputs[0].elements() as u64
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let sample = |shape: &[usize]| Sample::new(Moments, [shape]);
    let mut samples: Vec<Sample> =
        super::SHAPES.iter().chain([&[1, 1, 1, 5][..], &[3, 40][..]].iter()).map(|shape| sample(shape)).collect();
    samples.extend(super::LONG.iter().map(|shape| sample(shape).forward_only()));
    samples.push(Sample::of(Moments, [Given::uniform(&[9, 4, 4, 8], 99.0, 101.0)]));
    samples
}
