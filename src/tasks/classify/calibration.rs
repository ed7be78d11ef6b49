use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Scores;
use crate::error::{Error, Result};

/// A temperature by which logits are divided, so that 80 % sure is right 8 times of 10. It changes no answer.
///
/// Source: Guo, Pleiss, Sun & Weinberger, On calibration of modern neural networks, 2017, <https://arxiv.org/abs/1706.04599>.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Above 1 makes answers less sure.
    pub temperature: f64,
    /// Pictures it was fitted to.
    pub images: usize,
}

/// Temperatures beyond these are as good as none.
const RANGE: [f64; 2] = [0.05, 20.0];

impl Calibration {
    const FILE: &str = "calibration.toml";

    /// The temperature with the least mean log loss on pictures that were not trained on. Without a single mistake among
    /// them that would be 0, and every answer quite sure: they then tell nothing of it, and it is 1.
    pub fn fit(scores: &Scores) -> Self {
        let images = scores.truth.len();
        if scores.worst(1).is_empty() {
            return Self { temperature: 1.0, images };
        }
        // The loss is convex in the inverse temperature: its slope there changes sign once.
        let [mut least, mut most] = RANGE.map(f64::recip);
        for _ in 0..60 {
            let middle = (least * most).sqrt();
            *(if slope(scores, middle) > 0.0 { &mut least } else { &mut most }) = middle;
        }
        Self { temperature: 1.0 / (least * most).sqrt(), images }
    }

    /// Changes probabilities that add up to 1 to what the logits behind them give at this temperature.
    pub fn apply(&self, probabilities: &mut [f32]) {
        let powers = softmax(probabilities, 1.0 / self.temperature);
        probabilities.iter_mut().zip(powers).for_each(|(p, power)| *p = power as f32);
    }

    /// That of a run folder, if it has one.
    ///
    /// Errors: if it cannot be read, or is none.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(Self::FILE);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|e| Error::io("read", &path, e))?,
        };
        let calibration: Self = toml::from_str(&text).map_err(|e| Error::format(&path, e.to_string()))?;
        if !(RANGE[0]..=RANGE[1]).contains(&calibration.temperature) {
            let message = format!("the temperature is {}, but must be from 0.05 to 20", calibration.temperature);
            return Err(Error::format(&path, message));
        }
        Ok(Some(calibration))
    }

    /// The name and the text of its file in a run folder.
    pub fn file(&self) -> (&'static str, String) {
        (Self::FILE, format!("temperature = {:?}\nimages = {}\n", self.temperature, self.images))
    }
}

/// Of the mean log loss, over the inverse temperature.
fn slope(scores: &Scores, inverse: f64) -> f64 {
    let rows = scores.probabilities.chunks_exact(scores.classes).zip(&scores.truth);
    let slopes = rows.map(|(row, &class)| {
        let expected: f64 = softmax(row, inverse).iter().zip(row).map(|(p, &x)| p * logarithm(x)).sum();
        expected - logarithm(row[class])
    });
    slopes.sum::<f64>() / scores.truth.len().max(1) as f64
}

/// Of probabilities to the power of `inverse`.
fn softmax(probabilities: &[f32], inverse: f64) -> Vec<f64> {
    let logits: Vec<f64> = probabilities.iter().map(|&p| inverse * logarithm(p)).collect();
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// A probability that was too small for a float is taken for the smallest.
fn logarithm(p: f32) -> f64 {
    f64::from(p.max(f32::MIN_POSITIVE)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits `[x, 0]` for 1000 images of which the share `sigmoid(x / temperature)` is of class 0.
    fn scores(temperature: f64) -> Scores {
        let mut scores = Scores::new(2);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for x in [-4.0, -2.0, -0.5, 1.0, 3.0] {
            let p = sigmoid(x) as f32;
            let of_class = (1000.0 * sigmoid(x / temperature)).round() as usize;
            (0..1000).for_each(|i| scores.add(usize::from(i >= of_class), &[p, 1.0 - p]));
        }
        scores
    }

    #[test]
    fn the_temperature_behind_the_answers_is_found() {
        for temperature in [0.5, 1.0, 2.5] {
            let found = Calibration::fit(&scores(temperature));
            assert!((found.temperature / temperature - 1.0).abs() < 0.01, "{found:?} instead of {temperature}");
            assert_eq!(found.images, 5000);
        }
    }

    #[test]
    fn it_lowers_the_calibration_error_and_keeps_the_answers() {
        let before = scores(2.5);
        let calibration = Calibration::fit(&before);
        let mut after = before.clone();
        after.probabilities.chunks_exact_mut(2).for_each(|row| calibration.apply(row));
        assert!(before.calibration_error() > 0.1 && after.calibration_error() < 1e-3);
        assert_eq!(before.worst(usize::MAX).len(), after.worst(usize::MAX).len());
    }

    #[test]
    fn applying_it_divides_the_logits() {
        let mut row = [0.7_f32, 0.2, 0.1];
        Calibration { temperature: 2.0, images: 1 }.apply(&mut row);
        let roots = [0.7_f64, 0.2, 0.1].map(f64::sqrt);
        let sum: f64 = roots.iter().sum();
        assert!(row.iter().zip(roots).all(|(&p, root)| (f64::from(p) - root / sum).abs() < 1e-6), "{row:?}");
    }

    #[test]
    fn a_set_without_mistakes_tells_nothing() {
        let mut perfect = Scores::new(2);
        perfect.add(0, &[1.0, 0.0]);
        perfect.add(1, &[0.2, 0.8]);
        assert_eq!(Calibration::fit(&perfect).temperature, 1.0);
    }

    #[test]
    fn it_is_kept_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Calibration::read(folder.path()).unwrap(), None);
        let calibration = Calibration { temperature: 1.0 / 3.0, images: 7 };
        let (name, text) = calibration.file();
        fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(Calibration::read(folder.path()).unwrap(), Some(calibration));
        fs::write(folder.path().join(name), "temperature = 0.0\nimages = 7\n").unwrap();
        assert!(Calibration::read(folder.path()).unwrap_err().to_string().contains("from 0.05 to 20"));
    }
}
