//! Softmax and its logarithm along the last axis: `y[c] = exp(x[c]) / sum(exp(x))`.
//!
//! Both shift by the maximum first, so that no logit overflows.

use rayon::prelude::*;

use super::reduce::fold_row;
use super::rows;
use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value, exp};
use crate::tensor::{Array, Meta, View, ViewMut};

/// Softmax along the last axis of an f32 tensor, or the logarithm of it.
#[derive(Clone, Debug)]
pub struct Softmax {
    pub(crate) log: bool,
}

/// Gradient of [`Softmax`] from its result and the gradient with respect to that, all of one shape.
#[derive(Clone, Debug)]
pub struct SoftmaxGrad {
    log: bool,
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        rows::extents(self.name(), inputs[0])?;
        Ok(inputs[0].clone())
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        graph.apply(SoftmaxGrad { log: self.log }, &[at.output, at.grad]).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let mut result = inputs[0].clone();
        for row in result.data.chunks_mut(output.shape.last()) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|x| (x - largest).exp()).sum();
            row.iter_mut().for_each(|x| *x = *x - largest - total.ln());
            if !self.log {
                row.iter_mut().for_each(|x| *x = x.exp());
            }
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let length = output.meta.shape.last();
        let rows = output.f32().par_chunks_mut(length).zip(inputs[0].f32().par_chunks(length));
        rows.with_min_len(rows::per_task(length)).for_each(|(result, row)| {
            let largest = fold_row(row, f32::max);
            let total = rows::sum_exp(row, largest);
            if self.log {
                let logarithm = total.ln();
                result.iter_mut().zip(row).for_each(|(y, &x)| *y = (x - largest) - logarithm);
            } else {
                let share = 1.0 / total;
                result.iter_mut().zip(row).for_each(|(y, &x)| *y = exp(x - largest) * share);
            }
        });
    }

    fn kernels(&self, _inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let launch = Launch::new("softmax.wgsl", include_str!("../../shaders/softmax.wgsl"))
            .bindings([Binding::Input(0), Binding::Output]);
        kernels(launch, self.log, output, capabilities)
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Transcendental
    }
}

impl Op for SoftmaxGrad {
    fn name(&self) -> &'static str {
        if self.log { "log_softmax_grad" } else { "softmax_grad" }
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        rows::extents(self.name(), inputs[0])?;
        if inputs[0] != inputs[1] {
            return Err(Error::shape(self.name(), format!("{} and {} differ", inputs[0], inputs[1])));
        }
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let length = output.shape.last();
        let mut result = inputs[1].clone();
        for (grad, y) in result.data.chunks_mut(length).zip(inputs[0].data.chunks(length)) {
            if self.log {
                let total: f64 = grad.iter().sum();
                grad.iter_mut().zip(y).for_each(|(g, y)| *g -= y.exp() * total);
            } else {
                let total: f64 = grad.iter().zip(y).map(|(g, y)| g * y).sum();
                grad.iter_mut().zip(y).for_each(|(g, y)| *g = y * (*g - total));
            }
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let length = output.meta.shape.last();
        let given = inputs[0].f32().par_chunks(length).zip(inputs[1].f32().par_chunks(length));
        let rows = output.f32().par_chunks_mut(length).zip(given).with_min_len(rows::per_task(length));
        rows.for_each(|(result, (y, grad))| {
            if self.log {
                let total = fold_row(grad, |a, b| a + b);
                result.iter_mut().zip(y).zip(grad).for_each(|((r, &y), &g)| *r = g - exp(y) * total);
            } else {
                result.iter_mut().zip(y).zip(grad).for_each(|((r, &y), &g)| *r = g * y);
                let total = fold_row(result, |a, b| a + b);
                result.iter_mut().zip(y).zip(grad).for_each(|((r, &y), &g)| *r = y * (g - total));
            }
        });
    }

    fn kernels(&self, _inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let launch = Launch::new("softmax_grad.wgsl", include_str!("../../shaders/softmax_grad.wgsl")).bindings([
            Binding::Input(0),
            Binding::Input(1),
            Binding::Output,
        ]);
        kernels(launch, self.log, output, capabilities)
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Transcendental
    }
}

fn kernels(launch: Launch, log: bool, output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
    let length = output.shape.last();
    let rows = output.elements() / length;
    let launch = launch.constants([("LENGTH", length), ("LOG", usize::from(log))]).params([rows]);
    rows::kernels(rows, length, capabilities, &launch)
}

/// `exp(x) / sum(exp(x))` along the last axis.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let logits = graph.input("logits", Meta::f32([8, 10]));
/// let probabilities = ops::softmax(&mut graph, logits)?;
/// assert_eq!(graph.shape(probabilities).dims(), [8, 10]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if `x` has no axes, is empty, or is not f32.
pub fn softmax(graph: &mut Graph, x: Value) -> Result<Value> {
    graph.apply(Softmax { log: false }, &[x])
}

/// `x - log(sum(exp(x)))` along the last axis: the logarithm of [`softmax`], without its underflow.
///
/// Errors: if `x` has no axes, is empty, or is not f32.
pub fn log_softmax(graph: &mut Graph, x: Value) -> Result<Value> {
    graph.apply(Softmax { log: true }, &[x])
}

pub(super) fn samples() -> Vec<Sample> {
    let shapes: [&[usize]; 8] = [&[1], &[3, 10], &[5, 1], &[2, 3, 5, 7], &[65, 33], &[3, 64], &[2, 65], &[2, 1000]];
    let mut samples = Vec::new();
    for log in [false, true] {
        for shape in shapes {
            samples.push(Sample::of(Softmax { log }, [Given::uniform(shape, -4.0, 4.0)]));
            let result = if log { Given::uniform(shape, -4.0, 0.0) } else { Given::uniform(shape, 0.0, 1.0) };
            let given = [result, Given::uniform(shape, -1.0, 1.0)];
            samples.push(Sample::of(SoftmaxGrad { log }, given).forward_only());
        }
        // Far beyond what exp can hold.
        samples.push(Sample::of(Softmax { log }, [Given::uniform(&[4, 9], -500.0, 500.0)]).forward_only());
    }
    // More than 65 535 workgroups.
    samples.push(Sample::of(Softmax { log: false }, [Given::uniform(&[2_100_001, 2], -4.0, 4.0)]).forward_only());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, evaluate};

    #[test]
    fn known_logits() {
        let logits: (&[usize], &[f64]) = (&[2, 2], &[0.0, 3.0_f64.ln(), 1000.0, 1000.0]);
        let probabilities = evaluate(&[logits], |g, v| softmax(g, v[0]));
        assert_close(&probabilities.data, &[0.25, 0.75, 0.5, 0.5]);
        let logarithms = evaluate(&[logits], |g, v| log_softmax(g, v[0]));
        assert_close(&logarithms.data, &[0.25_f64.ln(), 0.75_f64.ln(), 0.5_f64.ln(), 0.5_f64.ln()]);
    }

    #[test]
    fn only_floats_along_an_axis() {
        let mut graph = Graph::new();
        let number = graph.input("number", Meta::f32([]));
        let ids = graph.input("ids", Meta::i32([3]));
        assert!(softmax(&mut graph, number).is_err());
        assert!(log_softmax(&mut graph, ids).is_err());
    }
}
