//! A class for each pixel.
//!
//! The network's result has the pictures' height and width: one channel is the probability of the second of two classes,
//! several are one for each class. Masks come with the batch; a pixel of no class counts nothing, neither in the loss nor in
//! what is reported.

mod drawing;
mod evaluation;
mod masks;
mod options;
mod report;
mod run_task;
mod tiles;

pub use evaluation::{ClassMetrics, Evaluation, Metrics, Tally};
pub use options::{MaskLoss, Options};

use crate::data::{Batch, Normalization, UNLABELLED};
use crate::error::{Error, Result};
use crate::graph::{Function, Graph, Term, Value};
use crate::nn::{Built, Mode, Model};
use crate::ops;
use crate::tensor::{Meta, Tensor};
use crate::train::{Summary, Task};

use super::pictures::pictures;
use masks::MASK;

/// A network that says of each pixel what it is part of.
#[derive(Clone, Debug)]
pub struct Segmenter {
    /// The network.
    pub model: Model,
    /// Class names, in the order of the network's channels.
    pub classes: Vec<String>,
    /// How bytes become numbers.
    pub normalization: Normalization,
    /// What is minimised.
    pub loss: MaskLoss,
    /// Share of the target spread evenly over all classes.
    pub label_smoothing: f32,
    /// A weight for each class.
    pub class_weights: Option<Vec<f32>>,
    /// The class that counts nothing.
    pub ignored: Option<u8>,
    /// Whether pictures are looked at in tiles of the network's size instead of being resized to it.
    pub tiles: bool,
}

/// Of two classes, probabilities of the second from which it is the answer.
const EVEN: f32 = 0.5;

impl Segmenter {
    /// Checks that network and classes belong together.
    ///
    /// Errors: if there are fewer than two classes or more than 254, or the network gives no map of the pictures' size with one
    /// channel for each class or, for two classes, one in all.
    pub fn new(model: Model, classes: Vec<String>, normalization: Normalization) -> Result<Self> {
        if !(2..usize::from(UNLABELLED)).contains(&classes.len()) {
            let found = classes.len();
            return Err(Error::config(format!("segmentation needs 2 to 254 classes, but the masks have {found}")));
        }
        let segmenter = Self {
            model,
            classes,
            normalization,
            loss: MaskLoss::default(),
            label_smoothing: 0.0,
            class_weights: None,
            ignored: None,
            tiles: false,
        };
        segmenter.inference_graph(1)?;
        Ok(segmenter)
    }

    /// The map's shape [n, h, w, channels].
    fn map(&self, graph: &Graph, built: &Built, n: usize) -> Result<[usize; 4]> {
        let ([h, w, _], classes, dims) = (self.model.input, self.classes.len(), graph.shape(built.output).dims());
        match *dims {
            [_, height, width, k] if [height, width] == [h, w] && (k == classes || (k == 1 && classes == 2)) => {
                Ok([n, h, w, k])
            }
            _ => {
                let got: Vec<String> = dims[1..].iter().map(usize::to_string).collect();
                let expected = if classes == 2 { "1 or 2".to_owned() } else { classes.to_string() };
                let message = format!(
                    "gives {} for each picture, but masks of {classes} classes need {h}x{w}x{expected}: take unet or linknet, or \
                     end in a convolution",
                    got.join("x")
                );
                Err(Error::shape("network", message))
            }
        }
    }

    /// The loss of each picture [n].
    fn losses(&self, graph: &mut Graph, built: &Built, mask: Value) -> Result<Value> {
        let [n, h, w, k] = self.map(graph, built, graph.shape(mask).dims()[0])?;
        let pixels = n * h * w;
        let logits = built.logits.unwrap_or(built.output);
        let logits = ops::reshape(graph, logits, [pixels, k])?;
        let ids = ops::reshape(graph, mask, [pixels])?;
        let mut parts = Vec::new();
        if self.loss.cross_entropy || self.loss.focal {
            let entropies = self.entropies(graph, logits, ids)?;
            let weights = self.weights(graph, ids)?;
            if self.loss.focal {
                let focal = ops::apply(graph, entropies, |e| {
                    let miss = 1.0 - (-e.clone()).call(Function::Exp);
                    miss.clone() * miss * e
                })?;
                parts.push(weighted_means(graph, focal, weights, n)?);
            }
            if self.loss.cross_entropy {
                parts.push(weighted_means(graph, entropies, weights, n)?);
            }
        }
        if self.loss.dice {
            parts.push(self.dice(graph, logits, ids, n)?);
        }
        let first = parts[0];
        parts[1..].iter().try_fold(first, |sum, &part| ops::add(graph, sum, part))
    }

    /// Cross-entropy of each pixel [pixels].
    fn entropies(&self, graph: &mut Graph, logits: Value, ids: Value) -> Result<Value> {
        let (pixels, smoothing) = (graph.shape(ids).elements(), self.label_smoothing);
        if graph.shape(logits).last() > 1 {
            return ops::cross_entropy_with_logits(graph, logits, ids, smoothing, None);
        }
        let flat = ops::reshape(graph, logits, [pixels])?;
        let targets = ops::apply(graph, ids, |t| t * (1.0 - smoothing) + 0.5 * smoothing)?;
        ops::binary_cross_entropy_with_logits(graph, flat, targets)
    }

    /// What each pixel counts [pixels]: the weight of its class, 0 without one.
    fn weights(&self, graph: &mut Graph, ids: Value) -> Result<Value> {
        let weights = self.class_weights.clone().unwrap_or_else(|| vec![1.0; self.classes.len()]);
        let table = graph.constant(Tensor::new([weights.len(), 1], weights)?);
        let chosen = ops::gather(graph, table, ids)?;
        let pixels = graph.shape(ids).elements();
        ops::reshape(graph, chosen, [pixels])
    }

    /// One minus the mean Dice coefficient over the classes that are in a picture, of each picture [n]; of two classes that of the
    /// second.
    fn dice(&self, graph: &mut Graph, logits: Value, ids: Value, n: usize) -> Result<Value> {
        let (channels, classes) = (graph.shape(logits).last(), self.classes.len());
        let rows = graph.shape(ids).elements() / n;
        let probabilities = if channels == 1 { ops::sigmoid(graph, logits)? } else { ops::softmax(graph, logits)? };
        // The classes of which there are channels, as rows of ones and zeros; of no class, all zeros.
        let of_class = |class: usize, channel: usize| class == channel + classes - channels;
        let table = (0..classes * channels).map(|i| f32::from(u8::from(of_class(i / channels, i % channels))));
        let table = graph.constant(Tensor::new([classes, channels], table.collect::<Vec<_>>())?);
        let targets = ops::gather(graph, table, ids)?;
        let ones = graph.constant(Tensor::new([classes, 1], vec![1.0; classes])?);
        let labelled = ops::gather(graph, ones, ids)?;
        let probabilities = ops::mul(graph, probabilities, labelled)?;
        let total = |values: Value, graph: &mut Graph| {
            let values = ops::reshape(graph, values, [n, rows, channels])?;
            ops::sum(graph, values, &[1], false)
        };
        let both = ops::mul(graph, probabilities, targets)?;
        let [both, said, are] = [total(both, graph)?, total(probabilities, graph)?, total(targets, graph)?];
        let sums = ops::add(graph, said, are)?;
        let misses = ops::formula(graph, &dice_loss(), &[both, sums, are])?;
        let misses = ops::sum(graph, misses, &[1], false)?;
        let present = ops::apply(graph, are, |are| are.with(Function::Min, 1.0))?;
        let present = ops::sum(graph, present, &[1], false)?;
        ops::formula(graph, &mean_of(), &[misses, present])
    }

    /// The answer for each pixel of a picture, from its probabilities.
    fn answers(&self, probabilities: &[f32], threshold: f32) -> Vec<u8> {
        let [h, w, _] = self.model.input;
        let channels = probabilities.len() / (h * w);
        probabilities.chunks_exact(channels).map(|row| self.most_probable(row, threshold)).collect()
    }

    /// The class of a row of probabilities, never the one that is ignored; of two classes the second from `threshold` on.
    fn most_probable(&self, row: &[f32], threshold: f32) -> u8 {
        if let [second] = row {
            return u8::from(*second >= threshold);
        }
        let classes = (0..row.len()).filter(|&class| self.ignored.map(usize::from) != Some(class));
        classes.reduce(|best, class| if row[class] > row[best] { class } else { best }).unwrap_or(0) as u8
    }
}

/// `1 - (2 both + 1) / (sums + 1)`, and 0 for a class that is not in the picture.
fn dice_loss() -> Term {
    let [both, sums, are] = [0, 1, 2].map(Term::Input);
    are.with(Function::Min, 1.0) * (1.0 - (both * 2.0 + 1.0) / (sums.with(Function::Max, 0.0) + 1.0))
}

/// A sum over so many, which may be none.
fn mean_of() -> Term {
    let [sum, count] = [0, 1].map(Term::Input);
    sum / count.with(Function::Max, 1.0)
}

/// Mean of each picture's losses by their weights [n]; 0 where nothing counts.
fn weighted_means(graph: &mut Graph, losses: Value, weights: Value, n: usize) -> Result<Value> {
    let rows = graph.shape(losses).elements() / n;
    let weighted = ops::mul(graph, losses, weights)?;
    let total = |values: Value, graph: &mut Graph| {
        let values = ops::reshape(graph, values, [n, rows])?;
        ops::sum(graph, values, &[1], false)
    };
    let [sums, weights] = [total(weighted, graph)?, total(weights, graph)?];
    let weights = ops::apply(graph, weights, |w| w.with(Function::Max, f32::EPSILON))?;
    ops::div(graph, sums, weights)
}

impl Task for Segmenter {
    type Evaluation = Evaluation;

    const METRIC: &'static str = "mean_iou";

    fn training_graph(&self, n: usize, seed: u32) -> Result<Graph> {
        let ([h, w, _], mut graph) = (self.model.input, Graph::new());
        let images = pictures(&mut graph, n, self.model.input, &self.normalization)?;
        let step = graph.input("step", Meta::i32([2]));
        let built = self.model.build(&mut graph, images, Mode::Training { step, seed })?;
        graph.scope("loss");
        let mask = graph.input(MASK, Meta::i32([n, h, w]));
        let mut losses = self.losses(&mut graph, &built, mask)?;
        for &added in &built.losses {
            losses = ops::add(&mut graph, losses, added)?;
        }
        let loss = ops::mean(&mut graph, losses, &[0], false)?;
        graph.output("loss", loss);
        graph.differentiate_parameters(loss)?;
        Ok(graph)
    }

    fn inference_graph(&self, n: usize) -> Result<Graph> {
        let ([h, w, _], mut graph) = (self.model.input, Graph::new());
        let images = pictures(&mut graph, n, self.model.input, &self.normalization)?;
        let built = self.model.build(&mut graph, images, Mode::Inference)?;
        graph.scope("loss");
        let mask = graph.input(MASK, Meta::i32([n, h, w]));
        let plain = Self { label_smoothing: 0.0, class_weights: None, ..self.clone() };
        let losses = plain.losses(&mut graph, &built, mask)?;
        graph.output("losses", losses);
        let probabilities = self.probabilities(&mut graph, built.output)?;
        graph.output("probabilities", probabilities);
        Ok(graph)
    }

    fn evaluate(&self, results: &mut dyn Iterator<Item = Result<(Batch, Vec<Tensor>)>>) -> Result<Evaluation> {
        let mut tally = Tally::new(self.classes.len());
        for result in results {
            let (batch, outputs) = result?;
            let ([losses, probabilities], Some(mask)) = (outputs.as_slice(), batch.targets.first()) else {
                return Err(Error::device("the network gave no results, or there are no masks"));
            };
            let n = batch.len();
            let truths = mask.words.chunks_exact(mask.words.len() / n);
            let probabilities = probabilities.f32().chunks_exact(probabilities.f32().len() / n);
            for ((truth, probabilities), &loss) in truths.zip(probabilities).zip(losses.f32()) {
                let truth = truth.iter().map(|&class| usize::try_from(class as i32).ok());
                tally.add(truth, self.answers(probabilities, EVEN), loss);
            }
        }
        Ok(tally.finish(&self.classes))
    }

    fn summary(evaluation: &Evaluation) -> Summary {
        Summary { loss: evaluation.loss, metric: evaluation.metrics.mean_iou }
    }
}

impl Segmenter {
    /// Of networks whose last layer leaves logits, what they stand for.
    fn probabilities(&self, graph: &mut Graph, output: Value) -> Result<Value> {
        match (self.model.ends_in_probabilities(), graph.shape(output).last()) {
            (true, _) => Ok(output),
            (false, 1) => ops::sigmoid(graph, output),
            (false, _) => ops::softmax(graph, output),
        }
    }
}
