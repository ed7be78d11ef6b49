use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{LrScale, Optimizer, Precision, Schedule};
use crate::data::{Augment, Cache, GroupBy, Normalize, Sampling, Window};
use crate::graph::Update;

/// Every setting of a run, as resolved: `config.toml`. Training again from it repeats the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The data; without it, the bundled sample set.
    pub data: Option<PathBuf>,
    /// What it is trained for, as `--task` says it.
    pub task: String,
    /// Name of a zoo network, or a model file.
    pub model: String,
    /// So many times the zoo network's usual number of channels.
    #[serde(default)]
    pub width: Option<f64>,
    /// Height and width of the pictures.
    pub image_size: [usize; 2],
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// How values of more than 8 bits become bytes.
    #[serde(default)]
    pub window: Window,
    /// How bytes become numbers.
    pub normalize: Normalize,
    /// Weights to start from.
    pub init: Option<PathBuf>,
    /// Layers and parameters that are not trained; `*` stands for anything.
    pub freeze: Vec<String>,
    /// Times each picture is shown.
    pub epochs: u64,
    /// Pictures in a step.
    pub batch_size: usize,
    /// Batches whose gradients are added up before each step.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Bytes of device memory to stay within.
    #[serde(default)]
    pub memory_limit: Option<u64>,
    /// Whether forward values are computed again for the backward pass instead of kept.
    #[serde(default)]
    pub remat: bool,
    /// How intermediate values of a training step are kept.
    #[serde(default)]
    pub precision: Precision,
    /// The learning rate that the schedule scales.
    pub learning_rate: f64,
    /// What learns at another rate.
    #[serde(default)]
    pub lr_scale: Vec<LrScale>,
    /// Share of the weights' moving average that stays with each step, where one is kept.
    #[serde(default)]
    pub ema: Option<f32>,
    /// How it changes.
    pub schedule: Schedule,
    /// Epochs over which it rises at the start.
    pub warmup: f64,
    /// Share of the target spread over all classes.
    pub label_smoothing: f32,
    /// A weight for each class in the loss.
    pub class_weights: Option<Vec<f32>>,
    /// Share of the training pictures held out for validation, where the data has no such part of its own.
    pub val_fraction: f64,
    /// What of a picture's path tells the group that stays on one side of a split.
    #[serde(default)]
    pub group_by: Option<GroupBy>,
    /// A folder or file of validation pictures.
    pub val: Option<PathBuf>,
    /// A folder or file of test pictures.
    pub test: Option<PathBuf>,
    /// Epochs without improvement after which to stop.
    pub patience: Option<u64>,
    /// Steps after which to stop.
    pub max_steps: Option<u64>,
    /// Time after which to stop.
    #[serde(with = "humantime_serde", default)]
    pub max_time: Option<Duration>,
    /// How often the state is kept within a long epoch.
    #[serde(with = "humantime_serde", default = "ten_minutes")]
    pub checkpoint_every: Duration,
    /// Whether pictures come in another order in each epoch.
    pub shuffle: bool,
    /// How often which training pictures are shown.
    #[serde(default)]
    pub sampling: Sampling,
    /// Whether every step's loss is written to `steps.csv`.
    pub log_steps: bool,
    /// Whether probabilities are calibrated on the validation set in the end.
    #[serde(default)]
    pub calibrate: bool,
    /// Where decoded pictures are kept.
    #[serde(default)]
    pub cache: Cache,
    /// Threads that put batches together; one a core otherwise.
    pub workers: Option<usize>,
    /// What all random choices follow from.
    pub seed: u64,
    /// The device as it was asked for.
    pub device: String,
    /// The optimizer with its settings.
    pub optimizer: Optimizer,
    /// How training pictures are changed.
    pub augment: Augment,
    /// What the task alone knows.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub options: toml::Table,
}

impl Settings {
    /// What each step does to the weights.
    pub fn update(&self) -> Arc<dyn Update> {
        self.optimizer.refined_update(!self.lr_scale.is_empty(), self.ema)
    }
}

fn one() -> usize {
    1
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}
