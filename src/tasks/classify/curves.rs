use serde::Serialize;

use super::{Scores, most_probable};

/// How a classifier trades one virtue for another: curves for people, of a few points each.
impl Scores {
    /// Receiver operating characteristic: `[share of others taken for the class, share of the class found]` at falling
    /// thresholds. Without a class, all of them taken together, each image with each class.
    pub fn roc(&self, class: Option<usize>) -> Vec<[f64; 2]> {
        let ranked = self.ranked(class);
        let of_class = ranked.iter().filter(|r| r.1).count();
        let of_others = ranked.len() - of_class;
        let share = |part: usize, whole: usize| if whole == 0 { f64::NAN } else { part as f64 / whole as f64 };
        let start = (of_class > 0 && of_others > 0).then_some([0.0, 0.0]);
        let points = sweep(&ranked).map(|(found, seen)| [share(seen - found, of_others), share(found, of_class)]);
        thin(start.into_iter().chain(points).collect())
    }

    /// `[recall, precision]` at falling thresholds. Classes as in [`Scores::roc`].
    pub fn precision_recall(&self, class: Option<usize>) -> Vec<[f64; 2]> {
        let ranked = self.ranked(class);
        let of_class = ranked.iter().filter(|r| r.1).count();
        let point = |(found, seen): (usize, usize)| [found as f64 / of_class as f64, found as f64 / seen as f64];
        if of_class == 0 { Vec::new() } else { thin(sweep(&ranked).map(point).collect()) }
    }

    /// How often answers of like probability are right, in bins of equal width from 0 to 1; those without answers left out.
    pub fn reliability(&self) -> Vec<Reliability> {
        let mut bins = vec![Reliability::default(); super::scores::BINS];
        for (p, right) in self.answers() {
            let bin = &mut bins[super::scores::bin(p)];
            bin.probability += p;
            bin.right += f64::from(u8::from(right));
            bin.answers += 1;
        }
        let mean = |b: Reliability| {
            let n = b.answers as f64;
            Reliability { probability: b.probability / n, right: b.right / n, ..b }
        };
        bins.into_iter().filter(|b| b.answers > 0).map(mean).collect()
    }

    /// `[share of images answered, accuracy on them]`, when only the most certain are answered.
    ///
    /// Source: El-Yaniv & Wiener, On the foundations of noise-free selective classification, JMLR 11, 2010.
    pub fn coverage(&self) -> Vec<[f64; 2]> {
        let mut answers: Vec<(f64, bool)> = self.answers().collect();
        answers.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (n, mut right, mut seen) = (answers.len() as f64, 0, 0);
        let mut points = Vec::new();
        for tie in answers.chunk_by(|a, b| a.0 == b.0) {
            right += tie.iter().filter(|a| a.1).count();
            seen += tie.len();
            points.push([seen as f64 / n, right as f64 / seen as f64]);
        }
        thin(points)
    }

    /// What is gained when answers below some probabilities are not given.
    pub fn selective(&self) -> Vec<Selective> {
        let at = |threshold: f64| {
            let given = self.answers().filter(|(p, _)| *p as f32 >= threshold as f32);
            let (right, given) = given.fold((0, 0), |(right, all), (_, r)| (right + usize::from(r), all + 1));
            let coverage = given as f64 / self.truth.len().max(1) as f64;
            Selective { threshold, coverage, accuracy: (given > 0).then(|| right as f64 / given as f64) }
        };
        [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99].map(at).into()
    }

    /// Images that were answered wrongly, the most certain first: positions in the set.
    pub fn worst(&self, most: usize) -> Vec<usize> {
        self.ordered(most, |right, p| (!right).then_some(-p))
    }

    /// Images whose answer was the least certain: positions in the set.
    pub fn least_certain(&self, most: usize) -> Vec<usize> {
        self.ordered(most, |_, p| Some(p))
    }

    /// Class, answer and its probability of the image at `index`.
    pub fn answer(&self, index: usize) -> (usize, usize, f32) {
        let row = &self.probabilities[index * self.classes..][..self.classes];
        let answer = most_probable(row);
        (self.truth[index], answer, row[answer])
    }

    fn ordered(&self, most: usize, key: impl Fn(bool, f64) -> Option<f64>) -> Vec<usize> {
        let keys = self.answers().enumerate().filter_map(|(i, (p, right))| Some((key(right, p)?, i)));
        let mut keys: Vec<(f64, usize)> = keys.collect();
        keys.sort_by(|a, b| a.0.total_cmp(&b.0));
        keys.into_iter().take(most).map(|(_, i)| i).collect()
    }

    /// Probability of each image's answer, and whether it is right.
    fn answers(&self) -> impl Iterator<Item = (f64, bool)> {
        self.probabilities.chunks_exact(self.classes).zip(&self.truth).map(|(row, &class)| {
            let answer = most_probable(row);
            (f64::from(row[answer]), answer == class)
        })
    }

    /// Probabilities with whether the image is of that class, the highest first. Of very many, evenly chosen images.
    fn ranked(&self, class: Option<usize>) -> Vec<(f32, bool)> {
        const MOST: usize = 1 << 21;
        let classes = class.map_or(0..self.classes, |c| c..c + 1);
        let skip = (self.truth.len() * classes.len()).div_ceil(MOST).max(1);
        let rows = self.probabilities.chunks_exact(self.classes).zip(&self.truth).step_by(skip);
        let mut ranked: Vec<(f32, bool)> =
            rows.flat_map(|(row, &truth)| classes.clone().map(move |c| (row[c], c == truth))).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked
    }
}

/// A bin of [`Scores::reliability`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reliability {
    /// Mean probability of the answers.
    pub probability: f64,
    /// Share of them that are right.
    pub right: f64,
    /// How many.
    pub answers: usize,
}

/// What comes of answering only when the probability is high enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Selective {
    /// The least probability of an answer.
    pub threshold: f64,
    /// Share of images that are answered.
    pub coverage: f64,
    /// Share of these answers that are right; `None` if there are none.
    pub accuracy: Option<f64>,
}

/// After each group of equals: how many of the class were found, among how many seen.
fn sweep(ranked: &[(f32, bool)]) -> impl Iterator<Item = (usize, usize)> {
    ranked.chunk_by(|a, b| a.0 == b.0).scan((0, 0), |(found, seen), tie| {
        *found += tie.iter().filter(|r| r.1).count();
        *seen += tie.len();
        Some((*found, *seen))
    })
}

/// Drops points that cannot be seen: of those within a pixel, all but the last.
fn thin(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    const PIXEL: f64 = 1.0 / 250.0;
    let mut kept: Vec<[f64; 2]> = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let near = |other: &[f64; 2]| (0..2).all(|k| (other[k] - point[k]).abs() < PIXEL);
        let last = i + 1 == points.len();
        if last || kept.last().is_none_or(|other| !near(other)) {
            kept.push(*point);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes; probabilities of the second.
    fn scores(images: &[(usize, f32)]) -> Scores {
        let mut scores = Scores::new(2);
        images.iter().for_each(|&(class, p)| scores.add(class, &[1.0 - p, p]));
        scores
    }

    /// The example of scikit-learn's `roc_curve` and `precision_recall_curve`.
    #[test]
    fn curves_of_four_images() {
        let scores = scores(&[(0, 0.1), (0, 0.4), (1, 0.35), (1, 0.8)]);
        assert_eq!(scores.roc(Some(1)), [[0.0, 0.0], [0.0, 0.5], [0.5, 0.5], [0.5, 1.0], [1.0, 1.0]]);
        assert_eq!(scores.precision_recall(Some(1)), [[0.5, 1.0], [0.5, 0.5], [1.0, 2.0 / 3.0], [1.0, 0.5]]);
    }

    #[test]
    fn the_area_under_the_curve_is_the_metric() {
        let mut scores = Scores::new(2);
        for i in 0..500_u32 {
            let p = (i.wrapping_mul(2_654_435_761) >> 16) as f32 / 65536.0;
            scores.add(usize::from(i % 3 == 0 && p > 0.2), &[1.0 - p, p]);
        }
        let points = scores.roc(Some(1));
        let area: f64 = points.windows(2).map(|w| (w[1][0] - w[0][0]) * (w[0][1] + w[1][1]) / 2.0).sum();
        assert!((area - scores.roc_auc().unwrap()).abs() < 5e-3, "{area}");
    }

    #[test]
    fn bins_give_the_calibration_error() {
        let scores = scores(&[(0, 0.1), (0, 0.4), (1, 0.35), (1, 0.8), (1, 0.93), (0, 0.93)]);
        let bins = scores.reliability();
        let error: f64 = bins.iter().map(|b| b.answers as f64 * (b.right - b.probability).abs()).sum();
        assert!((error / 6.0 - scores.calibration_error()).abs() < 1e-12);
    }

    #[test]
    fn certain_mistakes_and_coverage() {
        let scores = scores(&[(0, 0.1), (1, 0.05), (1, 0.8), (0, 0.6)]);
        assert_eq!(scores.worst(5), [1, 3]);
        assert_eq!(scores.least_certain(1), [3]);
        assert_eq!(scores.answer(1).0, 1);
        assert_eq!(scores.coverage(), [[0.25, 0.0], [0.5, 0.5], [0.75, 2.0 / 3.0], [1.0, 0.5]]);
    }

    #[test]
    fn one_class_alone_has_no_roc() {
        let scores = scores(&[(1, 0.5), (1, 0.75)]);
        assert!(scores.roc(Some(1)).iter().all(|p| p[0].is_nan()));
        assert!(scores.precision_recall(Some(0)).is_empty());
    }
}
