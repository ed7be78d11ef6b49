//! One class for each picture.
//!
//! Loss and probability follow from the network's last layer: one unit is the probability of the second of two classes
//! (sigmoid, binary cross-entropy), several are one for each class (softmax, categorical cross-entropy). Where the last
//! layer applies sigmoid or softmax, the loss is computed from what goes into it, as Keras does: the same value, but
//! stable.

mod calibration;
mod curves;
mod decision;
mod intervals;
mod lines;
mod metrics;
mod options;
mod ranking;
pub mod report;
mod run_task;
mod scores;
mod suspects;
mod trade_offs;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use calibration::Calibration;
pub use curves::{Reliability, Selective};
pub use decision::NetBenefit;
pub use intervals::Intervals;
pub use metrics::{ClassMetrics, Confusion, Metrics};
pub use scores::{OperatingPoint, Scores};
pub use suspects::Suspect;
pub use trade_offs::{TradeOff, Virtue};

use super::pictures::pictures;
use crate::data::{Batch, Canvas, Mixes, Normalization, Seed};
use crate::error::{Error, Result};
use crate::graph::{Function, Graph, Value};
use crate::nn::{Built, Mode, Model};
use crate::ops::{self, MixRow};
use crate::tensor::{Meta, Tensor};
use crate::train::{Summary, Task};

/// A network that tells classes apart, with all it needs to read a picture and name what it sees.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// The network.
    pub model: Model,
    /// Class names, in the order of the network's outputs.
    pub classes: Vec<String>,
    /// How bytes become numbers.
    pub normalization: Normalization,
    /// What the loss counts how much.
    pub weighting: Weighting,
    /// Whether it trains on mixed pictures: batches then come with [`Mixes`].
    pub mixes: bool,
    /// By which probabilities are told as they turned out to be.
    pub calibration: Option<Calibration>,
}

/// What the loss counts how much.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weighting {
    /// Share of the target spread evenly over all classes.
    pub label_smoothing: f32,
    /// A weight for each class; their mean over the samples is kept at 1, so that the learning rate keeps its meaning.
    pub class_weights: Option<Vec<f32>>,
}

impl Classifier {
    /// Checks that network and classes belong together.
    ///
    /// Errors: if there are fewer than two classes, or the network has neither one output per class nor, for two
    /// classes, one in all.
    pub fn new(model: Model, classes: Vec<String>, normalization: Normalization) -> Result<Self> {
        let weighting = Weighting::default();
        let classifier = Self { model, classes, normalization, weighting, mixes: false, calibration: None };
        if classifier.classes.len() < 2 {
            let found = classifier.classes.join(", ");
            return Err(Error::config(format!("a classifier needs two classes or more, found: {found}")));
        }
        classifier.inference_graph(1)?;
        Ok(classifier)
    }

    /// Height, width and channels of the pictures it takes.
    pub fn input(&self) -> [usize; 3] {
        self.model.input
    }

    /// What its pictures are brought to: sequences of frames, if the network begins with a layer for these.
    pub fn canvas(&self) -> Canvas {
        canvas(&self.model)
    }

    /// The logits, if the last layer turns some into probabilities, and the labels.
    fn answers(&self, graph: &mut Graph, built: &Built, n: usize) -> Result<(Option<Value>, Value)> {
        let (classes, shape) = (self.classes.len(), graph.shape(built.output).clone());
        if shape.dims() != [n, classes] && !(classes == 2 && shape.dims() == [n, 1]) {
            let expected = if classes == 2 { "1 or 2".to_owned() } else { classes.to_string() };
            let got: Vec<String> = shape.dims()[1..].iter().map(usize::to_string).collect();
            let remedy = match got.len() {
                1 => "set the units of its last dense layer",
                _ => "a classifier ends in one value for each class, for instance a dense layer's",
            };
            let message = format!(
                "gives {} values for each picture, but {classes} classes need {expected}: {remedy}",
                got.join("x")
            );
            return Err(Error::shape("network", message));
        }
        let labels = graph.input("labels", Meta::i32([n]));
        Ok((built.logits, labels))
    }

    fn is_binary(&self, graph: &Graph, output: Value) -> bool {
        graph.shape(output).last() == 1
    }

    /// The loss of each picture [n].
    fn losses(&self, graph: &mut Graph, built: &Built, logits: Option<Value>, labels: Value) -> Result<Value> {
        let n = graph.shape(labels).elements();
        let smoothing = self.weighting.label_smoothing;
        let weights = self.weighting.class_weights.as_deref();
        let losses = if self.is_binary(graph, built.output) {
            let flat = ops::reshape(graph, logits.unwrap_or(built.output), [n])?;
            let targets = ops::apply(graph, labels, |t| t * (1.0 - smoothing) + 0.5 * smoothing)?;
            match logits {
                Some(_) => ops::binary_cross_entropy_with_logits(graph, flat, targets)?,
                None => ops::binary_cross_entropy(graph, flat, targets)?,
            }
        } else {
            let logits = match logits {
                Some(logits) => logits,
                // Without softmax the outputs are taken for logits.
                None => built.output,
            };
            ops::cross_entropy_with_logits(graph, logits, labels, smoothing, None)?
        };
        match weights {
            None => Ok(losses),
            Some(weights) => {
                let table = graph.constant(Tensor::new([weights.len(), 1], weights.to_vec())?);
                let chosen = ops::gather(graph, table, labels)?;
                let chosen = ops::reshape(graph, chosen, [n])?;
                ops::mul(graph, losses, chosen)
            }
        }
    }

    /// Which answers are right [n]: 1 or 0.
    fn right(&self, graph: &mut Graph, answers: Value, labels: Value, logits: bool) -> Result<Value> {
        let n = graph.shape(labels).elements();
        let chosen = if self.is_binary(graph, answers) {
            let flat = ops::reshape(graph, answers, [n])?;
            let border = graph.constant(Tensor::scalar(if logits { 0.0 } else { 0.5 }));
            ops::binary(graph, Function::Less, border, flat)?
        } else {
            ops::argmax(graph, answers, 1)?
        };
        ops::binary(graph, Function::Equal, chosen, labels)
    }

    /// What the network says of each picture: a probability for every class.
    pub fn predictions(&self, outputs: &Tensor) -> Vec<Prediction> {
        let units = outputs.shape().last();
        let row = |row: &[f32]| match (row, self.model.ends_in_probabilities()) {
            (&[p], _) => vec![1.0 - p, p],
            (row, true) => row.to_vec(),
            (row, false) => softmax(row),
        };
        let calibrated = |mut probabilities: Vec<f32>| {
            self.calibration.iter().for_each(|calibration| calibration.apply(&mut probabilities));
            Prediction { probabilities }
        };
        outputs.f32().chunks(units).map(|r| calibrated(row(r))).collect()
    }
}

impl Task for Classifier {
    type Evaluation = Evaluation;

    const METRIC: &'static str = "accuracy";

    fn training_graph(&self, n: usize, seed: u32) -> Result<Graph> {
        let mut graph = Graph::new();
        let mut images = pictures(&mut graph, n, self.canvas(), &self.normalization)?;
        if self.mixes {
            let rows = graph.input("mixes", Meta::f32([n, MixRow::LEN]));
            images = ops::mix(&mut graph, images, rows)?;
        }
        let step = graph.input("step", Meta::i32([2]));
        let built = self.model.build(&mut graph, images, Mode::Training { step, seed })?;
        graph.scope("loss");
        let (logits, labels) = self.answers(&mut graph, &built, n)?;
        let mut losses = self.losses(&mut graph, &built, logits, labels)?;
        let answers = logits.unwrap_or(built.output);
        let mut right = self.right(&mut graph, answers, labels, logits.is_some())?;
        if self.mixes {
            // Both are linear in the label, so that half of one label and half of another is the mean of two results.
            let others = graph.input("partner_labels", Meta::i32([n]));
            let shares = graph.input("own_shares", Meta::f32([n]));
            let other_losses = self.losses(&mut graph, &built, logits, others)?;
            losses = interpolate(&mut graph, other_losses, losses, shares)?;
            let other_right = self.right(&mut graph, answers, others, logits.is_some())?;
            right = interpolate(&mut graph, other_right, right, shares)?;
        }
        for &added in &built.losses {
            losses = ops::add(&mut graph, losses, added)?;
        }
        let loss = ops::mean(&mut graph, losses, &[0], false)?;
        let right = ops::sum(&mut graph, right, &[0], false)?;
        graph.output("loss", loss);
        graph.output("right", right);
        graph.differentiate_parameters(loss)?;
        Ok(graph)
    }

    fn computed_together(&self) -> usize {
        if self.mixes { Mixes::TOGETHER } else { 1 }
    }

    fn inference_graph(&self, n: usize) -> Result<Graph> {
        let mut graph = Graph::new();
        let images = pictures(&mut graph, n, self.canvas(), &self.normalization)?;
        let built = self.model.build(&mut graph, images, Mode::Inference)?;
        graph.scope("loss");
        let (logits, labels) = self.answers(&mut graph, &built, n)?;
        let plain = Self { weighting: Weighting::default(), ..self.clone() };
        let losses = plain.losses(&mut graph, &built, logits, labels)?;
        graph.output("losses", losses);
        graph.output("probabilities", built.output);
        Ok(graph)
    }

    fn evaluate(&self, results: &mut dyn Iterator<Item = Result<(Batch, Vec<Tensor>)>>) -> Result<Evaluation> {
        let mut tally = Tally::new(self.classes.len());
        for result in results {
            let (batch, outputs) = result?;
            let [losses, outputs] = outputs.as_slice() else {
                return Err(Error::device("the network gave no results"));
            };
            let predictions = self.predictions(outputs);
            for ((prediction, &class), &loss) in predictions.iter().zip(&batch.labels).zip(losses.f32()) {
                let class = class as usize;
                let calibrated = || -prediction.probabilities[class].max(f32::MIN_POSITIVE).ln();
                tally.add(class, prediction, self.calibration.map_or(loss, |_| calibrated()));
            }
        }
        Ok(tally.finish(&self.classes))
    }

    fn summary(evaluation: &Evaluation) -> Summary {
        Summary { loss: evaluation.loss, metric: evaluation.metrics.accuracy }
    }
}

/// What the pictures of a network are brought to.
fn canvas(model: &Model) -> Canvas {
    let ([height, width, channels], frames) = (model.input, model.frames());
    Canvas::of_frames(frames, [height / frames, width, channels])
}

/// `a + share · (b - a)`, by element.
fn interpolate(graph: &mut Graph, a: Value, b: Value, share: Value) -> Result<Value> {
    let difference = ops::sub(graph, b, a)?;
    let part = ops::mul(graph, difference, share)?;
    ops::add(graph, a, part)
}

/// For networks whose last layer leaves logits.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f32> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// What a network says of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// One for each class; they add up to 1.
    pub probabilities: Vec<f32>,
}

impl Prediction {
    /// Class ids, the most probable first; equals in the order of classes.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.probabilities.len()).collect();
        order.sort_by(|&a, &b| self.probabilities[b].total_cmp(&self.probabilities[a]));
        order
    }

    /// The most probable class.
    pub fn class(&self) -> usize {
        most_probable(&self.probabilities)
    }
}

/// Position of the largest value; of equals, the first.
fn most_probable(probabilities: &[f32]) -> usize {
    let larger = |best: usize, i: usize| if probabilities[i] > probabilities[best] { i } else { best };
    (0..probabilities.len()).fold(0, larger)
}

/// A classifier's results on a set.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// `classify`.
    pub task: &'static str,
    /// How many pictures.
    pub samples: u64,
    /// Mean loss.
    pub loss: f64,
    /// The summary.
    pub metrics: Metrics,
    /// By class name.
    pub per_class: BTreeMap<String, ClassMetrics>,
    /// Row = true class, column = answer.
    pub confusion: Confusion,
    /// How two classes divide at other thresholds than one half.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operating_points: Vec<OperatingPoint>,
    /// Sensitivity at fixed specificities, and the other way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trade_offs: Vec<TradeOff>,
    /// What it is worth to act on the probabilities of the second of two classes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decision_curve: Vec<NetBenefit>,
    /// How accuracy rises when what is less sure is not answered.
    pub selective: Vec<Selective>,
    /// 95 % confidence intervals of the metrics, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// What the rest was counted from.
    #[serde(skip)]
    pub scores: Scores,
}

impl Evaluation {
    /// With confidence intervals, from that many resamples.
    pub fn with_intervals(self, resamples: u64, seed: Seed) -> Self {
        let intervals = self.scores.intervals(resamples, seed);
        let with = |(trade_off, &interval)| TradeOff { interval, ..trade_off };
        let trade_offs = self.trade_offs.into_iter().zip(&intervals.trade_offs).map(with).collect();
        Self { trade_offs, intervals: Some(intervals), ..self }
    }

    /// Share of right answers.
    pub fn accuracy(&self) -> f64 {
        self.metrics.accuracy
    }
}

/// Steps of the decision curve that is told to programs.
const STEPS: usize = 20;

/// Adds up what a classifier says, picture by picture.
pub struct Tally {
    confusion: Confusion,
    scores: Scores,
    in_top5: u64,
    loss: f64,
}

impl Tally {
    /// Nothing yet, for `classes` classes.
    pub fn new(classes: usize) -> Self {
        Self { confusion: Confusion::new(classes), scores: Scores::new(classes), in_top5: 0, loss: 0.0 }
    }

    /// Counts one picture.
    pub fn add(&mut self, class: usize, prediction: &Prediction, loss: f32) {
        let ranking = prediction.ranking();
        self.confusion.add(class, ranking[0]);
        self.scores.add(class, &prediction.probabilities);
        self.in_top5 += u64::from(ranking.iter().take(5).any(|&c| c == class));
        self.loss += f64::from(loss);
    }

    /// The results.
    pub fn finish(self, classes: &[String]) -> Evaluation {
        let samples = self.confusion.total();
        Evaluation {
            task: "classify",
            samples,
            loss: self.loss / samples.max(1) as f64,
            metrics: self.confusion.metrics(self.in_top5, &self.scores),
            per_class: classes.iter().cloned().zip(self.confusion.per_class()).collect(),
            confusion: self.confusion,
            operating_points: self.scores.operating_points(),
            trade_offs: self.scores.trade_offs(classes),
            decision_curve: if classes.len() == 2 { self.scores.decision_curve(1, STEPS) } else { Vec::new() },
            selective: self.scores.selective(),
            intervals: None,
            scores: self.scores,
        }
    }
}
