//! Binary cross-entropy: each element of the prediction is a yes or no of its own.

use super::losses::{clip_probabilities, expect_same_shape, per_sample};
use super::{add, apply, log, mul, softplus, sub, unary};
use crate::error::Result;
use crate::graph::{Function, Graph, Value};

/// Mean over each sample of `-(t log(p) + (1 - t) log(1 - p))`, of probabilities limited to `[1e-7, 1 - 1e-7]`: Keras's
/// `binary_crossentropy`. `[n, ..]` gives `[n]`. Where a probability was limited its gradient is 0.
///
/// [`binary_cross_entropy_with_logits`] is faster, and learns from confident mistakes too.
///
/// Errors: if the shapes differ.
pub fn binary_cross_entropy(graph: &mut Graph, probabilities: Value, targets: Value) -> Result<Value> {
    expect_same_shape(graph, "binary_cross_entropy", probabilities, targets)?;
    let yes = clip_probabilities(graph, probabilities)?;
    let no = apply(graph, yes, |p| 1.0 - p)?;
    let not_target = apply(graph, targets, |t| 1.0 - t)?;
    let log_yes = log(graph, yes)?;
    let log_no = log(graph, no)?;
    let for_yes = mul(graph, log_yes, targets)?;
    let for_no = mul(graph, log_no, not_target)?;
    let likelihood = add(graph, for_yes, for_no)?;
    let losses = unary(graph, Function::Neg, likelihood)?;
    per_sample(graph, losses)
}

/// Mean over each sample of the binary cross-entropy of `sigmoid(x)`, as `max(x, 0) - x t + log(1 + exp(-|x|))`, which
/// never overflows. `[n, ..]` gives `[n]`.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let logits = graph.input("logits", Meta::f32([8, 1]));
/// let targets = graph.input("targets", Meta::f32([8, 1]));
/// let losses = ops::binary_cross_entropy_with_logits(&mut graph, logits, targets)?;
/// let loss = ops::mean(&mut graph, losses, &[0], false)?;
/// assert_eq!(graph.shape(losses).dims(), [8]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if the shapes differ.
pub fn binary_cross_entropy_with_logits(graph: &mut Graph, logits: Value, targets: Value) -> Result<Value> {
    expect_same_shape(graph, "binary_cross_entropy", logits, targets)?;
    // softplus(x) is max(x, 0) + log(1 + exp(-|x|)).
    let normalizer = softplus(graph, logits)?;
    let product = mul(graph, logits, targets)?;
    let losses = sub(graph, normalizer, product)?;
    per_sample(graph, losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, assert_gradient, evaluate};

    const TARGETS: (&[usize], &[f64]) = (&[2, 2], &[1.0, 0.0, 0.0, 0.25]);

    #[test]
    fn known_probabilities() {
        let probabilities: (&[usize], &[f64]) = (&[2, 2], &[0.5, 0.5, 0.2, 0.75]);
        let losses = evaluate(&[probabilities, TARGETS], |g, v| binary_cross_entropy(g, v[0], v[1]));
        let mixed = -(0.25 * 0.75_f64.ln() + 0.75 * 0.25_f64.ln());
        assert_close(&losses.data, &[2.0_f64.ln(), (-(0.8_f64.ln()) + mixed) / 2.0]);
        assert_gradient(&[probabilities, TARGETS], |g, v| binary_cross_entropy(g, v[0], v[1]));
        assert_gradient(&[TARGETS, probabilities], |g, v| binary_cross_entropy_with_logits(g, v[1], v[0]));
    }

    #[test]
    fn certain_and_wrong() {
        let losses = evaluate(&[(&[2], &[0.0, 1.0]), (&[2], &[1.0, 1.0])], |g, v| binary_cross_entropy(g, v[0], v[1]));
        let limits = [f64::from(1e-7_f32), f64::from(1.0 - 1e-7_f32)];
        assert_close(&losses.data, &limits.map(|p| -p.ln()));
        let far: (&[usize], &[f64]) = (&[2], &[-1000.0, 1000.0]);
        let losses = evaluate(&[far, (&[2], &[1.0, 1.0])], |g, v| binary_cross_entropy_with_logits(g, v[0], v[1]));
        assert_eq!(losses.data, [1000.0, 0.0]);
    }

    #[test]
    fn logits_and_probabilities_agree() {
        let logits: (&[usize], &[f64]) = (&[2, 2], &[1.5, -0.5, 3.0, -4.0]);
        let stable = evaluate(&[logits, TARGETS], |g, v| binary_cross_entropy_with_logits(g, v[0], v[1]));
        let plain = evaluate(&[logits, TARGETS], |g, v| {
            let probabilities = crate::ops::sigmoid(g, v[0])?;
            binary_cross_entropy(g, probabilities, v[1])
        });
        assert_close(&stable.data, &plain.data);
        assert_gradient(&[logits, TARGETS], |g, v| binary_cross_entropy_with_logits(g, v[0], v[1]));
    }
}
