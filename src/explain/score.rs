/// What is explained: a sum of a network's logits, each counted by a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    weights: Vec<f32>,
}

impl Score {
    /// The logit of a class, of which a network gives so many; a single one speaks for the second of two classes, and against
    /// the first.
    pub fn class(class: usize, outputs: usize) -> Self {
        match outputs {
            1 => Self { weights: vec![if class == 1 { 1.0 } else { -1.0 }] },
            _ => Self { weights: (0..outputs).map(|i| f32::from(u8::from(i == class))).collect() },
        }
    }

    /// The mean logit of a class over some places, of which each has `channels` logits.
    pub fn places(places: &[bool], class: usize, channels: usize) -> Self {
        let count = places.iter().filter(|&&place| place).count().max(1) as f32;
        let own = Self::class(class, channels);
        let weights = places.iter().flat_map(|&place| {
            let share = if place { 1.0 / count } else { 0.0 };
            own.weights.iter().map(move |weight| weight * share)
        });
        Self { weights: weights.collect() }
    }

    /// The logit at one position of all that a network gives of a picture.
    pub fn output(position: usize, outputs: usize) -> Self {
        Self { weights: (0..outputs).map(|i| f32::from(u8::from(i == position))).collect() }
    }

    /// How much each of a picture's logits counts.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The mean probability behind these logits, in the measure in which they count.
    pub fn probability(&self, probabilities: &[f32]) -> f32 {
        let of = |(&weight, &p): (&f32, &f32)| weight.abs() * if weight < 0.0 { 1.0 - p } else { p };
        let total: f32 = self.weights.iter().map(|weight| weight.abs()).sum();
        self.weights.iter().zip(probabilities).map(of).sum::<f32>() / total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_classes_and_places() {
        assert_eq!(Score::class(2, 3).probability(&[0.1, 0.2, 0.7]), 0.7);
        assert_eq!(Score::class(0, 1).probability(&[0.25]), 0.75);
        let places = Score::places(&[true, false, true], 1, 2);
        assert_eq!(places.weights(), [0.0, 0.5, 0.0, 0.0, 0.0, 0.5]);
        assert!((places.probability(&[0.0, 0.25, 9.0, 9.0, 0.0, 0.75]) - 0.5).abs() < 1e-6);
    }
}
