//! Batch normalisation (Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>):
//! `y = (x - mean) / sqrt(variance + epsilon) · gamma + beta`, by channel, which is the last axis.
//!
//! In training, mean and variance are those of the batch; the variance is the biased one, as in Keras. Forward and
//! backward read a tensor twice each: a reduction to all that is needed by channel, as rows `[.., c]`, then a pointwise
//! chain, which reads the rows in place and fuses with what surrounds it.

mod channels;
mod grad_sums;
mod statistics;

use channels::Channels;
pub use grad_sums::BatchNormGradSums;
use grad_sums::{GRAD_BETA, GRAD_GAMMA, SHIFT, SLOPE};
pub use statistics::BatchStatistics;
use statistics::{MEAN, NEXT_MEAN, NEXT_VARIANCE, SCALE, VARIANCE};

use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Capabilities, Expression, Function, Graph, Kernel, Op, Term, Tolerance, Value};
use crate::tensor::{Array, Meta, View, ViewMut};

/// Normalises x `[.., c]` by the moments of each channel, then scales by gamma `[c]` and shifts by beta `[c]`. Further inputs
/// are the running mean and variance `[c]`. See [`batch_norm`].
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// The share of the running statistics that is kept in a step.
    pub momentum: f64,
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        Channels::result("batch_norm", inputs[0], 1)?;
        let names = ["gamma", "beta", "running mean", "running variance"];
        expect_channels(inputs[0], &names.into_iter().zip(inputs[1..].iter().copied()).collect::<Vec<_>>())?;
        expect_epsilon(self.epsilon)?;
        Ok(inputs[0].clone())
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        let statistics = self.statistics(graph, at.inputs)?;
        let sums = BatchNormGradSums { epsilon: self.epsilon };
        let sums = graph.apply(sums, &[at.inputs[0], at.grad, statistics])?;
        match of {
            0 => {
                let [mean, scale] = rows(graph, statistics, [MEAN, SCALE])?;
                let [shift, slope] = rows(graph, sums, [SHIFT, SLOPE])?;
                let total = Expression::new(|[x, grad, mean, scale, shift, slope]: [Term; 6]| {
                    grad * scale - shift - (x - mean) * slope
                });
                super::pointwise(graph, total, &[at.inputs[0], at.grad, mean, scale, shift, slope]).map(Some)
            }
            1 => row(graph, sums, GRAD_GAMMA).map(Some),
            2 => row(graph, sums, GRAD_BETA).map(Some),
            _ => Ok(None),
        }
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let c = output.shape.last();
        let given = [inputs[0], inputs[1], inputs[3], inputs[4]];
        let statistics = BatchStatistics(*self).reference(&given, &Meta::f32([NEXT_VARIANCE + 1, c])).data;
        let at = |row: usize, i: usize| statistics[row * c + i % c];
        Array::from_fn(&output.shape, |i| (inputs[0].data[i] - at(MEAN, i)) * at(SCALE, i) + inputs[2].data[i % c])
    }

    fn lower(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Option<Value>> {
        let statistics = self.statistics(graph, inputs)?;
        let [mean, scale] = rows(graph, statistics, [MEAN, SCALE])?;
        let normalised = Expression::new(|[x, mean, scale, beta]: [Term; 4]| (x - mean) * scale + beta);
        super::pointwise(graph, normalised, &[inputs[0], mean, scale, inputs[2]]).map(Some)
    }

    fn cpu(&self, _inputs: &[View<'_>], _output: ViewMut<'_>, _scratch: &mut [f32]) {
        unreachable!("batch_norm is made of other ops before it runs");
    }

    fn kernels(&self, _inputs: &[&Meta], _output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        unreachable!("batch_norm is made of other ops before it runs");
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Normalized
    }
}

impl BatchNorm {
    /// The statistics of a batch, from the op's inputs. However often it is asked for: equal ops are computed once.
    fn statistics(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Value> {
        graph.apply(BatchStatistics(*self), &[inputs[0], inputs[1], inputs[3], inputs[4]])
    }

    /// The shares of the running statistics and of the batch's in the next running ones.
    fn shares(self) -> [f32; 2] {
        [self.momentum as f32, (1.0 - self.momentum) as f32]
    }
}

fn expect_channels(x: &Meta, vectors: &[(&str, &Meta)]) -> Result<()> {
    let wanted = Meta::f32([x.shape.last()]);
    match vectors.iter().find(|(_, meta)| **meta != wanted) {
        Some((name, meta)) => Err(Error::shape("batch_norm", format!("x {x} needs {name} {wanted}, not {meta}"))),
        None => Ok(()),
    }
}

fn expect_epsilon(epsilon: f32) -> Result<()> {
    if epsilon > 0.0 && epsilon.is_finite() {
        return Ok(());
    }
    Err(Error::shape("batch_norm", format!("epsilon must be positive, but it is {epsilon}")))
}

/// Row `i` of a matrix, as a vector.
fn row(graph: &mut Graph, matrix: Value, i: usize) -> Result<Value> {
    let columns = graph.shape(matrix).last();
    let row = super::slice(graph, matrix, &[i..i + 1, 0..columns])?;
    super::reshape(graph, row, [columns])
}

fn rows<const N: usize>(graph: &mut Graph, matrix: Value, which: [usize; N]) -> Result<[Value; N]> {
    let mut found = [matrix; N];
    for (value, i) in found.iter_mut().zip(which) {
        *value = row(graph, matrix, i)?;
    }
    Ok(found)
}

/// Batch normalisation as in training, of x `[n, .., c]`, with gamma, beta and the running mean and variance, `[c]` each.
/// Returns y, shaped as x, and what the running mean and variance become:
/// `momentum running + (1 - momentum) batch`, with the biased variance of the batch.
///
/// Errors: if the shapes do not fit, or `epsilon` is not positive.
pub fn batch_norm(
    graph: &mut Graph,
    x: Value,
    [gamma, beta]: [Value; 2],
    [mean, variance]: [Value; 2],
    op: BatchNorm,
) -> Result<(Value, Value, Value)> {
    let inputs = [x, gamma, beta, mean, variance];
    let y = graph.apply(op, &inputs)?;
    let statistics = op.statistics(graph, &inputs)?;
    let [next_mean, next_variance] = rows(graph, statistics, [NEXT_MEAN, NEXT_VARIANCE])?;
    Ok((y, next_mean, next_variance))
}

/// Batch normalisation with a given mean `[c]` and variance `[c]`, the running averages: what a trained network does.
///
/// Errors: if the shapes do not fit, or `epsilon` is not positive.
pub fn batch_norm_inference(
    graph: &mut Graph,
    x: Value,
    gamma: Value,
    beta: Value,
    mean: Value,
    variance: Value,
    epsilon: f32,
) -> Result<Value> {
    expect_epsilon(epsilon)?;
    let metas = [gamma, beta, mean, variance].map(|v| graph.meta(v));
    let names = ["gamma", "beta", "mean", "variance"];
    expect_channels(graph.meta(x), &std::array::from_fn::<_, 4, _>(|i| (names[i], metas[i])))?;
    let inverse = super::apply(graph, variance, |v| (v + epsilon).call(Function::Rsqrt))?;
    let scale = super::mul(graph, gamma, inverse)?;
    let centred = super::sub(graph, x, mean)?;
    let scaled = super::mul(graph, centred, scale)?;
    super::add(graph, scaled, beta)
}

/// Odd sizes, one channel, a multiple of four, more channels than a tree has lanes.
const SHAPES: &[&[usize]] =
    &[&[4, 3, 5, 3], &[1, 1, 1, 5], &[3, 40], &[6, 2, 3, 8], &[33, 5], &[2, 5, 7, 1], &[5, 2, 2, 33], &[17, 36]];
/// Enough rows for two stages on every adapter.
const LONG: &[&[usize]] = &[&[3, 50, 67, 8], &[20_011, 3], &[70_001, 1], &[8200, 36]];

/// Attributes of the samples.
const SAMPLE: BatchNorm = BatchNorm { epsilon: 1e-3, momentum: 0.9 };

pub(super) fn samples() -> Vec<Sample> {
    let sample = |shape: &[usize], mean: f64| {
        let channels = [shape[shape.len() - 1]];
        let x = Given::uniform(shape, mean - 1.0, mean + 1.0);
        let vector = |low, high| Given::uniform(&channels, low, high);
        let inputs = [x, vector(0.5, 1.5), vector(-1.0, 1.0), vector(-1.0, 1.0), vector(0.1, 1.0)];
        Sample::of(SAMPLE, inputs)
    };
    let mut samples: Vec<Sample> = SHAPES.iter().map(|shape| sample(shape, 0.0)).collect();
    samples.push(sample(&[9, 4, 4, 8], 100.0));
    samples.extend(LONG.iter().map(|shape| sample(shape, 0.5).forward_only()));
    samples.extend(statistics::samples());
    samples.extend(grad_sums::samples());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, evaluate};

    const X: [f64; 8] = [1.0, 2.0, 3.0, 2.5, 5.0, -1.0, 7.0, 4.5];
    const TWO: &[usize] = &[2];

    #[test]
    fn known_values() {
        let op = BatchNorm { epsilon: 1.0, momentum: 0.75 };
        let vectors = [[2.0, 1.0], [0.5, 0.0], [1.0, 2.0], [2.0, 4.0]];
        let given: Vec<(&[usize], &[f64])> =
            [(&[4, 2][..], &X[..])].into_iter().chain(vectors.iter().map(|v| (TWO, &v[..]))).collect();
        let run = |which: usize| {
            evaluate(&given, |g, v| {
                let (y, mean, variance) = batch_norm(g, v[0], [v[1], v[2]], [v[3], v[4]], op)?;
                Ok([y, mean, variance][which])
            })
        };
        // The batch has mean 4 and 2, variance 5 and 3.875.
        assert_close(&run(1).data, &[1.75, 2.0]);
        assert_close(&run(2).data, &[2.75, 3.96875]);
        let (a, b) = (2.0 / 6.0_f64.sqrt(), 1.0 / 4.875_f64.sqrt());
        let expected: Vec<f64> = X.chunks(2).flat_map(|r| [(r[0] - 4.0) * a + 0.5, (r[1] - 2.0) * b]).collect();
        assert_close(&run(0).data, &expected);
    }

    #[test]
    fn inference_is_training_with_given_moments() {
        let given: [(&[usize], &[f64]); 3] = [(&[4, 2], &X), (TWO, &[2.0, 1.0]), (TWO, &[0.5, 0.0])];
        // With nothing kept, the running statistics become the batch's.
        let op = BatchNorm { epsilon: 1e-3, momentum: 0.0 };
        let training = |g: &mut Graph, v: &[Value]| batch_norm(g, v[0], [v[1], v[2]], [v[1], v[2]], op);
        let expected = evaluate(&given, |g, v| Ok(training(g, v)?.0));
        let inference = evaluate(&given, |g, v| {
            let (_, mean, variance) = training(g, v)?;
            batch_norm_inference(g, v[0], v[1], v[2], mean, variance, 1e-3)
        });
        assert_close(&inference.data, &expected.data);
    }

    #[test]
    fn misfits_are_errors() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([4, 3]));
        let [three, two] = [3, 2].map(|c| graph.input("vector", Meta::f32([c])));
        let mut message = |x, parameters, running, epsilon| {
            let op = BatchNorm { epsilon, momentum: 0.9 };
            batch_norm(&mut graph, x, parameters, running, op).unwrap_err().to_string()
        };
        assert!(message(x, [two, three], [three; 2], 1e-3).contains("needs gamma f32[3], not f32[2]"));
        assert!(message(x, [three; 2], [three, two], 1e-3).contains("needs running variance f32[3], not f32[2]"));
        assert!(message(x, [three; 2], [three; 2], 0.0).contains("epsilon"));
        assert!(message(three, [three; 2], [three; 2], 1e-3).contains("channels"));
        assert!(batch_norm_inference(&mut graph, x, three, three, three, two, 1e-3).is_err());
    }
}
