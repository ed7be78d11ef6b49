use std::collections::BTreeMap;

use serde::Serialize;

use super::Detection;
use super::average_precision::{Curve, OVERLAPS, Seen, average_precision};
use super::geometry::intersection_over_union;
use crate::data::BoundingBox;

/// Overlap at which a thing counts as found, where people are told.
const ENOUGH: f64 = 0.5;
/// Number of the least overlap of 0.75.
const STRICT: usize = 5;

/// A detector's results on a set.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// `detect`.
    pub task: &'static str,
    /// How many pictures.
    pub samples: u64,
    /// Mean loss.
    pub loss: f64,
    /// The summary.
    pub metrics: Metrics,
    /// By class name; what is not in the set is left out.
    pub per_class: BTreeMap<String, ClassEvaluation>,
    /// For each class the curve at an overlap of one half.
    #[serde(skip)]
    pub curves: Vec<Option<Curve>>,
    /// The pictures, in order.
    #[serde(skip)]
    pub seen: Vec<Seen>,
}

/// Means over the classes, as COCO's evaluation has them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Average precision, mean over least overlaps of 0.5, 0.55, …, 0.95.
    pub map: f64,
    /// Average precision at a least overlap of 0.5.
    pub map50: f64,
    /// Average precision at a least overlap of 0.75.
    pub map75: f64,
    /// Share of the things found among 100 answers a picture, mean over the least overlaps.
    pub recall: f64,
    /// Score from which on things are told.
    pub threshold: f64,
    /// Whether it was chosen on other pictures than these; else F1 is highest there, at an overlap of 0.5 and over all classes.
    pub calibrated: bool,
    /// Precision from that score on.
    pub precision_at_threshold: f64,
    /// Recall from that score on.
    pub recall_at_threshold: f64,
}

/// How a class is found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassEvaluation {
    /// Average precision, mean over least overlaps of 0.5, 0.55, …, 0.95.
    pub ap: f64,
    /// Average precision at a least overlap of 0.5.
    pub ap50: f64,
    /// Share of the things found at all, at an overlap of 0.5.
    pub recall50: f64,
    /// How many there are; ignored ones do not count.
    pub support: u64,
}

impl Evaluation {
    /// Of pictures whose losses add up to `loss`; things are told from the score `threshold` on, or from where that is best for
    /// these pictures.
    pub fn new(seen: Vec<Seen>, loss: f64, classes: &[String], threshold: Option<f32>) -> Self {
        let curves: Vec<Option<[Curve; OVERLAPS]>> =
            (0..classes.len()).map(|class| average_precision(&seen, class)).collect();
        let mean = |of: &dyn Fn(&[Curve; OVERLAPS]) -> f64| {
            let values: Vec<f64> = curves.iter().flatten().map(of).collect();
            values.iter().sum::<f64>() / values.len().max(1) as f64
        };
        let things = seen.iter().flat_map(|picture| &picture.truth).filter(|b| !b.ignored).count();
        let answers = answers(&seen);
        let calibrated = threshold.is_some();
        let threshold = threshold.map_or_else(|| best_threshold(&answers, things), f64::from);
        let [precision_at_threshold, recall_at_threshold] = told_from(threshold, &answers, things);
        let metrics = Metrics {
            map: mean(&mean_precision),
            map50: mean(&|curves| curves[0].average_precision),
            map75: mean(&|curves| curves[STRICT].average_precision),
            recall: mean(&|curves| curves.iter().map(|curve| curve.recall).sum::<f64>() / OVERLAPS as f64),
            threshold,
            calibrated,
            precision_at_threshold,
            recall_at_threshold,
        };
        let of_class = |(class, curves): (usize, &Option<[Curve; OVERLAPS]>)| {
            let curves = curves.as_ref()?;
            let of_it = |b: &&BoundingBox| b.class == class && !b.ignored;
            let support = seen.iter().flat_map(|picture| &picture.truth).filter(of_it).count() as u64;
            let [ap, ap50, recall50] = [mean_precision(curves), curves[0].average_precision, curves[0].recall];
            Some((classes[class].clone(), ClassEvaluation { ap, ap50, recall50, support }))
        };
        Self {
            task: "detect",
            samples: seen.len() as u64,
            loss: loss / seen.len().max(1) as f64,
            metrics,
            per_class: curves.iter().enumerate().filter_map(of_class).collect(),
            curves: curves.into_iter().map(|curves| curves.map(|[half, ..]| half)).collect(),
            seen,
        }
    }
}

fn mean_precision(curves: &[Curve; OVERLAPS]) -> f64 {
    curves.iter().map(|curve| curve.average_precision).sum::<f64>() / OVERLAPS as f64
}

/// Each thing found, the surest first: its score, and whether it is right at an overlap of one half.
fn answers(seen: &[Seen]) -> Vec<(f64, bool)> {
    let told = seen.iter().flat_map(|picture| picture.told(0.0).0);
    let mut answers: Vec<(f64, bool)> = told.map(|(found, right)| (f64::from(found.score), right)).collect();
    answers.sort_by(|a, b| b.0.total_cmp(&a.0));
    answers
}

/// The score from which on F1 over all classes is highest; zero if nothing is found.
fn best_threshold(answers: &[(f64, bool)], things: usize) -> f64 {
    let (mut right, mut best, mut best_f1) = (0.0, 0.0, 0.0);
    for (number, &(score, is_right)) in answers.iter().enumerate() {
        right += f64::from(u8::from(is_right));
        let f1 = 2.0 * right / ((number + 1) as f64 + things as f64);
        if f1 > best_f1 {
            (best, best_f1) = (score, f1);
        }
    }
    best
}

/// Precision and recall of what is told from a score on; zeros if there is nothing.
fn told_from(threshold: f64, answers: &[(f64, bool)], things: usize) -> [f64; 2] {
    let told = answers.iter().take_while(|(score, _)| *score >= threshold);
    let (right, all) = told.fold((0, 0), |(right, all), (_, is_right)| (right + usize::from(*is_right), all + 1));
    [all, things].map(|of: usize| right as f64 / of.max(1) as f64)
}

impl Seen {
    /// What is told from that score on, each with whether it is right; and what was missed. Ignored things count neither way.
    pub(super) fn told(&self, threshold: f32) -> (Vec<(Detection, bool)>, Vec<BoundingBox>) {
        let mut missed: Vec<BoundingBox> = self.truth.iter().filter(|b| !b.ignored).copied().collect();
        let mut told = Vec::new();
        for &found in self.found.iter().filter(|found| found.score >= threshold) {
            let overlap = |b: &BoundingBox| match b.class == found.class {
                true => intersection_over_union(found.corners, b.corners, b.ignored),
                false => 0.0,
            };
            let best = (0..missed.len()).max_by(|&a, &b| overlap(&missed[a]).total_cmp(&overlap(&missed[b])));
            let right = best.filter(|&at| overlap(&missed[at]) >= ENOUGH);
            let in_ignored = || self.truth.iter().any(|b| b.ignored && overlap(b) >= ENOUGH);
            match right {
                Some(at) => drop(missed.swap_remove(at)),
                None if in_ignored() => continue,
                None => {}
            }
            told.push((found, right.is_some()));
        }
        (told, missed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::average_precision::overlap;
    use super::*;

    #[test]
    fn overlaps_are_named_as_they_are() {
        assert_eq!((overlap(0), overlap(STRICT)), (ENOUGH, 0.75));
    }

    #[test]
    fn the_threshold_is_where_f1_is_highest() {
        let (here, there) = ([0.0, 0.0, 0.25, 0.25], [0.5, 0.5, 0.75, 0.75]);
        let found = |score, corners| Detection { class: 0, score, corners };
        let thing = |corners| BoundingBox { class: 0, corners, ignored: false };
        // Right, right, wrong, wrong: F1 is 2/3 after one, 1 after two.
        let seen = Seen {
            found: vec![found(0.75, here), found(0.5, there), found(0.25, here), found(0.125, there)],
            truth: vec![thing(here), thing(there)],
        };
        let (told, missed) = seen.told(0.6);
        assert_eq!((told, missed), (vec![(found(0.75, here), true)], vec![thing(there)]));
        let classes = ["thing".to_owned(), "none".to_owned()];
        let judged = |threshold| Evaluation::new(vec![seen.clone(), Seen::default()], 3.0, &classes, threshold);
        let evaluation = judged(None);
        let told = |Metrics { threshold, precision_at_threshold, recall_at_threshold, map, .. }: Metrics| {
            [threshold, precision_at_threshold, recall_at_threshold, map]
        };
        assert!(!evaluation.metrics.calibrated && judged(Some(0.25)).metrics.calibrated);
        assert_eq!(told(evaluation.metrics.clone()), [0.5, 1.0, 1.0, 1.0]);
        assert_eq!(told(judged(Some(0.25)).metrics), [0.25, 2.0 / 3.0, 1.0, 1.0]);
        assert_eq!(told(judged(Some(0.625)).metrics), [0.625, 1.0, 0.5, 1.0]);
        assert_eq!((evaluation.samples, evaluation.loss), (2, 1.5));
        assert_eq!(evaluation.per_class.keys().collect::<Vec<_>>(), ["thing"]);
    }

    #[test]
    fn answers_of_a_class_that_is_not_there_are_wrong() {
        let corners = [0.0, 0.0, 0.25, 0.25];
        let found = |class| Detection { class, score: 0.5, corners };
        let thing = |class, ignored| BoundingBox { class, corners, ignored };
        let judged = |truth| {
            let seen = Seen { found: vec![found(0), found(1)], truth };
            let metrics = Evaluation::new(vec![seen], 0.0, &["thing".to_owned(), "none".to_owned()], None).metrics;
            [metrics.precision_at_threshold, metrics.recall_at_threshold]
        };
        assert_eq!(judged(vec![thing(0, false)]), [0.5, 1.0]);
        assert_eq!(judged(vec![thing(0, false), thing(1, true)]), [1.0, 1.0], "what is ignored counts neither way");
    }

    #[test]
    fn nothing_is_no_success() {
        let evaluation = Evaluation::new(Vec::new(), 0.0, &["thing".to_owned()], None);
        assert_eq!((evaluation.metrics.map, evaluation.metrics.threshold, evaluation.loss), (0.0, 0.0, 0.0));
    }
}
