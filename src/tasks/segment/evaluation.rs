use std::collections::BTreeMap;

use serde::Serialize;

use crate::tasks::classify::Confusion;

/// Results on a set of pictures with masks. Pixels of no class count nothing; the network's size is what is judged.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// `segment`.
    pub task: &'static str,
    /// How many pictures, or tiles.
    pub samples: u64,
    /// Mean loss.
    pub loss: f64,
    /// The summary.
    pub metrics: Metrics,
    /// By class name.
    pub per_class: BTreeMap<String, ClassMetrics>,
    /// Pixels: row = true class, column = answer.
    pub confusion: Confusion,
    /// The answer for each pixel of each picture.
    #[serde(skip)]
    pub answers: Vec<Vec<u8>>,
    /// Mean intersection over union of each picture, over the classes that are in it.
    #[serde(skip)]
    pub picture_iou: Vec<f64>,
}

/// How well masks agree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Mean over the classes of the pixels that are of a class in both masks, as a share of those that are so in either.
    pub mean_iou: f64,
    /// Mean over the classes of the Dice coefficient, which is the F1 of the pixels.
    pub dice: f64,
    /// Share of the pixels whose class is right.
    pub pixel_accuracy: f64,
    /// Mean over the classes of the share of their pixels that is found.
    pub mean_accuracy: f64,
}

/// One class's share in [`Metrics`]. `None` where no pixel is of the class, nor said to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Intersection over union.
    pub iou: Option<f64>,
    /// Dice coefficient.
    pub dice: Option<f64>,
    /// Share of the pixels said to be of the class which are.
    pub precision: f64,
    /// Share of its pixels that is found.
    pub recall: f64,
    /// Its pixels.
    pub pixels: u64,
}

impl ClassMetrics {
    /// Of each class. Pixels of the class that is ignored have been left out.
    pub fn of(confusion: &Confusion) -> Vec<Self> {
        let rows = confusion.rows();
        let class = |(i, class): (usize, crate::tasks::classify::ClassMetrics)| {
            let answers: u64 = rows.iter().map(|row| row[i]).sum();
            let (both, either) = (rows[i][i], class.support + answers - rows[i][i]);
            let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
            Self {
                iou: share(both, either),
                dice: share(2 * both, class.support + answers),
                precision: class.precision,
                recall: class.recall,
                pixels: class.support,
            }
        };
        confusion.per_class().into_iter().enumerate().map(class).collect()
    }
}

impl Metrics {
    /// Classes that are nowhere are left out of the means.
    pub fn of(confusion: &Confusion) -> Self {
        let classes = ClassMetrics::of(confusion);
        let present = classes.iter().filter(|c| c.pixels > 0).map(|c| c.recall);
        Self {
            mean_iou: mean(classes.iter().filter_map(|c| c.iou)),
            dice: mean(classes.iter().filter_map(|c| c.dice)),
            pixel_accuracy: confusion.accuracy(),
            mean_accuracy: mean(present),
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), v| (sum + v, n + 1));
    if n == 0 { 0.0 } else { sum / f64::from(n) }
}

/// Adds up masks, picture by picture.
pub struct Tally {
    confusion: Confusion,
    answers: Vec<Vec<u8>>,
    picture_iou: Vec<f64>,
    loss: f64,
}

impl Tally {
    /// Nothing yet, for `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self { confusion: Confusion::new(classes), answers: Vec::new(), picture_iou: Vec::new(), loss: 0.0 }
    }

    /// Counts one picture: the class of each pixel, where it has one, and the answers.
    pub fn add(&mut self, truth: impl Iterator<Item = Option<usize>>, answers: Vec<u8>, loss: f32) {
        let mut own = Confusion::new(self.confusion.rows().len());
        for (class, &answer) in truth.zip(&answers) {
            if let Some(class) = class {
                own.add(class, answer.into());
            }
        }
        let present = ClassMetrics::of(&own).into_iter().filter(|c| c.pixels > 0);
        self.picture_iou.push(mean(present.filter_map(|c| c.iou)));
        self.confusion.add_all(&own);
        self.answers.push(answers);
        self.loss += f64::from(loss);
    }

    /// The results.
    pub fn finish(self, classes: &[String]) -> Evaluation {
        let samples = self.answers.len() as u64;
        let per_class = ClassMetrics::of(&self.confusion);
        Evaluation {
            task: "segment",
            samples,
            loss: self.loss / samples.max(1) as f64,
            metrics: Metrics::of(&self.confusion),
            per_class: classes.iter().cloned().zip(per_class).collect(),
            confusion: self.confusion,
            answers: self.answers,
            picture_iou: self.picture_iou,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: of class 0 two pixels are in both masks and three in either, of class 1 one in both and two in either; class 2
    /// is nowhere, and the last pixel is of no class.
    #[test]
    fn known_masks() {
        let mut tally = Tally::new(3);
        let truth = [Some(0), Some(0), Some(0), Some(1), None];
        tally.add(truth.into_iter(), vec![0, 0, 1, 1, 0], 0.5);
        let names = ["a", "b", "c"].map(str::to_owned);
        let found = tally.finish(&names);
        let Metrics { mean_iou, dice, pixel_accuracy, mean_accuracy } = found.metrics;
        assert!((mean_iou - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
        assert!((dice - (4.0 / 5.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(pixel_accuracy, 0.75);
        assert!((mean_accuracy - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
        assert_eq!(found.per_class["c"].iou, None);
        assert_eq!((found.samples, found.picture_iou.len()), (1, 1));
    }
}
