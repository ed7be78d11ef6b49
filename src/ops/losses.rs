//! Losses which are short formulas over other ops, and means of losses with weights.
//!
//! A loss of predictions and targets `[n, ..]` is taken per sample: `[n]`, the mean over the sample's elements. The mean
//! over the batch comes after it: [`mean`](super::mean), or [`weighted_mean`].

use super::{add, apply, binary, div, gather, log, mean, mul, reshape, sub, sum, unary};
use crate::error::{Error, Result};
use crate::graph::{Function, Graph, Value};

/// Probabilities are kept that far from 0 and 1 before a logarithm is taken: Keras's epsilon.
const EPSILON: f32 = 1e-7;

/// Mean over all axes but the first.
pub(super) fn per_sample(graph: &mut Graph, losses: Value) -> Result<Value> {
    let axes: Vec<usize> = (1..graph.shape(losses).rank()).collect();
    mean(graph, losses, &axes, false)
}

/// Broadcasting would pair every prediction with every target where shapes differ by mistake.
pub(super) fn expect_same_shape(graph: &Graph, at: &str, predictions: Value, targets: Value) -> Result<()> {
    let (p, t) = (graph.shape(predictions), graph.shape(targets));
    if p == t { Ok(()) } else { Err(Error::shape(at, format!("predictions have shape {p}, targets {t}"))) }
}

/// `x` limited to `epsilon` and `1 - epsilon`, with no gradient where it was limited.
pub(super) fn clip_probabilities(graph: &mut Graph, x: Value) -> Result<Value> {
    apply(graph, x, |x| x.with(Function::Max, EPSILON).with(Function::Min, 1.0 - EPSILON))
}

/// Mean over each sample of `(prediction - target)^2`: `[n, ..]` gives `[n]`.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let predictions = graph.input("predictions", Meta::f32([8, 4]));
/// let targets = graph.input("targets", Meta::f32([8, 4]));
/// let losses = ops::mean_squared_error(&mut graph, predictions, targets)?;
/// let loss = ops::mean(&mut graph, losses, &[0], false)?;
/// assert_eq!(graph.shape(losses).dims(), [8]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if the shapes differ.
pub fn mean_squared_error(graph: &mut Graph, predictions: Value, targets: Value) -> Result<Value> {
    expect_same_shape(graph, "mean_squared_error", predictions, targets)?;
    let difference = sub(graph, predictions, targets)?;
    let squares = mul(graph, difference, difference)?;
    per_sample(graph, squares)
}

/// Mean over each sample of `|prediction - target|`: `[n, ..]` gives `[n]`. Its gradient at 0 is 0.
///
/// Errors: if the shapes differ.
pub fn mean_absolute_error(graph: &mut Graph, predictions: Value, targets: Value) -> Result<Value> {
    expect_same_shape(graph, "mean_absolute_error", predictions, targets)?;
    let difference = sub(graph, predictions, targets)?;
    let distances = unary(graph, Function::Abs, difference)?;
    per_sample(graph, distances)
}

/// Mean over each sample of `d^2 / 2` where `d = |prediction - target|` is at most `delta`, else of
/// `delta (d - delta / 2)`: `[n, ..]` gives `[n]` (Huber 1964).
///
/// Errors: if the shapes differ, or if `delta` is not positive.
pub fn huber(graph: &mut Graph, predictions: Value, targets: Value, delta: f32) -> Result<Value> {
    expect_same_shape(graph, "huber", predictions, targets)?;
    if delta <= 0.0 || delta.is_nan() {
        return Err(Error::shape("huber", format!("delta must be positive, it is {delta}")));
    }
    let difference = sub(graph, predictions, targets)?;
    let distances = unary(graph, Function::Abs, difference)?;
    // With near = min(d, delta): near^2 / 2 + delta (d - near).
    let near = apply(graph, distances, |d| d.with(Function::Min, delta))?;
    let far = sub(graph, distances, near)?;
    let far = apply(graph, far, |far| far * delta)?;
    let squares = mul(graph, near, near)?;
    let halves = apply(graph, squares, |s| s * 0.5)?;
    let losses = add(graph, halves, far)?;
    per_sample(graph, losses)
}

/// `-sum over c of t[c] log(p[c])` over the last axis, of probabilities which are first divided by their sum and limited
/// to `[1e-7, 1 - 1e-7]`: Keras's `categorical_crossentropy`. `[.., classes]` gives `[..]`.
///
/// [`cross_entropy_with_logits`](super::cross_entropy_with_logits) is faster and more accurate where logits are at hand.
///
/// Errors: if the shapes differ or have no axes.
pub fn categorical_cross_entropy(graph: &mut Graph, probabilities: Value, targets: Value) -> Result<Value> {
    expect_same_shape(graph, "categorical_cross_entropy", probabilities, targets)?;
    let Some(classes) = graph.shape(probabilities).rank().checked_sub(1) else {
        return Err(Error::shape("categorical_cross_entropy", "a single number has no classes"));
    };
    let total = sum(graph, probabilities, &[classes], true)?;
    let normalized = div(graph, probabilities, total)?;
    let clipped = clip_probabilities(graph, normalized)?;
    let logarithms = log(graph, clipped)?;
    let products = mul(graph, logarithms, targets)?;
    let likelihood = sum(graph, products, &[classes], false)?;
    unary(graph, Function::Neg, likelihood)
}

/// By what a weighted sum of losses is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divisor {
    /// By the number of losses: Keras's `sample_weight`.
    Count,
    /// By the sum of the weights: what PyTorch does with class weights, each sample having the weight of its class.
    Weights,
}

/// The weighted mean of losses `[n, ..]` with a weight per sample, `[n]`: one number, `sum(w l) / count` or
/// `sum(w l) / sum(w)`.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let losses = graph.input("losses", Meta::f32([8]));
/// let weights = graph.input("weights", Meta::f32([8]));
/// let loss = ops::weighted_mean(&mut graph, losses, weights, ops::Divisor::Count)?;
/// assert_eq!(graph.shape(loss).rank(), 0);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if the shape of the weights is not the beginning of that of the losses.
pub fn weighted_mean(graph: &mut Graph, losses: Value, weights: Value, by: Divisor) -> Result<Value> {
    let (shape, given) = (graph.shape(losses).clone(), graph.shape(weights).clone());
    if !shape.dims().starts_with(given.dims()) {
        let message = format!("weights of shape {given} do not fit losses of shape {shape}");
        return Err(Error::shape("weighted_mean", message));
    }
    let column = [given.dims(), &vec![1; shape.rank() - given.rank()]].concat();
    let spread = reshape(graph, weights, column)?;
    let weighted = mul(graph, losses, spread)?;
    let axes: Vec<usize> = (0..shape.rank()).collect();
    let average = mean(graph, weighted, &axes, false)?;
    match by {
        Divisor::Count => Ok(average),
        Divisor::Weights => {
            let average_weight = mean(graph, weights, &axes[..given.rank()], false)?;
            binary(graph, Function::Div, average, average_weight)
        }
    }
}

/// PyTorch's mean of losses to which class weights were already applied: `sum(l) / sum(w[id])`. `losses` and `ids` (i32)
/// have one shape, `class_weights` is f32 `[classes]`. An id that is no class counts nothing, as in
/// [`cross_entropy_with_logits`](super::cross_entropy_with_logits). With distributions as targets PyTorch takes the plain
/// mean.
///
/// Errors: if the shapes differ.
pub fn class_weighted_mean(graph: &mut Graph, losses: Value, ids: Value, class_weights: Value) -> Result<Value> {
    expect_same_shape(graph, "class_weighted_mean", losses, ids)?;
    let axes: Vec<usize> = (0..graph.shape(losses).rank()).collect();
    let weights = gather(graph, class_weights, ids)?;
    let total = sum(graph, losses, &axes, false)?;
    let total_weight = sum(graph, weights, &axes, false)?;
    div(graph, total, total_weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cross_entropy_with_logits;
    use crate::ops::testing::{assert_close, assert_gradient, evaluate};
    use crate::tensor::{Meta, Tensor};

    const PREDICTIONS: (&[usize], &[f64]) = (&[2, 2], &[1.0, -2.0, 0.5, 4.0]);
    const TARGETS: (&[usize], &[f64]) = (&[2, 2], &[0.5, 1.0, 0.25, 4.75]);

    #[test]
    fn known_differences() {
        let both = [PREDICTIONS, TARGETS];
        let squared = evaluate(&both, |g, v| mean_squared_error(g, v[0], v[1]));
        assert_close(&squared.data, &[(0.25 + 9.0) / 2.0, (0.0625 + 0.5625) / 2.0]);
        let absolute = evaluate(&both, |g, v| mean_absolute_error(g, v[0], v[1]));
        assert_close(&absolute.data, &[1.75, 0.5]);
        let huber = evaluate(&both, |g, v| huber(g, v[0], v[1], 0.6));
        let (near, far) = (|d: f64| d * d / 2.0, |d: f64| 0.6 * (d - 0.3));
        assert_close(&huber.data, &[(near(0.5) + far(3.0)) / 2.0, (near(0.25) + far(0.75)) / 2.0]);
    }

    #[test]
    fn gradients_of_differences() {
        let both = [PREDICTIONS, TARGETS];
        assert_gradient(&both, |g, v| mean_squared_error(g, v[0], v[1]));
        assert_gradient(&both, |g, v| mean_absolute_error(g, v[0], v[1]));
        assert_gradient(&both, |g, v| huber(g, v[0], v[1], 0.6));
    }

    #[test]
    fn categorical_cross_entropy_of_known_probabilities() {
        let probabilities: (&[usize], &[f64]) = (&[2, 3], &[0.2, 0.3, 0.5, 1.0, 2.0, 1.0]);
        let targets: (&[usize], &[f64]) = (&[2, 3], &[0.0, 0.0, 1.0, 0.5, 0.5, 0.0]);
        let losses = evaluate(&[probabilities, targets], |g, v| categorical_cross_entropy(g, v[0], v[1]));
        assert_close(&losses.data, &[2.0_f64.ln(), 0.5 * (4.0_f64.ln() + 2.0_f64.ln())]);
        assert_gradient(&[probabilities, targets], |g, v| categorical_cross_entropy(g, v[0], v[1]));
        let certain = evaluate(&[(&[1, 2], &[0.0, 1.0]), (&[1, 2], &[1.0, 0.0])], |g, v| {
            categorical_cross_entropy(g, v[0], v[1])
        });
        assert_close(&certain.data, &[-f64::from(EPSILON).ln()]);
    }

    #[test]
    fn weights_by_both_conventions() {
        let inputs: [(&[usize], &[f64]); 2] = [(&[2, 2], &[1.0, 3.0, 5.0, 7.0]), (&[2], &[1.0, 4.0])];
        let by = |divisor| evaluate(&inputs, |g, v| weighted_mean(g, v[0], v[1], divisor)).data[0];
        assert_eq!(by(Divisor::Count), (4.0 + 48.0) / 4.0);
        assert_eq!(by(Divisor::Weights), (4.0 + 48.0) / 10.0);
    }

    /// `torch.nn.functional.cross_entropy(logits, ids, weight=w)` is `sum(w[id] l) / sum(w[id])`.
    #[test]
    fn class_weights_as_in_pytorch() {
        let logits: (&[usize], &[f64]) = (&[3, 2], &[0.0, 0.0, 0.0, 3.0_f64.ln(), 0.0, 0.0]);
        let loss = evaluate(&[logits, (&[2], &[1.0, 3.0])], |g, v| {
            let ids = g.constant(Tensor::new([3], vec![0, 1, -1])?);
            let losses = cross_entropy_with_logits(g, v[0], ids, 0.0, Some(v[1]))?;
            class_weighted_mean(g, losses, ids, v[1])
        });
        assert_close(&loss.data, &[(2.0_f64.ln() + 3.0 * (4.0_f64 / 3.0).ln()) / 4.0]);
    }

    #[test]
    fn shapes_must_agree() {
        let mut graph = Graph::new();
        let column = graph.input("column", Meta::f32([4, 1]));
        let vector = graph.input("vector", Meta::f32([4]));
        assert!(mean_squared_error(&mut graph, column, vector).is_err());
        assert!(weighted_mean(&mut graph, vector, column, Divisor::Count).is_err());
        assert!(huber(&mut graph, vector, vector, 0.0).is_err());
    }
}
