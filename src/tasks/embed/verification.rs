use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Embeddings;
use super::embeddings::dot;

/// How alike pairs of pictures are, of one class and of two.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Cosines of pairs of one class, the largest first.
    pub same: Vec<f32>,
    /// Cosines of pairs of two classes, the largest first.
    pub different: Vec<f32>,
}

/// How pairs divide at a threshold: those as alike or more are taken for the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingPoint {
    /// Least cosine of what is taken for the same.
    pub threshold: f32,
    /// Share of pairs of two classes that are taken for the same.
    pub false_accept_rate: f64,
    /// Share of pairs of one class that are not.
    pub false_reject_rate: f64,
}

/// How well a threshold tells whether two pictures are of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// Pairs of one class.
    pub same_pairs: u64,
    /// Pairs of two classes.
    pub different_pairs: u64,
    /// Area under the receiver operating characteristic: how often a pair of one class is more alike than one of two.
    pub roc_auc: f64,
    /// The rate at which as large a share of pairs is falsely accepted as falsely rejected.
    pub equal_error_rate: f64,
    /// Share of pairs of one class that are accepted, where no more than a given share of the others are: see [`TrueAccepts`].
    pub tar_at_far: Vec<TrueAccepts>,
    /// Whether the threshold was chosen before, on other pictures.
    pub calibrated: bool,
    /// What the threshold does on these pairs.
    pub at_threshold: OperatingPoint,
    /// Share of right answers at the threshold, if as many pairs were of one class as of two.
    pub accuracy: f64,
}

/// Pairs that are accepted where false accepts are limited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TrueAccepts {
    /// Largest share of pairs of two classes that may be accepted.
    pub far: f64,
    /// Share of pairs of one class that then are.
    pub tar: f64,
}

impl TrueAccepts {
    /// The limit in per cent, with no more digits than it has: 1e-5 is `0.001 %`.
    pub fn limit(&self) -> String {
        let digits = (-self.far.log10().round()).max(2.0) as usize - 2;
        format!("{:.digits$} %", 100.0 * self.far)
    }
}

/// Pictures whose pairs are formed, at most: 17 million pairs.
const MOST_PICTURES: usize = 5800;

/// Limits of false accepts that are told, where enough pairs tell them.
const LIMITS: [f64; 5] = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5];
/// False accepts at a limit below which it says nothing.
const FEWEST: f64 = 10.0;

impl OperatingPoint {
    /// Share of right answers, if as many pairs were of one class as of two.
    pub fn accuracy(&self) -> f64 {
        1.0 - (self.false_accept_rate + self.false_reject_rate) / 2.0
    }
}

impl Pairs {
    /// All pairs of the pictures, or of 5800 of them that are spread evenly.
    pub fn of(embeddings: &Embeddings) -> Self {
        let pictures: Vec<usize> = embeddings.spread(MOST_PICTURES).collect();
        let with_earlier = |at: usize| {
            let (mut same, mut different) = (Vec::new(), Vec::new());
            let picture = pictures[at];
            for &other in &pictures[..at] {
                let alike = embeddings.labels[picture] == embeddings.labels[other];
                let pairs = if alike { &mut same } else { &mut different };
                pairs.push(dot(embeddings.vector(picture), embeddings.vector(other)));
            }
            (same, different)
        };
        let found: Vec<(Vec<f32>, Vec<f32>)> = (0..pictures.len()).into_par_iter().map(with_earlier).collect();
        let (same, different): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Self::new(same.concat(), different.concat())
    }

    /// Of cosines in any order.
    pub fn new(mut same: Vec<f32>, mut different: Vec<f32>) -> Self {
        for side in [&mut same, &mut different] {
            side.par_sort_unstable_by(|a, b| b.total_cmp(a));
        }
        Self { same, different }
    }

    /// Whether there are pairs of either kind.
    pub fn tell(&self) -> bool {
        !self.same.is_empty() && !self.different.is_empty()
    }

    /// What each cosine that occurs does as a threshold, the largest first.
    pub fn operating_points(&self) -> impl Iterator<Item = OperatingPoint> {
        let (mut accepted, mut falsely) = (0, 0);
        let next = |side: &[f32], at: usize| side.get(at).copied();
        let share = |count: usize, side: &[f32]| count as f64 / side.len().max(1) as f64;
        std::iter::from_fn(move || {
            let candidates = [next(&self.same, accepted), next(&self.different, falsely)];
            let threshold = candidates.into_iter().flatten().max_by(f32::total_cmp)?;
            let up_to = |side: &[f32], from: usize| from + side[from..].iter().take_while(|&&s| s >= threshold).count();
            (accepted, falsely) = (up_to(&self.same, accepted), up_to(&self.different, falsely));
            let false_reject_rate = share(self.same.len() - accepted, &self.same);
            Some(OperatingPoint { threshold, false_accept_rate: share(falsely, &self.different), false_reject_rate })
        })
    }

    /// What a threshold does.
    pub fn at(&self, threshold: f32) -> OperatingPoint {
        let accepted = |side: &[f32]| side.partition_point(|&s| s >= threshold) as f64 / side.len().max(1) as f64;
        let (false_accept_rate, right) = (accepted(&self.different), accepted(&self.same));
        OperatingPoint { threshold, false_accept_rate, false_reject_rate: 1.0 - right }
    }

    /// The threshold at which most answers are right, if as many pairs were of one class as of two: in the middle between the
    /// cosines around it.
    pub fn best(&self) -> OperatingPoint {
        let mut points = self.operating_points().peekable();
        let mut best = self.at(f32::INFINITY);
        let mut below = None;
        while let Some(point) = points.next() {
            if point.accuracy() > best.accuracy() {
                (best, below) = (point, points.peek().map(|next| next.threshold));
            }
        }
        let threshold = below.map_or(best.threshold, |below| between(below, best.threshold));
        OperatingPoint { threshold, ..best }
    }

    /// The lowest threshold at which no more than a share `limit` of pairs of two classes are accepted.
    pub fn limited(&self, limit: f64) -> Option<OperatingPoint> {
        self.operating_points().take_while(|point| point.false_accept_rate <= limit).last()
    }

    /// The limits of false accepts that the pairs are enough for.
    pub fn limits(&self) -> impl Iterator<Item = f64> {
        let pairs = self.different.len() as f64;
        LIMITS.into_iter().filter(move |limit| limit * pairs >= FEWEST)
    }

    fn roc_auc(&self) -> f64 {
        let (mut area, mut before) = (0.0, [0.0, 0.0]);
        for point in self.operating_points() {
            let [x, y] = [point.false_accept_rate, 1.0 - point.false_reject_rate];
            area += (x - before[0]) * (y + before[1]) / 2.0;
            before = [x, y];
        }
        area
    }

    /// Where the curve, straight between its points, has as many false accepts as false rejects.
    fn equal_error_rate(&self) -> f64 {
        let mut before = [0.0, 1.0];
        for point in self.operating_points() {
            let [accepts, rejects] = [point.false_accept_rate, point.false_reject_rate];
            if accepts >= rejects {
                let [from, to] = [before[1] - before[0], rejects - accepts];
                let share = if from > to { from / (from - to) } else { 0.0 };
                return before[0] + share * (accepts - before[0]);
            }
            before = [accepts, rejects];
        }
        before[0]
    }

    /// How well they are told apart, by a threshold chosen before, or by that which is best for them; `None` unless there are pairs
    /// of either kind.
    pub fn verification(&self, threshold: Option<f32>) -> Option<Verification> {
        if !self.tell() {
            return None;
        }
        let at_threshold = threshold.map_or_else(|| self.best(), |threshold| self.at(threshold));
        let tar = |far| TrueAccepts { far, tar: self.limited(far).map_or(0.0, |point| 1.0 - point.false_reject_rate) };
        Some(Verification {
            same_pairs: self.same.len() as u64,
            different_pairs: self.different.len() as u64,
            roc_auc: self.roc_auc(),
            equal_error_rate: self.equal_error_rate(),
            tar_at_far: self.limits().map(tar).collect(),
            calibrated: threshold.is_some(),
            at_threshold,
            accuracy: at_threshold.accuracy(),
        })
    }
}

/// The middle of two numbers; the larger one if there is none between them.
fn between(smaller: f32, larger: f32) -> f32 {
    let middle = smaller + (larger - smaller) / 2.0;
    if middle > smaller { middle } else { larger }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_however_small() {
        let limit = |far| TrueAccepts { far, tar: 0.5 }.limit();
        assert_eq!([0.1, 0.01, 0.001, 1e-5, 1e-6].map(limit), ["10 %", "1 %", "0.1 %", "0.001 %", "0.0001 %"]);
    }

    #[test]
    fn a_threshold_lies_between_what_it_parts() {
        let pairs = Pairs::new(vec![0.5, 0.75, 0.9], vec![0.25, -0.5, 0.0]);
        let best = pairs.best();
        assert_eq!((best.threshold, best.accuracy()), (0.375, 1.0));
        let all = pairs.verification(None).unwrap();
        assert_eq!((all.roc_auc, all.equal_error_rate, all.calibrated), (1.0, 0.0, false));
        assert!(all.tar_at_far.is_empty(), "three pairs say nothing of one in ten");
        let at = pairs.verification(Some(0.8)).unwrap();
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(at.at_threshold.false_reject_rate, 2.0 / 3.0) && near(at.accuracy, 2.0 / 3.0) && at.calibrated);
    }

    #[test]
    fn what_is_all_the_same_is_told_by_chance() {
        let pairs = Pairs::new(vec![0.5; 4], vec![0.5; 9]);
        let all = pairs.verification(None).unwrap();
        assert_eq!((all.roc_auc, all.equal_error_rate, all.accuracy), (0.5, 0.5, 0.5));
    }

    #[test]
    fn one_kind_of_pairs_tells_nothing() {
        assert!(Pairs::new(vec![0.5], vec![]).verification(None).is_none());
        assert!(Pairs::new(vec![], vec![0.5]).verification(None).is_none());
    }

    #[test]
    fn limits_need_ten_false_accepts() {
        let pairs = |n: usize| Pairs::new(vec![0.9], (0..n).map(|i| i as f32 / n as f32 - 0.5).collect());
        let limits = |n: usize| pairs(n).limits().collect::<Vec<_>>();
        assert_eq!(limits(99), [] as [f64; 0]);
        assert_eq!(limits(1000), [1e-1, 1e-2]);
        assert_eq!(pairs(1000).limited(0.01).unwrap().false_accept_rate, 0.01);
    }
}
