use rayon::prelude::*;
use serde::Serialize;

use super::ranking::Ranking;

/// Probabilities with the classes that were right: what tells more than the most probable class does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    pub(super) classes: usize,
    pub(super) truth: Vec<usize>,
    /// `[samples, classes]`.
    pub(super) probabilities: Vec<f32>,
    /// A number for each image, equal for those that belong together.
    pub(super) groups: Option<Vec<usize>>,
}

/// One way to divide two classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OperatingPoint {
    /// From this probability on, the answer is the second class.
    pub threshold: f64,
    /// Share of the second class's images that are found.
    pub sensitivity: f64,
    /// Share of the first class's images that are not taken for the second.
    pub specificity: f64,
}

/// Bins of the calibration error, of equal width.
pub(super) const BINS: usize = 15;

/// Bins hold their upper end: the first goes from 0 to 1/15, both included. It takes what is no number, too.
pub(super) fn bin(probability: f64) -> usize {
    ((probability * BINS as f64).ceil() as usize).clamp(1, BINS) - 1
}

impl Scores {
    /// None yet, for `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self { classes, ..Self::default() }
    }

    /// Adds an image of `class`.
    pub fn add(&mut self, class: usize, probabilities: &[f32]) {
        self.truth.push(class);
        self.probabilities.extend_from_slice(probabilities);
    }

    /// Area under the receiver operating characteristic: the chance that an image of a class is given a higher probability
    /// for it than one of another class is, equals counting half. Of two classes the second is meant; of more, the mean
    /// over the classes (each against the rest) that occur. `None` if all images are of one class.
    pub fn roc_auc(&self) -> Option<f64> {
        self.mean_over_classes(Ranking::roc_auc)
    }

    /// Average precision: the area under the curve of precision over recall, in steps. Means as in [`Scores::roc_auc`].
    pub fn average_precision(&self) -> Option<f64> {
        self.mean_over_classes(Ranking::average_precision)
    }

    fn mean_over_classes(&self, area: impl Fn(&Ranking, &[u32]) -> Option<f64> + Sync) -> Option<f64> {
        let times = vec![1; self.truth.len()];
        let areas: Vec<f64> = self.rankings().par_iter().filter_map(|ranking| area(ranking, &times)).collect();
        (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
    }

    /// The classes that are judged one against the rest.
    pub(super) fn rankings(&self) -> Vec<Ranking> {
        let first = if self.classes == 2 { 1 } else { 0 };
        (first..self.classes).into_par_iter().map(|class| self.ranking(class)).collect()
    }

    /// Brier score: mean squared distance of probabilities from the truth, 0 at best. Of two classes it is that of the second,
    /// at most 1; of more, the sum over the classes, at most 2.
    ///
    /// Source: Brier, Verification of forecasts expressed in terms of probability, 1950,
    /// <https://doi.org/10.1175/1520-0493(1950)078%3C0001:VOFEIT%3E2.0.CO;2>.
    pub fn brier_score(&self) -> f64 {
        let rows = self.probabilities.chunks_exact(self.classes).zip(&self.truth);
        rows.map(|(row, &class)| brier(row, class)).sum::<f64>() / self.truth.len().max(1) as f64
    }

    /// Expected calibration error: how far the probability of an answer is from the share of such answers that are right,
    /// on average over 15 bins of probability.
    ///
    /// Source: Guo, Pleiss, Sun & Weinberger, 2017, <https://arxiv.org/abs/1706.04599>.
    pub fn calibration_error(&self) -> f64 {
        let mut bins = [(0.0, 0.0); BINS];
        for (row, &class) in self.probabilities.chunks_exact(self.classes).zip(&self.truth) {
            let answer = super::most_probable(row);
            let p = f64::from(row[answer]);
            let bin = &mut bins[bin(p)];
            bin.0 += p;
            bin.1 += f64::from(u8::from(answer == class));
        }
        bins.iter().map(|(expected, right)| (expected - right).abs()).sum::<f64>() / self.truth.len().max(1) as f64
    }

    /// How two classes divide at thresholds 0.1, 0.2, …, 0.9; empty unless there are two.
    pub fn operating_points(&self) -> Vec<OperatingPoint> {
        if self.classes != 2 {
            return Vec::new();
        }
        let at = |threshold: f64| {
            let found = |class: usize, above: bool| {
                let of_class = self.truth.iter().zip(self.probabilities.chunks_exact(2)).filter(|(t, _)| **t == class);
                let (right, all) = of_class.fold((0u64, 0u64), |(right, all), (_, row)| {
                    (right + u64::from((row[1] >= threshold as f32) == above), all + 1)
                });
                super::metrics::ratio(right, all)
            };
            OperatingPoint { threshold, sensitivity: found(1, true), specificity: found(0, false) }
        };
        (1..10).map(|tenth| at(f64::from(tenth) / 10.0)).collect()
    }
}

/// Squared distance of probabilities from the truth; of two classes, that of the second alone.
pub(super) fn brier(row: &[f32], class: usize) -> f64 {
    let first = if row.len() == 2 { 1 } else { 0 };
    let distance = |(i, &p): (usize, &f32)| (f64::from(p) - f64::from(u8::from(i == class))).powi(2);
    row.iter().enumerate().skip(first).map(distance).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from scikit-learn; `tests/fixtures/metrics/make.py` makes the file.
    #[derive(serde::Deserialize)]
    struct Recorded {
        truth: Vec<usize>,
        probabilities: Vec<Vec<f32>>,
        roc_auc: f64,
        average_precision: f64,
        calibration_error: f64,
        brier_score: f64,
        trade_offs: Vec<RecordedTradeOff>,
        decision_curve: Vec<[f64; 3]>,
    }

    /// Sensitivity and specificity at which scikit-learn's curve has the most of the one that is not held.
    #[derive(serde::Deserialize)]
    struct RecordedTradeOff {
        class: usize,
        held: String,
        at_least: f64,
        rest: f64,
    }

    fn recorded() -> Vec<(Recorded, Scores)> {
        let text = include_str!("../../../tests/fixtures/metrics/scores.json");
        let all: Vec<Recorded> = serde_json::from_str(text).unwrap();
        let scores = |r: &Recorded| {
            let mut scores = Scores::new(r.probabilities[0].len());
            r.truth.iter().zip(&r.probabilities).for_each(|(&class, row)| scores.add(class, row));
            scores
        };
        all.into_iter().map(|r| (scores(&r), r)).map(|(s, r)| (r, s)).collect()
    }

    #[test]
    fn summaries_agree_with_scikit_learn() {
        for (expected, scores) in recorded() {
            let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} instead of {b}");
            close(scores.roc_auc(), expected.roc_auc);
            close(scores.average_precision(), expected.average_precision);
            close(Some(scores.calibration_error()), expected.calibration_error);
            close(Some(scores.brier_score()), expected.brier_score);
        }
    }

    #[test]
    fn trade_offs_agree_with_scikit_learn() {
        for (expected, scores) in recorded() {
            let classes: Vec<String> = (0..scores.classes).map(|i| i.to_string()).collect();
            let found = scores.trade_offs(&classes);
            assert_eq!(found.len(), expected.trade_offs.len());
            for (found, expected) in found.iter().zip(&expected.trade_offs) {
                assert_eq!((&found.class, found.held_name()), (&expected.class.to_string(), expected.held.as_str()));
                assert_eq!(found.at_least, expected.at_least);
                assert!((found.rest().1 - expected.rest).abs() < 1e-12, "{found:?} instead of {}", expected.rest);
            }
        }
    }

    #[test]
    fn decision_curves_agree_with_dcurves() {
        let curves = recorded().into_iter().filter(|(expected, _)| !expected.decision_curve.is_empty());
        for (expected, scores) in curves {
            let found = scores.decision_curve(1, 20);
            assert_eq!(found.len(), expected.decision_curve.len());
            for (found, [threshold, network, all]) in found.iter().zip(expected.decision_curve) {
                let far = [found.threshold - threshold, found.network - network, found.all - all];
                assert!(far.iter().all(|x| x.abs() < 1e-12), "{found:?} instead of {network} and {all}");
            }
        }
    }

    fn four(second: [f32; 4]) -> Scores {
        let mut scores = Scores::new(2);
        [0, 0, 1, 1].into_iter().zip(second).for_each(|(class, p)| scores.add(class, &[1.0 - p, p]));
        scores
    }

    #[test]
    fn answers_that_are_no_numbers_are_counted() {
        let metrics = four([0.1, f32::NAN, f32::INFINITY, 0.9]);
        assert!(!metrics.calibration_error().is_finite());
        assert_eq!([f64::NAN, -1.0, 0.0, 1.0, f64::INFINITY].map(bin), [0, 0, 0, BINS - 1, BINS - 1]);
    }

    #[test]
    fn known_areas() {
        assert_eq!(four([0.1, 0.2, 0.8, 0.9]).roc_auc(), Some(1.0));
        assert_eq!(four([0.9, 0.8, 0.2, 0.1]).roc_auc(), Some(0.0));
        assert_eq!(four([0.5; 4]).roc_auc(), Some(0.5));
        assert_eq!(four([0.5; 4]).average_precision(), Some(0.5));
        let mut one_class = Scores::new(2);
        one_class.add(1, &[0.3, 0.7]);
        assert_eq!(one_class.roc_auc(), None);
    }

    #[test]
    fn thresholds_trade_sensitivity_for_specificity() {
        let points = four([0.1, 0.6, 0.55, 0.9]).operating_points();
        let at = |i: usize| (points[i].sensitivity, points[i].specificity);
        assert_eq!(points.len(), 9);
        assert_eq!((at(0), at(4), at(5), at(8)), ((1.0, 0.0), (1.0, 0.5), (0.5, 0.5), (0.5, 1.0)));
    }
}
