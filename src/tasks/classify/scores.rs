use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use crate::data::Seed;

/// Probabilities with the classes that were right: what tells more than the most probable class does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    pub(super) classes: usize,
    pub(super) truth: Vec<usize>,
    /// `[samples, classes]`.
    pub(super) probabilities: Vec<f32>,
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
        self.mean_over_classes(|ranking| ranking.roc_auc(&vec![1; self.truth.len()]))
    }

    /// Average precision: the area under the curve of precision over recall, in steps. Means as in [`Scores::roc_auc`].
    pub fn average_precision(&self) -> Option<f64> {
        self.mean_over_classes(Ranking::average_precision)
    }

    fn mean_over_classes(&self, area: impl Fn(&Ranking) -> Option<f64> + Sync) -> Option<f64> {
        let areas: Vec<f64> = self.rankings().par_iter().filter_map(&area).collect();
        (!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)
    }

    /// The classes that are judged one against the rest.
    fn rankings(&self) -> Vec<Ranking> {
        let first = if self.classes == 2 { 1 } else { 0 };
        (first..self.classes).into_par_iter().map(|class| self.ranking(class)).collect()
    }

    fn ranking(&self, class: usize) -> Ranking {
        let score = |i: usize| self.probabilities[i * self.classes + class];
        let mut order: Vec<usize> = (0..self.truth.len()).collect();
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        let image = |i: usize| Ranked { image: i, score: score(i), is_class: self.truth[i] == class };
        Ranking(order.into_iter().map(image).collect())
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

    /// Between which values accuracy and area under the curve lie in 95 of 100 sets like this one: percentiles over
    /// `resamples` sets of as many images, drawn from these with replacement. The area's is `None` where the area is.
    ///
    /// Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    pub fn intervals(&self, resamples: u64, seed: Seed) -> Intervals {
        let (n, rankings) = (self.truth.len(), self.rankings());
        let right: Vec<bool> = (self.probabilities.chunks_exact(self.classes).zip(&self.truth))
            .map(|(row, &class)| super::most_probable(row) == class)
            .collect();
        let draw = |index: u64| {
            let mut rng = seed.generator("bootstrap", &[index]);
            let mut times = vec![0_u32; n];
            (0..n).for_each(|_| times[rng.random_range(0..n)] += 1);
            let right: u32 = times.iter().zip(&right).filter(|(_, right)| **right).map(|(times, _)| times).sum();
            let areas: Vec<f64> = rankings.iter().filter_map(|r| r.roc_auc(&times)).collect();
            let area = areas.iter().sum::<f64>() / areas.len() as f64;
            (f64::from(right) / n as f64, area)
        };
        let draws: Vec<(f64, f64)> = (0..resamples).into_par_iter().map(draw).collect();
        let interval = |values: Vec<f64>| {
            let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            let at = |share: f64| values.get((share * (values.len() as f64 - 1.0)).round() as usize).copied();
            Some([at(0.025)?, at(0.975)?])
        };
        Intervals {
            accuracy: interval(draws.iter().map(|d| d.0).collect()),
            roc_auc: interval(draws.iter().map(|d| d.1).collect()),
        }
    }
}

/// 95 % confidence intervals: least and most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Intervals {
    /// Of the accuracy.
    pub accuracy: Option<[f64; 2]>,
    /// Of the area under the receiver operating characteristic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<[f64; 2]>,
}

/// The images in order of a class's probability, the highest first.
struct Ranking(Vec<Ranked>);

struct Ranked {
    image: usize,
    score: f32,
    is_class: bool,
}

impl Ranking {
    /// Images of equal probability.
    fn ties(&self) -> impl Iterator<Item = &[Ranked]> {
        self.0.chunk_by(|a, b| a.score == b.score)
    }

    /// With each image counted so many times.
    fn roc_auc(&self, times: &[u32]) -> Option<f64> {
        let (mut found, mut others, mut area) = (0.0, 0.0, 0.0);
        for tie in self.ties() {
            let (mut of_class, mut of_others) = (0.0, 0.0);
            for image in tie {
                *(if image.is_class { &mut of_class } else { &mut of_others }) += f64::from(times[image.image]);
            }
            area += of_others * (found + 0.5 * of_class);
            found += of_class;
            others += of_others;
        }
        let pairs = found * others;
        (pairs > 0.0).then(|| area / pairs)
    }

    fn average_precision(&self) -> Option<f64> {
        let (mut found, mut seen, mut sum) = (0.0, 0.0, 0.0);
        for tie in self.ties() {
            let of_class = tie.iter().filter(|i| i.is_class).count() as f64;
            found += of_class;
            seen += tie.len() as f64;
            sum += of_class * found / seen;
        }
        (found > 0.0).then(|| sum / found)
    }
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
    fn areas_agree_with_scikit_learn() {
        for (expected, scores) in recorded() {
            let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-12, "{a:?} instead of {b}");
            close(scores.roc_auc(), expected.roc_auc);
            close(scores.average_precision(), expected.average_precision);
            close(Some(scores.calibration_error()), expected.calibration_error);
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

    #[test]
    fn intervals_enclose_the_value_and_shrink_with_more_images() {
        let widths: Vec<f64> = [1, 16]
            .into_iter()
            .map(|copies| {
                let mut scores = Scores::new(2);
                for _ in 0..copies {
                    let rows = [(0, 0.2), (0, 0.4), (0, 0.6), (0, 0.1), (1, 0.9), (1, 0.7), (1, 0.3), (1, 0.8)];
                    rows.into_iter().for_each(|(class, p)| scores.add(class, &[1.0 - p, p]));
                }
                let found = scores.intervals(500, Seed(0));
                assert_eq!(found, scores.intervals(500, Seed(0)));
                let ([least, most], area) = (found.accuracy.unwrap(), found.roc_auc.unwrap());
                assert!(least <= 0.75 && 0.75 <= most, "{least} to {most}");
                assert!(area[0] <= 0.875 && 0.875 <= area[1], "{area:?}");
                most - least
            })
            .collect();
        // The standard error falls with the square root of the number of images: here to a quarter.
        assert!((widths[0] / widths[1] - 4.0).abs() < 1.5, "{widths:?}");
    }
}
