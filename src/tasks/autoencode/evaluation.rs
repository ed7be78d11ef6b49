use serde::Serialize;

use crate::tasks::classify::Scores;

/// Results on a set of pictures.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// `autoencode`.
    pub task: &'static str,
    /// How many pictures.
    pub samples: u64,
    /// How many of them are anomalies.
    pub anomalies: u64,
    /// Mean loss of the normal ones.
    pub loss: f64,
    /// The summary.
    pub metrics: Metrics,
    /// Mean squared error of each picture.
    #[serde(skip)]
    pub errors: Vec<f32>,
    /// Whether each is an anomaly, with its error as score.
    #[serde(skip)]
    pub scores: Scores,
    /// What was made of each picture, as bytes.
    #[serde(skip)]
    pub made: Vec<Vec<u8>>,
}

/// How well pictures are made again, and anomalies found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// Of the normal pictures: 1 less the squared error as a share of the variance of their pixels.
    pub explained_variance: f64,
    /// Of the normal pictures: mean squared error of a pixel, for values from 0 to 1.
    pub mse: f64,
    /// Peak signal-to-noise ratio of that, in dB.
    pub psnr: f64,
    /// Area under the receiver operating characteristic of the error as a score of being an anomaly, where there are both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anomaly_auc: Option<f64>,
    /// Its average precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anomaly_average_precision: Option<f64>,
}

/// Adds up what an autoencoder makes, picture by picture.
#[derive(Clone, Debug)]
pub struct Tally {
    loss: f64,
    normal: u64,
    values: f64,
    sum: f64,
    squares: f64,
    squared_error: f64,
    errors: Vec<f32>,
    scores: Scores,
    made: Vec<Vec<u8>>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            loss: 0.0,
            normal: 0,
            values: 0.0,
            sum: 0.0,
            squares: 0.0,
            squared_error: 0.0,
            errors: Vec::new(),
            scores: Scores::new(2),
            made: Vec::new(),
        }
    }
}

impl Tally {
    /// Counts one picture: its bytes, what was made of it, its loss and its mean squared error.
    pub fn add(&mut self, anomaly: bool, image: &[u8], made: &[f32], loss: f32, error: f32) {
        self.errors.push(error);
        self.scores.add(usize::from(anomaly), &[1.0 - error, error]);
        self.made.push(made.iter().map(|v| (255.0 * v).round().clamp(0.0, 255.0) as u8).collect());
        if anomaly {
            return;
        }
        self.normal += 1;
        self.loss += f64::from(loss);
        self.squared_error += f64::from(error) * image.len() as f64;
        self.values += image.len() as f64;
        for &byte in image {
            let value = f64::from(byte) / 255.0;
            self.sum += value;
            self.squares += value * value;
        }
    }

    /// The results.
    pub fn finish(self) -> Evaluation {
        let values = self.values.max(1.0);
        let mse = self.squared_error / values;
        let variance = self.squares / values - (self.sum / values).powi(2);
        let both = self.normal > 0 && self.errors.len() as u64 > self.normal;
        let metrics = Metrics {
            explained_variance: if variance > 0.0 { 1.0 - mse / variance } else { 0.0 },
            mse,
            psnr: -10.0 * mse.max(f64::MIN_POSITIVE).log10(),
            anomaly_auc: self.scores.roc_auc().filter(|_| both),
            anomaly_average_precision: self.scores.average_precision().filter(|_| both),
        };
        Evaluation {
            task: "autoencode",
            samples: self.errors.len() as u64,
            anomalies: self.errors.len() as u64 - self.normal,
            loss: self.loss / self.normal.max(1) as f64,
            metrics,
            errors: self.errors,
            scores: self.scores,
            made: self.made,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: values 0, 1, 0, 1 have variance 1/4; errors of 0.1 and 0.3 squared, one of each, make a mean of 0.05.
    #[test]
    fn known_errors() {
        let mut tally = Tally::default();
        tally.add(false, &[0, 255], &[0.1, 0.9], 0.5, 0.01);
        tally.add(false, &[0, 255], &[0.3, 0.7], 1.5, 0.09);
        let plain = tally.clone().finish();
        assert!((plain.metrics.mse - 0.05).abs() < 1e-8 && (plain.metrics.explained_variance - 0.8).abs() < 1e-7);
        assert!((plain.metrics.psnr - 13.0103).abs() < 1e-4 && plain.loss == 1.0);
        assert_eq!((plain.metrics.anomaly_auc, plain.made[1].clone()), (None, vec![77, 179]));
        tally.add(true, &[255, 255], &[0.0, 0.0], 9.0, 1.0);
        tally.add(true, &[255, 255], &[1.0, 0.8], 9.0, 0.02);
        let found = tally.finish();
        assert_eq!((found.metrics.mse, found.loss, found.anomalies), (plain.metrics.mse, 1.0, 2));
        // Of four pairs, only the second anomaly has a smaller error than one normal picture.
        assert_eq!(found.metrics.anomaly_auc, Some(0.75));
    }
}
