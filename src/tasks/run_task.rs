use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::data::{Batch, Canvas, Dataset, Image, Images, Loader, Normalization, Part, Probe, Seed, Splits, Targets};
use crate::error::{Error, Result};
use crate::explain::Score;
use crate::graph::{self, Graph};
use crate::nn::Model;
use crate::report::Told;
use crate::tensor::Tensor;
use crate::train::{Kept, RunFolder, Session, Settings, Task};

/// A task as the command sees it: trained from a folder of pictures, kept in a run folder, told to people and programs.
pub trait RunTask: Task<Evaluation: Serialize> {
    /// As `--task` says it.
    const NAME: &'static str;

    /// Opens data to train on; `options` are the task's own settings.
    ///
    /// Errors: if nothing is recognised, a file is malformed, or there is nothing to train on.
    fn open(path: &Path, options: &toml::Table) -> Result<Splits>;

    /// Opens data to measure on, labelled by `classes`: the part asked for if `path` has it, else the test part, else the
    /// validation part, else all there is.
    ///
    /// Errors: as [`RunTask::open`]; if there is a class that is not among `classes`.
    fn open_part(path: &Path, part: Part, classes: &[String], options: &toml::Table) -> Result<Dataset>;

    /// Makes a validation part of the training part, as the settings ask for, unless there is one.
    ///
    /// Errors: if it cannot be made.
    fn split(splits: Splits, settings: &Settings) -> Result<Splits> {
        splits.split(settings.val_fraction, Seed(settings.seed))
    }

    /// Labels a held-out part by the classes of training; a task that is measured on classes which it was not trained on leaves it
    /// its own.
    ///
    /// Errors: if it has a class that is not among `classes`.
    fn labelled(dataset: Dataset, classes: &[String]) -> Result<Dataset> {
        dataset.with_classes(classes)
    }

    /// The network for so many classes; `make` builds the one asked for with a number of outputs. What a task puts behind it,
    /// such as a detector's head, becomes part of the model and is kept with it.
    ///
    /// Errors: those of `make`; if the network is not one for this task.
    fn network(make: &dyn Fn(usize) -> Result<Model>, classes: usize, _options: &toml::Table) -> Result<Model> {
        make(classes)
    }

    /// Settings that suit the task where none were asked for: network, picture size, epochs, augmentation. `settings` are those
    /// of a classifier, with the task's own options; `model` is the network asked for.
    fn suggest(settings: &mut Settings, model: Option<&str>, probe: Probe, pictures: usize);

    /// The task of a run, as its settings and data have it.
    ///
    /// Errors: if network, classes and settings do not fit together.
    fn of_run(kept: &Kept) -> Result<Self>;

    /// What `folder` holds besides the settings that changes how results are told, after training.
    ///
    /// Errors: if a file is damaged.
    fn read_extras(&mut self, _folder: &Path) -> Result<()> {
        Ok(())
    }

    /// Does what follows training: what it finds on the validation pictures is kept in `folder`. Gives lines for people.
    ///
    /// Errors: if a file cannot be written, or the device fails.
    fn after_training(
        _session: &mut Session<Self>,
        _val: Option<&Loader>,
        _kept: &Kept,
        _folder: &RunFolder,
    ) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The network.
    fn model(&self) -> &Model;

    /// What pictures are brought to.
    fn canvas(&self) -> Canvas {
        self.model().input.into()
    }

    /// What the network is to answer for `images`, where that is more than labels.
    ///
    /// Errors: if it cannot be read.
    fn targets(&self, _images: &Arc<Images>) -> Result<Option<Arc<dyn Targets>>> {
        Ok(None)
    }

    /// Whether answers may be averaged over mirrored and enlarged views, and pictures mixed in training: not where places in a
    /// picture matter.
    const AVERAGES: bool = false;

    /// Weights of the classes in the loss for which rare classes count as much as others, by what `train` holds.
    ///
    /// Errors: if that cannot be read, or classes have no weights in this task.
    fn balancing_weights(train: &Dataset) -> Result<Vec<f32>>;

    /// What an exported network gives, made of what the network gives for `n` pictures.
    ///
    /// Errors: if it cannot be made.
    fn exported(&self, _graph: &mut Graph, output: graph::Value) -> Result<graph::Value> {
        Ok(output)
    }

    /// The same numbers, from what the inference graph gave.
    fn exported_values(&self, outputs: &[Tensor]) -> Vec<f32> {
        outputs[1].f32().to_vec()
    }

    /// By what an exported network divides its logits.
    fn temperature(&self) -> f64 {
        1.0
    }

    /// What there is of each class in a set, if that is known without reading it.
    fn class_counts(dataset: &Dataset) -> Vec<usize> {
        dataset.class_counts()
    }

    /// How bytes become numbers.
    fn normalization(&self) -> &Normalization;

    /// Names of the classes.
    fn classes(&self) -> &[String];

    /// A few words below each picture of a batch on a contact sheet.
    fn captions(&self, batch: &Batch) -> Vec<String>;

    /// Tells which of an evaluation's results belong together, those of one patient for instance: equal numbers, in the order of
    /// the pictures.
    fn in_groups(evaluation: Self::Evaluation, _groups: Vec<usize>) -> Self::Evaluation {
        evaluation
    }

    /// Adds confidence intervals to an evaluation, or whatever else takes time.
    fn refine(evaluation: Self::Evaluation, _how: Refinement) -> Self::Evaluation {
        evaluation
    }

    /// Results as lines for people.
    fn lines(evaluation: &Self::Evaluation) -> Vec<String>;

    /// Results as parts of a report on `images`, the `part` of the data, in the evaluation's order.
    ///
    /// Errors: if a picture can no longer be read, or the device fails.
    fn told(session: &mut Session<Self>, evaluation: &Self::Evaluation, part: &str, images: &Images) -> Result<Told>;

    /// What the logits of a network stand for, as [`RunTask::subject`] takes it.
    ///
    /// Errors: if it cannot be made.
    fn likelihoods(&self, graph: &mut Graph, output: graph::Value) -> Result<graph::Value> {
        self.exported(graph, output)
    }

    /// What is explained of a picture of which the network gave these probabilities: in words, and as a score of its logits. It
    /// is `class`, or what the network says.
    ///
    /// Errors: if there is nothing to explain.
    fn subject(&self, _probabilities: &[f32], _class: Option<usize>) -> Result<(String, Score)> {
        Err(Error::config(format!("networks that {} give no classes that could be explained", Self::NAME)))
    }

    /// What the network says of pictures, given in their own size.
    ///
    /// Errors: if the device fails.
    fn predict(session: &mut Session<Self>, images: Vec<Image>, options: &PredictOptions) -> Result<Vec<Answer>>;
}

/// How much time confidence intervals may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refinement {
    /// About a second.
    Quick,
    /// What they need, drawn by the seed.
    Thorough(Seed),
}

/// What can be asked of a prediction.
#[derive(Clone, Debug)]
pub struct PredictOptions {
    /// How many classes to name for each picture.
    pub top: usize,
    /// Least probability of an answer.
    pub threshold: Option<f32>,
    /// Whether pictures that show the answers are wanted.
    pub drawn: bool,
    /// How many readings are followed in search of the most probable text.
    pub beam: usize,
}

impl Default for PredictOptions {
    fn default() -> Self {
        Self { top: 5, threshold: None, drawn: false, beam: 1 }
    }
}

/// What is said of one picture.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// For programs; the picture's path goes before.
    pub json: Map<String, Value>,
    /// For people; the picture's path goes before.
    pub line: String,
    /// Pictures that show it, with what their file names end in: `overlay`, `mask`.
    pub pictures: Vec<(&'static str, Image)>,
}

impl Answer {
    /// What is said as a JSON object, and as a line.
    ///
    /// Errors: if `json` is no object.
    pub fn new(json: Value, line: String) -> Result<Self> {
        match json {
            Value::Object(json) => Ok(Self { json, line, pictures: Vec::new() }),
            other => Err(Error::config(format!("an answer is a JSON object, not {other}"))),
        }
    }
}
