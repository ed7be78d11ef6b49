use serde::Serialize;

use super::Scores;

/// How well a classifier did on a set, counted once from its confusion matrix.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Share of right answers.
    pub accuracy: f64,
    /// Share of images whose class is among the five most probable; with five classes or fewer it is always 1.
    pub top5_accuracy: f64,
    /// Mean over classes of the share of an answer's images that are right.
    pub precision: f64,
    /// Mean over classes of the share of a class's images that were found; also called balanced accuracy.
    pub recall: f64,
    /// Mean over classes of the harmonic mean of precision and recall.
    pub f1: f64,
    /// The same three, each class counting by its number of images.
    pub weighted_precision: f64,
    /// Always the accuracy; here for completeness.
    pub weighted_recall: f64,
    /// See [`Metrics::weighted_precision`].
    pub weighted_f1: f64,
    /// Matthews's correlation of classes and answers, from -1 to 1; 0 is guessing. For more than two classes Gorodkin's
    /// form, 2004, <https://doi.org/10.1016/j.compbiolchem.2004.09.006>.
    pub matthews: f64,
    /// Cohen's kappa: the share of agreement beyond chance.
    pub kappa: f64,
    /// See [`Scores::roc_auc`](super::Scores::roc_auc).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<f64>,
    /// See [`Scores::average_precision`](super::Scores::average_precision).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
    /// See [`Scores::calibration_error`](super::Scores::calibration_error).
    pub calibration_error: f64,
    /// See [`Scores::brier_score`](super::Scores::brier_score).
    pub brier_score: f64,
}

/// One class's share in [`Metrics`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Share of the images given this answer that are of this class; 0 if there are none.
    pub precision: f64,
    /// Share of this class's images that were given this answer; 0 if there are none.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Images of this class.
    pub support: u64,
}

/// Counts of answers: row = true class, column = answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Confusion(Vec<Vec<u64>>);

impl Confusion {
    /// No answers yet, for `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self(vec![vec![0; classes]; classes])
    }

    /// Counts an answer.
    pub fn add(&mut self, class: usize, answer: usize) {
        self.0[class][answer] += 1;
    }

    /// Counts all of another's.
    pub fn add_all(&mut self, other: &Self) {
        let counts = self.0.iter_mut().flatten().zip(other.0.iter().flatten());
        counts.for_each(|(sum, count)| *sum += count);
    }

    /// Rows: true classes; columns: answers.
    pub fn rows(&self) -> &[Vec<u64>] {
        &self.0
    }

    /// Images counted.
    pub fn total(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    /// Share of right answers.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.0.len()).map(|i| self.0[i][i]).sum();
        ratio(right, self.total())
    }

    /// Precision, recall and F1 of each class.
    pub fn per_class(&self) -> Vec<ClassMetrics> {
        let class = |i: usize| {
            let support: u64 = self.0[i].iter().sum();
            let answers: u64 = self.0.iter().map(|row| row[i]).sum();
            let right = self.0[i][i];
            let (precision, recall) = (ratio(right, answers), ratio(right, support));
            let f1 = ratio(2 * right, answers + support);
            ClassMetrics { precision, recall, f1, support }
        };
        (0..self.0.len()).map(class).collect()
    }

    /// Images of each class, and images given each answer.
    fn margins(&self) -> (Vec<u64>, Vec<u64>) {
        let answers = (0..self.0.len()).map(|i| self.0.iter().map(|row| row[i]).sum());
        (self.0.iter().map(|row| row.iter().sum()).collect(), answers.collect())
    }

    /// Sum over classes of images times answers, of images squared, and of answers squared; as shares of all pairs.
    fn products(&self) -> [f64; 3] {
        let (images, answers) = self.margins();
        let share = |n: u64| n as f64 / self.total().max(1) as f64;
        let sum = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(&a, &b)| share(a) * share(b)).sum();
        [sum(&images, &answers), sum(&images, &images), sum(&answers, &answers)]
    }

    fn matthews(&self) -> f64 {
        let [chance, images, answers] = self.products();
        let spread = ((1.0 - images) * (1.0 - answers)).sqrt();
        if spread > 0.0 { (self.accuracy() - chance) / spread } else { 0.0 }
    }

    fn kappa(&self) -> f64 {
        let [chance, ..] = self.products();
        if chance < 1.0 { (self.accuracy() - chance) / (1.0 - chance) } else { 0.0 }
    }

    /// The summary; `in_top5` images had their class among the five most probable. Means are over the classes that occur.
    pub fn metrics(&self, in_top5: u64, scores: &Scores) -> Metrics {
        let classes: Vec<ClassMetrics> = self.per_class().into_iter().filter(|c| c.support > 0).collect();
        let mean = |f: fn(&ClassMetrics) -> f64| classes.iter().map(f).sum::<f64>() / classes.len().max(1) as f64;
        let weighted = |f: fn(&ClassMetrics) -> f64| {
            classes.iter().map(|c| f(c) * c.support as f64).sum::<f64>() / self.total().max(1) as f64
        };
        Metrics {
            accuracy: self.accuracy(),
            top5_accuracy: ratio(in_top5, self.total()),
            precision: mean(|c| c.precision),
            recall: mean(|c| c.recall),
            f1: mean(|c| c.f1),
            weighted_precision: weighted(|c| c.precision),
            weighted_recall: weighted(|c| c.recall),
            weighted_f1: weighted(|c| c.f1),
            matthews: self.matthews(),
            kappa: self.kappa(),
            roc_auc: scores.roc_auc(),
            average_precision: scores.average_precision(),
            calibration_error: scores.calibration_error(),
            brier_score: scores.brier_score(),
        }
    }
}

pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from scikit-learn; `tests/fixtures/metrics/make.py` makes the file.
    #[derive(serde::Deserialize)]
    struct Recorded {
        classes: Vec<usize>,
        answers: Vec<usize>,
        per_class: [Vec<f64>; 4],
        macros: [f64; 3],
        weighted: [f64; 3],
        accuracy: f64,
        matthews: f64,
        kappa: f64,
    }

    #[test]
    fn agree_with_scikit_learn() {
        let recorded: Vec<Recorded> =
            serde_json::from_str(include_str!("../../../tests/fixtures/metrics/answers.json")).unwrap();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
        for expected in recorded {
            let mut confusion = Confusion::new(expected.per_class[0].len());
            expected.classes.iter().zip(&expected.answers).for_each(|(&class, &answer)| confusion.add(class, answer));
            for (i, class) in confusion.per_class().into_iter().enumerate() {
                close(class.precision, expected.per_class[0][i]);
                close(class.recall, expected.per_class[1][i]);
                close(class.f1, expected.per_class[2][i]);
                close(class.support as f64, expected.per_class[3][i]);
            }
            let m = confusion.metrics(0, &Scores::new(2));
            [m.precision, m.recall, m.f1].into_iter().zip(expected.macros).for_each(|(a, b)| close(a, b));
            let weighted = [m.weighted_precision, m.weighted_recall, m.weighted_f1];
            weighted.into_iter().zip(expected.weighted).for_each(|(a, b)| close(a, b));
            close(m.accuracy, expected.accuracy);
            close(m.matthews, expected.matthews);
            close(m.kappa, expected.kappa);
        }
    }

    #[test]
    fn a_class_that_never_occurs_does_not_count() {
        let mut confusion = Confusion::new(3);
        confusion.add(0, 0);
        confusion.add(1, 1);
        let metrics = confusion.metrics(2, &Scores::new(3));
        assert_eq!((metrics.accuracy, metrics.recall, metrics.f1), (1.0, 1.0, 1.0));
    }

    #[test]
    fn one_answer_for_all_is_no_agreement() {
        let mut confusion = Confusion::new(2);
        (0..4).for_each(|i| confusion.add(i % 2, 0));
        let metrics = confusion.metrics(4, &Scores::new(2));
        assert_eq!((metrics.accuracy, metrics.matthews, metrics.kappa), (0.5, 0.0, 0.0));
    }
}
