use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};

/// What `metrics.csv` says of a run, and of `timing.csv` the waiting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// What the metric is called.
    pub metric: String,
    /// In order.
    pub epochs: Vec<Epoch>,
}

/// The metric as people write it: `recall_at_1` is recall@1, `mean_iou` mean IoU.
pub fn metric_name(key: &str) -> String {
    match key {
        "map50" => "mAP@0.5".to_owned(),
        "mean_iou" => "mean IoU".to_owned(),
        _ => key.replace("_at_", "@").replace('_', " "),
    }
}

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u64,
    /// Steps so far.
    pub step: u64,
    /// Seconds so far.
    pub seconds: f64,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Over its training steps.
    pub train_loss: f64,
    /// Over its training steps.
    pub train_metric: Option<f64>,
    /// On the validation set.
    pub val_loss: Option<f64>,
    /// On the validation set.
    pub val_metric: Option<f64>,
    /// Training images a second.
    pub images_per_s: f64,
}

impl History {
    /// Reads it from a run folder.
    ///
    /// Errors: if `metrics.csv` is missing or damaged.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("metrics.csv");
        let wrong = |e: csv::Error| Error::format(&path, e.to_string());
        let mut reader = csv::Reader::from_path(&path).map_err(wrong)?;
        let header = reader.headers().map_err(wrong)?.clone();
        let metric = header.get(5).and_then(|h| h.strip_prefix("train_"));
        let metric = metric.ok_or_else(|| Error::format(&path, "has no column for the training metric"))?.to_owned();
        // By position: the metric's columns are named after it.
        let epochs = reader.records().map(|row| row.and_then(|row| row.deserialize(None)));
        Ok(Self { metric, epochs: epochs.collect::<Result<_, _>>().map_err(wrong)? })
    }

    /// The best epoch so far, as training chooses it: by the validation metric, ties by the smaller loss, the earlier
    /// first; without a validation set by the training loss.
    pub fn best(&self) -> Option<&Epoch> {
        let key = |e: &Epoch| match (e.val_metric, e.val_loss) {
            (Some(metric), Some(loss)) => (metric, -loss),
            _ => (-e.train_loss, 0.0),
        };
        let better = |a: &Epoch, b: &Epoch| key(b).partial_cmp(&key(a)).is_some_and(|o| o.is_gt());
        self.epochs.iter().reduce(|best, e| if better(best, e) { e } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "epoch,step,seconds,lr,train_loss,train_accuracy,val_loss,val_accuracy,images_per_s\n";

    fn history(rows: &str) -> Result<History> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("metrics.csv"), format!("{HEADER}{rows}")).unwrap();
        History::read(folder.path())
    }

    #[test]
    fn metrics_are_named_as_people_write_them() {
        assert_eq!(
            ["accuracy", "map50", "mean_iou", "recall_at_1", "explained_variance"].map(metric_name),
            ["accuracy", "mAP@0.5", "mean IoU", "recall@1", "explained variance"]
        );
    }

    #[test]
    fn the_best_epoch_is_the_one_training_kept() {
        let found = history("1,10,1.5,0.1,2.0,0.3,1.9,0.5,100.0\n2,20,3,0.1,1.0,0.6,0.9,0.7,100\n3,30,4,0.1,0.5,0.9,0.8,0.7,99\n4,40,5,0.1,0.5,0.9,0.8,0.7,99\n").unwrap();
        assert_eq!((found.metric.as_str(), found.best().unwrap().epoch), ("accuracy", 3));
    }

    #[test]
    fn without_validation_the_training_loss_counts() {
        let found = history("1,10,1,0.1,2.0,0.3,,,100\n2,20,3,0.1,1.0,0.6,,,100\n3,30,4,0.1,1.5,0.7,,,99\n").unwrap();
        assert_eq!(found.best().unwrap().epoch, 2);
        assert_eq!(history("").unwrap().best(), None);
    }

    #[test]
    fn a_damaged_table_is_an_error() {
        assert!(history("1,ten\n").unwrap_err().to_string().contains("metrics.csv"));
    }
}
