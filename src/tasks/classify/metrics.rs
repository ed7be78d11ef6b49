use serde::Serialize;

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

    /// The summary; `in_top5` images had their class among the five most probable. Means are over the classes that occur.
    pub fn metrics(&self, in_top5: u64) -> Metrics {
        let classes: Vec<ClassMetrics> = self.per_class().into_iter().filter(|c| c.support > 0).collect();
        let mean = |f: fn(&ClassMetrics) -> f64| classes.iter().map(f).sum::<f64>() / classes.len().max(1) as f64;
        Metrics {
            accuracy: self.accuracy(),
            top5_accuracy: ratio(in_top5, self.total()),
            precision: mean(|c| c.precision),
            recall: mean(|c| c.recall),
            f1: mean(|c| c.f1),
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Classes [0,0,0,0,1,1,1,2,2,2], answers [0,0,1,0,1,2,1,2,2,0]; expected values from scikit-learn 1.5's
    /// `precision_recall_fscore_support(classes, answers)`.
    #[test]
    fn agree_with_scikit_learn() {
        let mut confusion = Confusion::new(3);
        for (class, answer) in [0, 0, 0, 0, 1, 1, 1, 2, 2, 2].into_iter().zip([0, 0, 1, 0, 1, 2, 1, 2, 2, 0]) {
            confusion.add(class, answer);
        }
        let expected =
            [(0.75, 0.75, 0.75, 4), (2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 3), (2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 3)];
        for (class, (precision, recall, f1, support)) in confusion.per_class().into_iter().zip(expected) {
            assert!((class.precision - precision).abs() < 1e-12);
            assert!((class.recall - recall).abs() < 1e-12);
            assert!((class.f1 - f1).abs() < 1e-12);
            assert_eq!(class.support, support);
        }
        assert!((confusion.accuracy() - 0.7).abs() < 1e-12);
    }

    #[test]
    fn a_class_that_never_occurs_does_not_count() {
        let mut confusion = Confusion::new(3);
        confusion.add(0, 0);
        confusion.add(1, 1);
        let metrics = confusion.metrics(2);
        assert_eq!((metrics.accuracy, metrics.recall, metrics.f1), (1.0, 1.0, 1.0));
    }
}
