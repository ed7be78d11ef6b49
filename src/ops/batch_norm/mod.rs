//! Batch normalisation (Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>):
//! `y = (x - mean) / sqrt(variance + epsilon) · gamma + beta`, by channel, which is the last axis.
//!
//! In training, mean and variance are those of the batch; the variance is the biased one, as in Keras. Forward and
//! backward read a tensor twice each: a reduction to `[2, c]`, then a pointwise chain, which fuses with what surrounds it.

mod channels;
mod grad_sums;
mod moments;

use channels::Channels;
pub use grad_sums::BatchNormGradSums;
pub use moments::Moments;

use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Capabilities, Expression, Function, Graph, Kernel, Op, Term, Tolerance, Value};
use crate::tensor::{Array, Meta, View, ViewMut};

/// Normalises x `[.., c]` by the moments of each channel, then scales by gamma `[c]` and shifts by beta `[c]`. See
/// [`batch_norm`].
#[derive(Clone, Debug)]
pub struct BatchNorm {
    epsilon: f32,
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        Channels::result("batch_norm", inputs[0])?;
        expect_channels(inputs[0], &[("gamma", inputs[1]), ("beta", inputs[2])])?;
        expect_epsilon(self.epsilon)?;
        Ok(inputs[0].clone())
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        let &[x, gamma, _] = at.inputs else { unreachable!("batch_norm has three inputs") };
        let moments = graph.apply(Moments, &[x])?;
        let sums = graph.apply(BatchNormGradSums { epsilon: self.epsilon }, &[x, at.grad, moments])?;
        let (sum, product) = (row(graph, sums, 0)?, row(graph, sums, 1)?);
        match of {
            0 => {
                // dx = scale · (g - sum(g) / n - x̂ · sum(g x̂) / n), with scale = gamma / sqrt(variance + epsilon).
                let (mean, variance) = (row(graph, moments, 0)?, row(graph, moments, 1)?);
                let share = 1.0 / Channels::of(graph.shape(x)).rows as f32;
                let scale = self.scale(graph, gamma, variance)?;
                let shift = Expression::new(|[scale, sum]: [Term; 2]| scale * sum * share);
                let shift = super::pointwise(graph, shift, &[scale, sum])?;
                let slope = Expression::new(|[scale, variance, product]: [Term; 3]| {
                    scale * product * share * (variance + self.epsilon).call(Function::Rsqrt)
                });
                let slope = super::pointwise(graph, slope, &[scale, variance, product])?;
                let total = Expression::new(|[x, grad, mean, scale, shift, slope]: [Term; 6]| {
                    grad * scale - shift - (x - mean) * slope
                });
                super::pointwise(graph, total, &[x, at.grad, mean, scale, shift, slope]).map(Some)
            }
            1 => Ok(Some(product)),
            _ => Ok(Some(sum)),
        }
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let c = output.shape.last();
        let moments = Moments.reference(&inputs[..1], &Meta::f32([2, c])).data;
        let scale = |c: usize, variance: f64| inputs[1].data[c] / (variance + f64::from(self.epsilon)).sqrt();
        Array::from_fn(&output.shape, |i| {
            (inputs[0].data[i] - moments[i % c]) * scale(i % c, moments[c + i % c]) + inputs[2].data[i % c]
        })
    }

    fn lower(&self, graph: &mut Graph, inputs: &[Value]) -> Result<Option<Value>> {
        let moments = graph.apply(Moments, &inputs[..1])?;
        let (mean, variance) = (row(graph, moments, 0)?, row(graph, moments, 1)?);
        let scale = self.scale(graph, inputs[1], variance)?;
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
    /// `gamma / sqrt(variance + epsilon)`.
    fn scale(&self, graph: &mut Graph, gamma: Value, variance: Value) -> Result<Value> {
        let scale =
            Expression::new(|[gamma, variance]: [Term; 2]| gamma * (variance + self.epsilon).call(Function::Rsqrt));
        super::pointwise(graph, scale, &[gamma, variance])
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

/// Batch normalisation as in training, of x `[n, .., c]`, with gamma `[c]` and beta `[c]`. Returns y, shaped as x, and mean
/// and biased variance of the batch, `[c]` each, for the running averages.
///
/// Errors: if the shapes do not fit, or `epsilon` is not positive.
pub fn batch_norm(
    graph: &mut Graph,
    x: Value,
    gamma: Value,
    beta: Value,
    epsilon: f32,
) -> Result<(Value, Value, Value)> {
    let y = graph.apply(BatchNorm { epsilon }, &[x, gamma, beta])?;
    // The op finds the same moments; equal ops are computed once.
    let moments = graph.apply(Moments, &[x])?;
    Ok((y, row(graph, moments, 0)?, row(graph, moments, 1)?))
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
const SHAPES: &[&[usize]] = &[&[4, 3, 5, 3], &[6, 2, 3, 8], &[33, 5], &[2, 5, 7, 1], &[5, 2, 2, 33], &[17, 36]];
/// Enough rows for two stages on every adapter.
const LONG: &[&[usize]] = &[&[3, 50, 67, 8], &[20_011, 3], &[70_001, 1], &[8200, 36]];

pub(super) fn samples() -> Vec<Sample> {
    let sample = |shape: &[usize], mean: f64| {
        let channels = [shape[shape.len() - 1]];
        let x = Given::uniform(shape, mean - 1.0, mean + 1.0);
        let inputs = [x, Given::uniform(&channels, 0.5, 1.5), Given::uniform(&channels, -1.0, 1.0)];
        Sample::of(BatchNorm { epsilon: 1e-3 }, inputs)
    };
    let mut samples: Vec<Sample> = SHAPES.iter().map(|shape| sample(shape, 0.0)).collect();
    samples.push(sample(&[9, 4, 4, 8], 100.0));
    samples.extend(LONG.iter().map(|shape| sample(shape, 0.5).forward_only()));
    samples.extend(moments::samples());
    samples.extend(grad_sums::samples());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, assert_gradient, evaluate};

    const X: [f64; 8] = [1.0, 2.0, 3.0, 2.5, 5.0, -1.0, 7.0, 4.5];

    #[test]
    fn known_values() {
        let run = |which: usize| {
            evaluate(&[(&[4, 2], &X), (&[2], &[2.0, 1.0]), (&[2], &[0.5, 0.0])], |g, v| {
                let (y, mean, variance) = batch_norm(g, v[0], v[1], v[2], 1.0)?;
                Ok([y, mean, variance][which])
            })
        };
        assert_close(&run(1).data, &[4.0, 2.0]);
        assert_close(&run(2).data, &[5.0, 3.875]);
        let (a, b) = (2.0 / 6.0_f64.sqrt(), 1.0 / 4.875_f64.sqrt());
        let expected: Vec<f64> = X.chunks(2).flat_map(|r| [(r[0] - 4.0) * a + 0.5, (r[1] - 2.0) * b]).collect();
        assert_close(&run(0).data, &expected);
    }

    #[test]
    fn inference_is_training_with_given_moments() {
        let given: [(&[usize], &[f64]); 3] = [(&[4, 2], &X), (&[2], &[2.0, 1.0]), (&[2], &[0.5, 0.0])];
        let training = evaluate(&given, |g, v| Ok(batch_norm(g, v[0], v[1], v[2], 1e-3)?.0));
        let inference = evaluate(&given, |g, v| {
            let (_, mean, variance) = batch_norm(g, v[0], v[1], v[2], 1e-3)?;
            batch_norm_inference(g, v[0], v[1], v[2], mean, variance, 1e-3)
        });
        assert_close(&inference.data, &training.data);
    }

    #[test]
    fn moments_have_gradients_of_their_own() {
        assert_gradient(&[(&[4, 2], &X)], |g, v| {
            let ones = g.constant(crate::tensor::Tensor::new([2], vec![1.0_f32; 2])?);
            let (_, mean, variance) = batch_norm(g, v[0], ones, ones, 1e-3)?;
            super::super::mul(g, mean, variance)
        });
    }

    #[test]
    fn misfits_are_errors() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([4, 3]));
        let [three, two] = [3, 2].map(|c| graph.input("vector", Meta::f32([c])));
        let message = |r: Result<(Value, Value, Value)>| r.unwrap_err().to_string();
        assert!(message(batch_norm(&mut graph, x, two, three, 1e-3)).contains("needs gamma f32[3], not f32[2]"));
        assert!(message(batch_norm(&mut graph, x, three, three, 0.0)).contains("epsilon"));
        assert!(message(batch_norm(&mut graph, three, three, three, 1e-3)).contains("channels"));
        assert!(batch_norm_inference(&mut graph, x, three, three, three, two, 1e-3).is_err());
    }
}
