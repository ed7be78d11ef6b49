//! Cross-entropy of `softmax(logits)`, with class ids or distributions as targets.
//!
//! With a sample's distribution `t` over `k` classes (for an id: 1 at that class), label smoothing `s` and class weights
//! `w` the loss is
//!
//! `-sum over c of w[c] t'[c] log_softmax(logits)[c]` with `t'[c] = (1 - s) t[c] + s / k`
//!
//! as in PyTorch's `cross_entropy` and, without weights, Keras's `categorical_crossentropy(from_logits=True)`; smoothing
//! is from Szegedy et al. 2015, section 7, <https://arxiv.org/abs/1512.00567>. The gradient with respect to the logits is
//! `sum(w t') softmax(logits) - w t'`. Each is one op which starts from the logits: no probability is stored, none can
//! underflow.

use rayon::prelude::*;

use super::reduce::fold_row;
use super::rows;
use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{Backward, Binding, Capabilities, Expression, Graph, Kernel, Launch, Op, Tolerance, Value, exp};
use crate::tensor::{Array, DType, Meta, Shape, View, ViewMut};

/// Inputs: logits, targets, then class weights if there are any. See [`cross_entropy_with_logits`].
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    label_smoothing: f32,
}

/// Gradient of [`CrossEntropy`] with respect to the logits. Inputs: logits, targets, the gradient with respect to the
/// losses, then class weights if there are any.
#[derive(Clone, Debug)]
pub struct CrossEntropyGrad {
    label_smoothing: f32,
}

/// The shape of the losses: that of the logits without the last axis.
fn losses_shape(at: &str, logits: &Meta, targets: &Meta, class_weights: Option<&&Meta>) -> Result<Shape> {
    rows::extents(at, logits)?;
    let losses = Shape::from(&logits.dims()[..logits.dims().len() - 1]);
    let expected = if targets.dtype == DType::F32 { &logits.shape } else { &losses };
    if targets.dtype == DType::U8 || targets.shape != *expected {
        let message =
            format!("targets for logits {logits} are ids i32{losses} or distributions {logits}, not {targets}");
        return Err(Error::shape(at, message));
    }
    match class_weights {
        Some(w) if **w != Meta::f32([logits.shape.last()]) => Err(Error::shape(
            at,
            format!("class weights for logits {logits} are f32[{}], not {w}", logits.shape.last()),
        )),
        _ => Ok(losses),
    }
}

/// `w t'` of every sample in f64, in the shape of the logits.
fn weighted_targets(smoothing: f32, logits: &Array, targets: &Array, class_weights: Option<&&Array>) -> Array {
    let classes = logits.shape.last();
    let smoothing = f64::from(smoothing);
    Array::from_fn(&logits.shape, |i| {
        let (row, c) = (i / classes, i % classes);
        let weight = class_weights.map_or(1.0, |w| w.data[c]);
        let target = if targets.shape == logits.shape {
            targets.data[i]
        } else if (0.0..classes as f64).contains(&targets.data[row]) {
            f64::from(u8::from(targets.data[row] == c as f64))
        } else {
            return 0.0;
        };
        weight * ((1.0 - smoothing) * target + smoothing / classes as f64)
    })
}

/// Targets as the CPU reads them.
struct Targets<'a> {
    targets: View<'a>,
    class_weights: Option<&'a [f32]>,
    keep: f32,
    spread: f32,
}

impl<'a> Targets<'a> {
    fn new(smoothing: f32, classes: usize, targets: View<'a>, class_weights: Option<&View<'a>>) -> Self {
        let class_weights = class_weights.map(View::f32);
        Self { targets, class_weights, keep: 1.0 - smoothing, spread: smoothing / classes as f32 }
    }

    /// Writes `w t'` of a sample.
    fn fill(&self, row: usize, weighted: &mut [f32]) {
        let classes = weighted.len();
        if self.targets.meta.dtype == DType::F32 {
            let targets = &self.targets.f32()[row * classes..][..classes];
            weighted.iter_mut().zip(targets).for_each(|(w, &t)| *w = self.keep * t + self.spread);
        } else {
            match usize::try_from(self.targets.i32()[row]) {
                Ok(id) if id < classes => {
                    weighted.fill(self.spread);
                    weighted[id] += self.keep;
                }
                _ => weighted.fill(0.0),
            }
        }
        if let Some(class_weights) = self.class_weights {
            weighted.iter_mut().zip(class_weights).for_each(|(w, &c)| *w *= c);
        }
    }
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        losses_shape(self.name(), inputs[0], inputs[1], inputs.get(2)).map(Meta::f32)
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        let (logits, targets) = (at.inputs[0], at.inputs[1]);
        if of == 0 {
            let inputs: Vec<Value> = [logits, targets, at.grad].into_iter().chain(at.inputs.get(2).copied()).collect();
            return graph.apply(CrossEntropyGrad { label_smoothing: self.label_smoothing }, &inputs).map(Some);
        }
        if of == 2 {
            return Err(Error::shape(self.name(), "class weights are fixed numbers, they cannot be trained"));
        }
        if graph.meta(targets).dtype != DType::F32 {
            return Ok(None);
        }
        let shape = graph.shape(logits).clone();
        let column = [graph.shape(at.grad).dims(), &[1]].concat();
        let grad = super::reshape(graph, at.grad, column)?;
        let logarithms = super::log_softmax(graph, logits)?;
        let keep = 1.0 - self.label_smoothing;
        let full = Expression::new(|[g, l]| g * l * -keep);
        let full = graph.apply(super::Pointwise::new(full, shape), &[grad, logarithms])?;
        match at.inputs.get(2) {
            Some(&class_weights) => super::mul(graph, full, class_weights).map(Some),
            None => Ok(Some(full)),
        }
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let classes = inputs[0].shape.last();
        let targets = weighted_targets(self.label_smoothing, inputs[0], inputs[1], inputs.get(2));
        Array::from_fn(&output.shape, |row| {
            let logits = &inputs[0].data[row * classes..][..classes];
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = logits.iter().map(|x| (x - largest).exp()).sum();
            let target = &targets.data[row * classes..][..classes];
            logits.iter().zip(target).map(|(x, t)| -t * (x - largest - total.ln())).sum()
        })
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let classes = inputs[0].meta.shape.last();
        let targets = Targets::new(self.label_smoothing, classes, inputs[1], inputs.get(2));
        let rows = output.f32().par_iter_mut().zip(inputs[0].f32().par_chunks(classes)).enumerate();
        rows.with_min_len(rows::per_task(classes)).for_each_init(
            || vec![0.0; classes],
            |target, (row, (loss, logits))| {
                targets.fill(row, target);
                let largest = fold_row(logits, f32::max);
                let total = rows::sum_exp(logits, largest);
                let mass = fold_row(target, |a, b| a + b);
                target.iter_mut().zip(logits).for_each(|(t, &x)| *t *= largest - x);
                *loss = mass * total.ln() + fold_row(target, |a, b| a + b);
            },
        );
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let launch = Launch::new("cross_entropy.wgsl", include_str!("../../shaders/cross_entropy.wgsl"));
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Output];
        kernels(launch, self.label_smoothing, inputs, &bindings, capabilities)
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Transcendental
    }
}

impl Op for CrossEntropyGrad {
    fn name(&self) -> &'static str {
        "cross_entropy_grad"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let losses = losses_shape(self.name(), inputs[0], inputs[1], inputs.get(3))?;
        if *inputs[2] != Meta::f32(losses.clone()) {
            return Err(Error::shape(
                self.name(),
                format!("the gradient is {}, the losses are f32{losses}", inputs[2]),
            ));
        }
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let classes = output.shape.last();
        let mut result = weighted_targets(self.label_smoothing, inputs[0], inputs[1], inputs.get(3));
        for (row, grad) in result.data.chunks_mut(classes).enumerate() {
            let logits = &inputs[0].data[row * classes..][..classes];
            let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = logits.iter().map(|x| (x - largest).exp()).sum();
            let mass: f64 = grad.iter().sum();
            for (t, x) in grad.iter_mut().zip(logits) {
                *t = inputs[2].data[row] * (mass * (x - largest).exp() / total - *t);
            }
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let classes = output.meta.shape.last();
        let targets = Targets::new(self.label_smoothing, classes, inputs[1], inputs.get(3));
        let given = inputs[0].f32().par_chunks(classes).zip(inputs[2].f32()).enumerate();
        let rows = output.f32().par_chunks_mut(classes).zip(given).with_min_len(rows::per_task(classes));
        rows.for_each(|(result, (row, (logits, &grad)))| {
            targets.fill(row, result);
            let largest = fold_row(logits, f32::max);
            let share = fold_row(result, |a, b| a + b) / rows::sum_exp(logits, largest);
            result.iter_mut().zip(logits).for_each(|(r, &x)| *r = grad * (exp(x - largest) * share - *r));
        });
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let launch = Launch::new("cross_entropy_grad.wgsl", include_str!("../../shaders/cross_entropy_grad.wgsl"));
        let bindings = [Binding::Input(0), Binding::Input(1), Binding::Input(2), Binding::Output];
        kernels(launch, self.label_smoothing, inputs, &bindings, capabilities)
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Transcendental
    }
}

/// Completes a launch. Class weights, if there are any, are the input that `bindings` leaves out.
fn kernels(
    launch: Launch,
    smoothing: f32,
    inputs: &[&Meta],
    bindings: &[Binding],
    capabilities: &Capabilities,
) -> Vec<Kernel> {
    let classes = inputs[0].shape.last();
    let rows = inputs[0].elements() / classes;
    let ids = inputs[1].dtype != DType::F32;
    let weighted = inputs.len() == bindings.len();
    let weight = if weighted {
        let declaration = "var<storage, read> class_weights: array<f32>;    // [CLASSES]";
        let function = "fn weight(c: u32) -> f32 {\n    return class_weights[c];\n}";
        format!("@group(0) @binding({}) {declaration}\n\n{function}\n\n", bindings.len() + 1)
    } else {
        "fn weight(c: u32) -> f32 {\n    return 1.0;\n}\n\n".to_owned()
    };
    let last = weighted.then(|| Binding::Input(inputs.len() - 1));
    let launch = launch
        .prepend(include_str!("../../shaders/common/smoothed_target.wgsl"))
        .prepend(&weight)
        .prepend(&format!("alias Target = {};\n", inputs[1].dtype.wgsl()))
        .constants([("CLASSES", classes), ("IDS", usize::from(ids))])
        .float_constants([("KEEP", 1.0 - smoothing), ("SPREAD", smoothing / classes as f32)])
        .params([rows])
        .bindings(bindings.iter().copied().chain(last));
    rows::kernels(rows, classes, capabilities, &launch)
}

/// The cross-entropy of `softmax(logits)`, one loss per sample.
///
/// `logits` is f32 `[.., classes]`. `targets` holds either class ids, i32 `[..]`, or distributions, f32 `[.., classes]`.
/// The losses have shape `[..]`: `[n]` for pictures, `[n, h, w]` for a class per pixel. A sample whose id is no class (-1,
/// say, for pixels without label) has loss and gradient 0.
///
/// `label_smoothing` moves that share of the target evenly to all classes. `class_weights` is f32 `[classes]`; see
/// [`class_weighted_mean`](super::class_weighted_mean) for PyTorch's mean of such losses.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let logits = graph.input("logits", Meta::f32([8, 10]));
/// let ids = graph.input("ids", Meta::i32([8]));
/// let losses = ops::cross_entropy_with_logits(&mut graph, logits, ids, 0.1, None)?;
/// let loss = ops::mean(&mut graph, losses, &[0], false)?;
/// assert_eq!(graph.shape(losses).dims(), [8]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if the shapes do not fit, or if `label_smoothing` is not between 0 and 1.
pub fn cross_entropy_with_logits(
    graph: &mut Graph,
    logits: Value,
    targets: Value,
    label_smoothing: f32,
    class_weights: Option<Value>,
) -> Result<Value> {
    if !(0.0..=1.0).contains(&label_smoothing) {
        let message = format!("label smoothing must be between 0 and 1, it is {label_smoothing}");
        return Err(Error::shape("cross_entropy", message));
    }
    let inputs: Vec<Value> = [logits, targets].into_iter().chain(class_weights).collect();
    graph.apply(CrossEntropy { label_smoothing }, &inputs)
}

pub(super) fn samples() -> Vec<Sample> {
    let logits: [&[usize]; 7] = [&[1, 2], &[5, 10], &[3, 1], &[2, 3, 5, 7], &[65, 33], &[3, 64], &[2, 1000]];
    let mut samples = Vec::new();
    for (shape, label_smoothing) in logits.into_iter().zip([0.0, 0.1, 0.25].into_iter().cycle()) {
        let classes = shape[shape.len() - 1];
        let losses = &shape[..shape.len() - 1];
        let x = Given::uniform(shape, -4.0, 4.0);
        let grad = Given::uniform(losses, -1.0, 1.0);
        let weights = Given::uniform(&[classes], 0.2, 3.0);
        // The largest id is no class.
        for targets in [Given::ids(losses, classes + 1), Given::uniform(shape, 0.0, 1.0)] {
            let forward = CrossEntropy { label_smoothing };
            let backward = CrossEntropyGrad { label_smoothing };
            samples.push(Sample::of(forward.clone(), [x.clone(), targets.clone()]));
            samples.push(Sample::of(forward, [x.clone(), targets.clone(), weights.clone()]).forward_only());
            let given = [x.clone(), targets, grad.clone()];
            samples.push(Sample::of(backward.clone(), given.clone()).forward_only());
            samples.push(Sample::of(backward, given.into_iter().chain([weights.clone()])).forward_only());
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, assert_gradient, evaluate};
    use crate::tensor::Tensor;

    fn ids(graph: &mut Graph, ids: &[i32]) -> Value {
        graph.constant(Tensor::new([ids.len()], ids.to_vec()).unwrap())
    }

    /// Probabilities 1/8, 2/8, 5/8.
    const LOGITS: (&[usize], &[f64]) = (&[2, 3], &[0.0, std::f64::consts::LN_2, 1.6094379124341003, 0.0, 0.0, 0.0]);

    #[test]
    fn known_probabilities() {
        let losses = evaluate(&[LOGITS], |g, v| {
            let targets = ids(g, &[2, 0]);
            cross_entropy_with_logits(g, v[0], targets, 0.0, None)
        });
        assert_close(&losses.data, &[-(0.625_f64.ln()), 3.0_f64.ln()]);
    }

    #[test]
    fn smoothing_spreads_the_target_over_all_classes() {
        let losses = evaluate(&[LOGITS], |g, v| {
            let targets = ids(g, &[2, 0]);
            cross_entropy_with_logits(g, v[0], targets, 0.25, None)
        });
        let (own, other) = (0.75 + 0.25 / 3.0, 0.25 / 3.0);
        let first = -(own * 0.625_f64.ln() + other * (0.125_f64.ln() + 0.25_f64.ln()));
        assert_close(&losses.data, &[first, 3.0_f64.ln()]);
    }

    #[test]
    fn class_weights_scale_each_class() {
        let losses = evaluate(&[LOGITS, (&[3], &[2.0, 1.0, 4.0])], |g, v| {
            let targets = ids(g, &[2, 0]);
            cross_entropy_with_logits(g, v[0], targets, 0.0, Some(v[1]))
        });
        assert_close(&losses.data, &[-4.0 * 0.625_f64.ln(), 2.0 * 3.0_f64.ln()]);
    }

    #[test]
    fn weighted_gradient() {
        let targets: (&[usize], &[f64]) = (&[2, 3], &[0.2, 0.5, 0.3, 1.0, 0.0, 0.0]);
        let weights: (&[usize], &[f64]) = (&[3], &[2.0, 1.0, 4.0]);
        assert_gradient(&[LOGITS, targets, weights], |g, v| cross_entropy_with_logits(g, v[0], v[1], 0.5, Some(v[2])));
        assert_gradient(&[targets, LOGITS, weights], |g, v| cross_entropy_with_logits(g, v[1], v[0], 0.5, Some(v[2])));
    }

    #[test]
    fn an_id_that_is_no_class_counts_nothing() {
        let losses = evaluate(&[LOGITS], |g, v| {
            let targets = ids(g, &[-1, 3]);
            cross_entropy_with_logits(g, v[0], targets, 0.5, None)
        });
        assert_eq!(losses.data, [0.0, 0.0]);
    }

    #[test]
    fn wrong_targets_are_errors() {
        let mut graph = Graph::new();
        let logits = graph.input("logits", Meta::f32([4, 3]));
        let good = graph.input("good", Meta::i32([4]));
        let short = graph.input("short", Meta::i32([3]));
        let narrow = graph.input("narrow", Meta::f32([4, 2]));
        let weights = graph.input("weights", Meta::f32([4]));
        let mut loss = |targets, smoothing, weights| {
            cross_entropy_with_logits(&mut graph, logits, targets, smoothing, weights).map(|_| ())
        };
        assert!(loss(good, 0.0, None).is_ok());
        assert!(loss(short, 0.0, None).is_err());
        assert!(loss(narrow, 0.0, None).is_err());
        assert!(loss(good, 1.5, None).is_err());
        assert!(loss(good, 0.0, Some(weights)).is_err());
    }
}
