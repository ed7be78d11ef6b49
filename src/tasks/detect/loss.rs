use crate::error::{Error, Result};
use crate::graph::{Function, Graph, Term, Value};
use crate::ops;
use crate::tensor::Tensor;

/// Where a number of the network is 0, an edge is this share of the picture away.
const USUAL: f32 = 0.125;
/// Numbers beyond these are taken for these: from a few thousandths of [`USUAL`] to all of any picture.
const RANGE: [f32; 2] = [-6.0, 4.0];
/// How much a box counts beside a class.
const BOXES: f32 = 2.0;

/// What the network is to answer, `[n, h, w, …]`; see [`BoxTargets`](super::targets::BoxTargets).
pub(super) struct Targets {
    /// How near the centre of a thing of each class is: 1 at it.
    pub heatmap: Value,
    /// How much a place counts for classes.
    pub class_weights: Value,
    /// Left, top, right, bottom of the thing at a place, as shares of the picture.
    pub boxes: Value,
    /// How much a place counts for boxes.
    pub box_weights: Value,
}

/// The network's numbers `[n, h, w, 4 + classes]` as answers of the same shape: left, top, right, bottom as shares of the picture,
/// and a probability for each class.
///
/// Errors: if there is no class.
pub(super) fn decoded(graph: &mut Graph, output: Value) -> Result<Value> {
    let (low, high, logits) = parts(graph, output)?;
    let probabilities = ops::sigmoid(graph, logits)?;
    ops::concat(graph, &[low, high, probabilities], 3)
}

/// The loss of each picture `[n]`: of classes and of boxes, each the weighted sum over its places.
///
/// Errors: if the shapes do not fit together.
pub(super) fn losses(graph: &mut Graph, output: Value, targets: &Targets) -> Result<Value> {
    let (low, high, logits) = parts(graph, output)?;
    let of_classes = focal(graph, logits, targets.heatmap)?;
    let of_classes = ops::mul(graph, of_classes, targets.class_weights)?;
    let of_classes = ops::sum(graph, of_classes, &[1, 2, 3], false)?;
    let (true_low, true_high) = (channels(graph, targets.boxes, 0, 2)?, channels(graph, targets.boxes, 2, 4)?);
    let of_boxes = generalized_iou(graph, [low, high], [true_low, true_high])?;
    let of_boxes = ops::mul(graph, of_boxes, targets.box_weights)?;
    let of_boxes = ops::sum(graph, of_boxes, &[1, 2, 3], false)?;
    ops::formula(graph, &(Term::Input(0) + Term::Input(1) * BOXES), &[of_classes, of_boxes])
}

/// Left and top, right and bottom `[n, h, w, 2]`, and logits `[n, h, w, classes]`.
fn parts(graph: &mut Graph, output: Value) -> Result<(Value, Value, Value)> {
    let [_, h, w, all] = graph.shape(output).expect("detector", "[n, h, w, 4 + classes]")?;
    if all <= 4 {
        return Err(Error::shape("detector", format!("{all} numbers at a place are no box and a class")));
    }
    let places = (0..h * w).flat_map(|at| {
        let middle = |at: usize, of: usize| (at as f32 + 0.5) / of as f32;
        [middle(at % w, w), middle(at / w, h)]
    });
    let places = graph.constant(Tensor::new([1, h, w, 2], places.collect::<Vec<f32>>())?);
    let mut edges = |from: usize, sign: f32| {
        let numbers = channels(graph, output, from, from + 2)?;
        let distance = ops::apply(graph, numbers, |x| {
            x.with(Function::Max, RANGE[0]).with(Function::Min, RANGE[1]).call(Function::Exp) * (sign * USUAL)
        })?;
        ops::add(graph, places, distance)
    };
    let (low, high) = (edges(0, -1.0)?, edges(2, 1.0)?);
    Ok((low, high, channels(graph, output, 4, all)?))
}

fn channels(graph: &mut Graph, x: Value, from: usize, to: usize) -> Result<Value> {
    let [n, h, w, _] = graph.shape(x).expect("detector", "[n, h, w, channels]")?;
    ops::slice(graph, x, &[0..n, 0..h, 0..w, from..to])
}

/// The focal loss with a penalty that is less near centres, of logits and a heatmap of one shape: `-(1 - p)² log p` where the
/// heatmap is 1, else `-(1 - y)⁴ p² log(1 - p)`.
///
/// Source: Law & Deng, 2018, <https://arxiv.org/abs/1808.01244>, equation 1.
fn focal(graph: &mut Graph, logits: Value, heatmap: Value) -> Result<Value> {
    let probabilities = ops::sigmoid(graph, logits)?;
    // Minus the logarithm of 1 - p; less the logit it is that of p.
    let surprise = ops::softplus(graph, logits)?;
    let away = ops::apply(graph, heatmap, |y| (1.0 - y.clone()) * (1.0 - y))?;
    let [x, y, p, s, a] = [0, 1, 2, 3, 4].map(Term::Input);
    let centre = (1.0 - p.clone()) * (1.0 - p.clone()) * (s.clone() - x);
    let elsewhere = a.clone() * a * p.clone() * p * s;
    let term = y.with(Function::Less, 1.0).select(elsewhere, centre);
    ops::formula(graph, &term, &[logits, heatmap, probabilities, surprise, away])
}

/// One less the generalised intersection over union `[n, h, w, 1]` of boxes given by their left upper and right lower corners
/// `[n, h, w, 2]`: `1 - common / union + (hull - union) / hull`.
///
/// Source: Rezatofighi et al., 2019, <https://arxiv.org/abs/1902.09630>.
fn generalized_iou(graph: &mut Graph, [low, high]: [Value; 2], [true_low, true_high]: [Value; 2]) -> Result<Value> {
    let (inner_low, inner_high) = (ops::max(graph, low, true_low)?, ops::min(graph, high, true_high)?);
    let (outer_low, outer_high) = (ops::min(graph, low, true_low)?, ops::max(graph, high, true_high)?);
    let common = area(graph, inner_low, inner_high)?;
    let hull = area(graph, outer_low, outer_high)?;
    let [own, truth] = [area(graph, low, high)?, area(graph, true_low, true_high)?];
    let [x, y, z] = [0, 1, 2].map(Term::Input);
    let union = ops::formula(graph, &(x.clone() + y.clone() - z.clone()), &[own, truth, common])?;
    ops::formula(graph, &(2.0 - x / y.clone() - y / z), &[common, union, hull])
}

fn area(graph: &mut Graph, low: Value, high: Value) -> Result<Value> {
    let extents = ops::sub(graph, high, low)?;
    let extents = ops::relu(graph, extents)?;
    let (width, height) = (channels(graph, extents, 0, 1)?, channels(graph, extents, 1, 2)?);
    ops::mul(graph, width, height)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::graph::evaluate;
    use crate::tensor::{Array, Meta};

    /// One picture of 1x2 places with a class. The first is the centre of a thing, the second is half of one.
    const OUTPUT: [f64; 10] = [0.3, -0.2, 0.1, 0.4, 0.7, -0.5, 0.6, 1.0, -0.3, -0.4];
    const HEATMAP: [f64; 2] = [1.0, 0.5];
    const BOXES_AT: [f64; 8] = [0.05, 0.3, 0.6, 0.8, 0.5, 0.1, 0.9, 0.75];

    fn total(output: &[f64], gradient: bool) -> Vec<f64> {
        let mut graph = Graph::new();
        let mut given = HashMap::new();
        let mut input = |graph: &mut Graph, name: &str, channels: usize, data: &[f64]| {
            let shape = [1, 1, 2, channels];
            let value = graph.input(name, Meta::f32(shape));
            given.insert(value, Array { shape: shape.into(), data: data.to_vec() });
            value
        };
        let x = input(&mut graph, "output", 5, output);
        let targets = Targets {
            heatmap: input(&mut graph, "heatmap", 1, &HEATMAP),
            class_weights: input(&mut graph, "class_weights", 1, &[0.5, 0.25]),
            boxes: input(&mut graph, "boxes", 4, &BOXES_AT),
            box_weights: input(&mut graph, "box_weights", 1, &[0.75, 0.125]),
        };
        let losses = losses(&mut graph, x, &targets).unwrap();
        let loss = ops::sum(&mut graph, losses, &[0], false).unwrap();
        let wanted = if gradient { graph.differentiate(loss, &[x]).unwrap()[0] } else { loss };
        evaluate(&graph, &given).swap_remove(wanted.index()).data
    }

    /// The formulas of the papers, place by place.
    fn expected() -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut loss = 0.0;
        for place in 0..2 {
            let (numbers, truth) = (&OUTPUT[5 * place..][..5], &BOXES_AT[4 * place..][..4]);
            let (p, y) = (sigmoid(numbers[4]), HEATMAP[place]);
            let class =
                if y == 1.0 { -(1.0 - p).powi(2) * p.ln() } else { -(1.0 - y).powi(4) * p.powi(2) * (1.0 - p).ln() };
            let centre = [0.25 + 0.5 * place as f64, 0.5];
            let edge = |i: usize| centre[i % 2] + 0.125 * numbers[i].exp() * if i < 2 { -1.0 } else { 1.0 };
            let own = [edge(0), edge(1), edge(2), edge(3)];
            let area = |b: [f64; 4]| (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0);
            let truth = [truth[0], truth[1], truth[2], truth[3]];
            let common = area([0, 1, 2, 3].map(|i| if i < 2 { own[i].max(truth[i]) } else { own[i].min(truth[i]) }));
            let hull = area([0, 1, 2, 3].map(|i| if i < 2 { own[i].min(truth[i]) } else { own[i].max(truth[i]) }));
            let union = area(own) + area(truth) - common;
            let giou = common / union - (hull - union) / hull;
            loss += [0.5, 0.25][place] * class + f64::from(BOXES) * [0.75, 0.125][place] * (1.0 - giou);
        }
        loss
    }

    #[test]
    fn the_loss_is_that_of_the_papers() {
        assert!((total(&OUTPUT, false)[0] - expected()).abs() < 1e-7);
    }

    #[test]
    fn its_gradient_is_that_of_finite_differences() {
        let gradient = total(&OUTPUT, true);
        for (i, &slope) in gradient.iter().enumerate() {
            let moved = |by: f64| {
                let mut output = OUTPUT;
                output[i] += by;
                total(&output, false)[0]
            };
            let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - difference).abs() < 1e-6, "{i}: {slope} instead of {difference}");
        }
    }

    #[test]
    fn answers_are_shares_and_probabilities() {
        let mut graph = Graph::new();
        let x = graph.input("output", Meta::f32([1, 1, 2, 5]));
        let answers = decoded(&mut graph, x).unwrap();
        let zeros = Array::zeros(&[1, 1, 2, 5].into());
        let found = evaluate(&graph, &HashMap::from([(x, zeros)])).swap_remove(answers.index()).data;
        assert_eq!(found, [0.125, 0.375, 0.375, 0.625, 0.5, 0.625, 0.375, 0.875, 0.625, 0.5]);
    }
}
