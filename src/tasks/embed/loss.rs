//! Losses that bring pictures of a class together and others apart.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::{Function, Graph, Term, Value};
use crate::ops;
use crate::tensor::Tensor;

/// How a network learns which pictures belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricLoss {
    /// Each class has a direction of its own, to which its pictures must be closer than to others' by an angle.
    /// Source: Deng et al., 2019, <https://arxiv.org/abs/1801.07698>.
    #[default]
    ArcFace,
    /// In each batch, a picture's farthest companion must be closer to it than the nearest picture of another class.
    /// Source: Hermans, Beyer & Leibe, 2017, <https://arxiv.org/abs/1703.07737>.
    Triplet,
}

impl MetricLoss {
    const ALL: [Self; 2] = [Self::ArcFace, Self::Triplet];

    /// As `--metric-loss` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ArcFace => "arcface",
            Self::Triplet => "triplet",
        }
    }

    /// The margin where none is asked for: an angle in radians, or a distance.
    pub fn default_margin(self) -> f32 {
        match self {
            Self::ArcFace => 0.3,
            Self::Triplet => 0.2,
        }
    }
}

impl FromStr for MetricLoss {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|loss| loss.name() == text);
        known.ok_or_else(|| Error::config(format!("no metric loss \"{text}\": there are arcface and triplet")))
    }
}

/// What a training step is told of a batch.
pub(super) struct Losses {
    /// The mean loss.
    pub loss: Value,
    /// How many pictures are nearest to their own class.
    pub right: Value,
}

/// Squares of sines below this count as this: the root's gradient stays finite.
const LEAST: f32 = 1e-7;

/// ArcFace's loss of pictures whose cosines with the classes' directions are `cosines` `[n, classes]`; `labels` i32 `[n]`. The
/// angle θ to the picture's own class is made larger by `margin`, then all cosines times `scale` go through a softmax and
/// cross-entropy. Where θ + margin would exceed a half turn, the cosine is lowered by `margin · sin(margin)` instead, as in the
/// authors' code, so that it never rises with θ.
pub(super) fn arcface(graph: &mut Graph, cosines: Value, labels: Value, margin: f32, scale: f32) -> Result<Losses> {
    let [n, classes] = [0, 1].map(|axis| graph.shape(cosines).dims()[axis]);
    let numbers = graph.constant(Tensor::new([classes], (0..classes as i32).collect::<Vec<_>>())?);
    let column = ops::reshape(graph, labels, [n, 1])?;
    let own = ops::binary(graph, Function::Equal, column, numbers)?;
    let chosen = ops::mul(graph, cosines, own)?;
    let cosine = ops::sum(graph, chosen, &[1], true)?;
    let moved = ops::apply(graph, cosine, |c| with_margin(c, margin))?;
    let change = ops::sub(graph, moved, cosine)?;
    let logits = ops::formula(graph, &((c(0) + c(1) * c(2)) * scale), &[cosines, own, change])?;
    let losses = ops::cross_entropy_with_logits(graph, logits, labels, 0.0, None)?;
    let nearest = ops::argmax(graph, cosines, 1)?;
    let right = ops::binary(graph, Function::Equal, nearest, labels)?;
    Ok(Losses { loss: ops::mean(graph, losses, &[0], false)?, right: ops::sum(graph, right, &[0], false)? })
}

fn c(input: usize) -> Term {
    Term::Input(input)
}

/// `cos(θ + margin)` from `cos θ`.
fn with_margin(cosine: Term, margin: f32) -> Term {
    let sine = (1.0 - cosine.clone() * cosine.clone()).with(Function::Max, LEAST).call(Function::Sqrt);
    let turned = cosine.clone() * margin.cos() - sine * margin.sin();
    let beyond = cosine.clone().with(Function::Less, (std::f32::consts::PI - margin).cos());
    beyond.select(cosine - margin * margin.sin(), turned)
}

/// Larger than any distance between vectors of length 1.
const FAR: f32 = 4.0;

/// The batch-hard triplet loss of vectors of length 1, `embeddings` `[n, d]`; `labels` i32 `[n]`:
/// `max(0, farthest companion - nearest stranger + margin)`, in Euclidean distances, over the pictures that have both.
pub(super) fn batch_hard_triplet(graph: &mut Graph, embeddings: Value, labels: Value, margin: f32) -> Result<Losses> {
    let n = graph.shape(labels).elements();
    let distances = distances(graph, embeddings)?;
    let (column, row) = (ops::reshape(graph, labels, [n, 1])?, ops::reshape(graph, labels, [1, n])?);
    let same = ops::binary(graph, Function::Equal, column, row)?;
    let diagonal = (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
    let itself = graph.constant(Tensor::new([n, n], diagonal)?);
    let companion = ops::sub(graph, same, itself)?;
    let of = |graph: &mut Graph, term: Term, which: Value| {
        let chosen = ops::formula(graph, &term, &[which, distances])?;
        ops::max_over(graph, chosen, &[1], false)
    };
    let farthest_companion = of(graph, c(0).select(c(1), 0.0), companion)?;
    let minus_nearest_companion = of(graph, c(0).select(-c(1), -FAR), companion)?;
    let minus_nearest_stranger = of(graph, c(0).select(Term::Constant(-FAR), -c(1)), same)?;
    let has_both = |companion: Term, stranger: Term| {
        Term::Constant(-FAR).with(Function::Less, companion) * Term::Constant(-FAR).with(Function::Less, stranger)
    };
    let counts = ops::formula(graph, &has_both(c(0), c(1)), &[minus_nearest_companion, minus_nearest_stranger])?;
    let hinge = ops::formula(graph, &(c(0) + c(1) + margin), &[farthest_companion, minus_nearest_stranger])?;
    let hinge = ops::relu(graph, hinge)?;
    let losses = ops::mul(graph, hinge, counts)?;
    let (total, number) = (ops::sum(graph, losses, &[0], false)?, ops::sum(graph, counts, &[0], false)?);
    let loss = ops::formula(graph, &(c(0) / c(1).with(Function::Max, 1.0)), &[total, number])?;
    let right = ops::binary(graph, Function::Less, minus_nearest_stranger, minus_nearest_companion)?;
    let right = ops::mul(graph, right, counts)?;
    Ok(Losses { loss, right: ops::sum(graph, right, &[0], false)? })
}

/// Between all pairs of vectors of length 1: `[n, d]` to `[n, n]`, `√(2 - 2 cos)`.
fn distances(graph: &mut Graph, embeddings: Value) -> Result<Value> {
    let cosines = ops::matmul(graph, embeddings, embeddings, false, true)?;
    ops::apply(graph, cosines, |c| (2.0 - 2.0 * c).with(Function::Max, LEAST).call(Function::Sqrt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_close, assert_gradient, evaluate};

    fn labels(graph: &mut Graph, labels: &[i32]) -> Value {
        graph.constant(Tensor::new([labels.len()], labels.to_vec()).unwrap())
    }

    /// `-log softmax` at the class, with the margin added to the angle itself.
    fn expected_arcface(cosines: &[f64], class: usize, margin: f64, scale: f64) -> f64 {
        let moved = |i: usize, c: f64| if i == class { (c.acos() + margin).cos() } else { c };
        let logits: Vec<f64> = cosines.iter().enumerate().map(|(i, &c)| scale * moved(i, c)).collect();
        logits.iter().map(|l| l.exp()).sum::<f64>().ln() - logits[class]
    }

    #[test]
    fn arcface_adds_an_angle() {
        let cosines = [0.9, -0.2, 0.1, 0.3, 0.25, -0.7];
        let found = |graph: &mut Graph, v: &[Value]| {
            let l = labels(graph, &[0, 1]);
            arcface(graph, v[0], l, 0.5, 8.0)
        };
        let loss = evaluate(&[(&[2, 3], &cosines)], |g, v| Ok(found(g, v)?.loss));
        let margin = f64::from(0.5_f32);
        let each = [0, 1].map(|i| expected_arcface(&cosines[3 * i..][..3], i, margin, 8.0));
        assert!((loss.data[0] - (each[0] + each[1]) / 2.0).abs() < 1e-6, "{:?}, not {each:?}", loss.data);
        let right = evaluate(&[(&[2, 3], &cosines)], |g, v| Ok(found(g, v)?.right));
        assert_eq!(right.data, [1.0]);
        assert_gradient(&[(&[2, 3], &cosines)], |g, v| Ok(found(g, v)?.loss));
    }

    #[test]
    fn arcface_rises_with_the_angle_to_the_very_end() {
        let loss = |angle: f64| {
            let cosines = [angle.cos(), 0.0];
            evaluate(&[(&[1, 2], &cosines)], |g, v| {
                let l = labels(g, &[0]);
                Ok(arcface(g, v[0], l, 0.5, 4.0)?.loss)
            })
            .data[0]
        };
        let losses: Vec<f64> = (0..=60).map(|i| loss(std::f64::consts::PI * f64::from(i) / 60.0)).collect();
        assert!(losses.windows(2).all(|w| w[0] < w[1]), "{losses:?}");
        // Where cosine and sine are certain, the gradient is finite too.
        for cosine in [1.0, -1.0] {
            let gradient = evaluate(&[(&[1, 2], &[cosine, 0.3])], |g, v| {
                let l = labels(g, &[0]);
                let loss = arcface(g, v[0], l, 0.5, 4.0)?.loss;
                Ok(g.differentiate(loss, &v[..1])?[0])
            });
            assert!(gradient.data.iter().all(|x| x.is_finite()), "{:?}", gradient.data);
        }
    }

    /// Angles of vectors on the unit circle, as the embeddings of pictures.
    fn circle(angles: &[f64]) -> Vec<f64> {
        angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect()
    }

    /// By definition: over all pictures, all companions, all strangers.
    fn expected_triplet(angles: &[f64], labels: &[i32], margin: f64) -> f64 {
        let distance = |i: usize, j: usize| 2.0 * ((angles[i] - angles[j]) / 2.0).sin().abs();
        let mut losses = Vec::new();
        for i in 0..angles.len() {
            let others = |same: bool| (0..angles.len()).filter(move |&j| j != i && (labels[i] == labels[j]) == same);
            let far = others(true).map(|j| distance(i, j)).fold(f64::NAN, f64::max);
            let near = others(false).map(|j| distance(i, j)).fold(f64::NAN, f64::min);
            if !(far - near).is_nan() {
                losses.push((far - near + margin).max(0.0));
            }
        }
        losses.iter().sum::<f64>() / losses.len().max(1) as f64
    }

    #[test]
    fn batch_hard_takes_the_hardest_of_each() {
        // No two strangers are as near as each other: there the loss has no gradient. The last has no companion.
        let angles = [0.0, 0.4, 0.3, 1.2, 2.1, 2.9];
        let of = [0, 0, 1, 1, 0, 2];
        let points = circle(&angles);
        let found = |g: &mut Graph, v: &[Value]| {
            let l = labels(g, &of);
            batch_hard_triplet(g, v[0], l, 0.2)
        };
        let loss = evaluate(&[(&[6, 2], &points)], |g, v| Ok(found(g, v)?.loss));
        let margin = f64::from(0.2_f32);
        assert!((loss.data[0] - expected_triplet(&angles, &of, margin)).abs() < 1e-6, "{:?}", loss.data);
        assert_gradient(&[(&[6, 2], &points)], |g, v| Ok(found(g, v)?.loss));
        // A stranger is nearest to each of the first five.
        let right = evaluate(&[(&[6, 2], &points)], |g, v| Ok(found(g, v)?.right));
        assert_eq!(right.data, [0.0]);
    }

    #[test]
    fn a_batch_without_triplets_has_no_loss() {
        for of in [[0, 1, 2], [0, 0, 0]] {
            let points = circle(&[0.0, 1.0, 2.0]);
            let found = |g: &mut Graph, v: &[Value]| {
                let l = labels(g, &of);
                batch_hard_triplet(g, v[0], l, 0.2)
            };
            assert_close(&evaluate(&[(&[3, 2], &points)], |g, v| Ok(found(g, v)?.loss)).data, &[0.0]);
            let gradient = evaluate(&[(&[3, 2], &points)], |g, v| {
                let loss = found(g, v)?.loss;
                Ok(g.differentiate(loss, &v[..1])?[0])
            });
            assert_close(&gradient.data, &[0.0; 6]);
        }
    }
}
