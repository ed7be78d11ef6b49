use super::Scores;

/// An image whose label looks wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Suspect {
    /// Its position in the set.
    pub image: usize,
    /// The class it is said to be of.
    pub label: usize,
    /// The class it seems to be of.
    pub class: usize,
    /// The probability of that.
    pub probability: f32,
    /// The probability of its label.
    pub of_label: f32,
}

impl Scores {
    /// Images whose label looks wrong, and the class that each seems to be of, the surest first: of another class it is more
    /// probable than images of that class are on average. Only for images that were not trained on.
    ///
    /// Source: confident learning, Northcutt, Jiang & Chuang, 2021, <https://arxiv.org/abs/1911.00068>.
    pub fn suspects(&self) -> Vec<Suspect> {
        let thresholds = self.self_confidence();
        let suspect = |(image, (row, &label)): (usize, (&[f32], &usize))| {
            let confident = (0..self.classes).filter(|&class| f64::from(row[class]) >= thresholds[class]);
            let class = confident.reduce(|best, class| if row[class] > row[best] { class } else { best })?;
            let suspect = Suspect { image, label, class, probability: row[class], of_label: row[label] };
            (class != label && row[class] > row[label]).then_some(suspect)
        };
        let rows = self.probabilities.chunks_exact(self.classes).zip(&self.truth);
        let mut suspects: Vec<Suspect> = rows.enumerate().filter_map(suspect).collect();
        suspects.sort_by(|a, b| (b.probability - b.of_label).total_cmp(&(a.probability - a.of_label)));
        suspects
    }

    /// For each class the mean probability that its images have for it; infinite for a class without images.
    fn self_confidence(&self) -> Vec<f64> {
        let (mut sums, mut counts) = (vec![0.0; self.classes], vec![0_u32; self.classes]);
        for (row, &label) in self.probabilities.chunks_exact(self.classes).zip(&self.truth) {
            sums[label] += f64::from(row[label]);
            counts[label] += 1;
        }
        let mean = |(sum, count): (f64, u32)| if count > 0 { sum / f64::from(count) } else { f64::INFINITY };
        sums.into_iter().zip(counts).map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confident_disagreement_is_suspect() {
        let mut scores = Scores::new(3);
        for class in 0..3 {
            for p in [0.6, 0.7, 0.8] {
                let mut row = [(1.0 - p) / 2.0; 3];
                row[class] = p;
                scores.add(class, &row);
            }
        }
        assert_eq!(scores.suspects(), []);
        // Wrong, but surer than most of the class it seems to be of; and wrong without being sure.
        scores.add(0, &[0.02, 0.08, 0.9]);
        scores.add(0, &[0.4, 0.5, 0.1]);
        let suspect = Suspect { image: 9, label: 0, class: 2, probability: 0.9, of_label: 0.02 };
        assert_eq!(scores.suspects(), [suspect]);
    }

    #[test]
    fn the_surest_comes_first() {
        let mut scores = Scores::new(2);
        for (class, p) in [(0, 0.1), (1, 0.8), (0, 0.85), (0, 0.95)] {
            scores.add(class, &[1.0 - p, p]);
        }
        assert_eq!(scores.suspects().iter().map(|s| s.image).collect::<Vec<_>>(), [3, 2]);
    }
}
