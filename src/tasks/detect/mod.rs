//! Boxes around things, with a class each.
//!
//! The network gives, at each place of a map of an eighth of the picture's extents, how far a thing's edges are and a logit for
//! each class ([`zoo::detector`](crate::nn::zoo::detector)). It learns to be sure of a class at the centres of things, by a
//! penalty that falls off around them, and to tell their edges near there. What it finds are the places that
//! answer more surely than their neighbours, less those that are covered by surer ones.

mod average_precision;
mod coco;
mod evaluation;
mod found;
mod geometry;
mod lines;
mod loss;
mod report;
mod run_task;
mod targets;

pub use average_precision::{Curve, Seen, average_precision};
pub use coco::CocoResults;
pub use evaluation::{ClassEvaluation, Evaluation, Metrics};
pub use found::{Detection, found};
pub use geometry::{intersection_over_union, moved};

use super::pictures::pictures;
use crate::data::{Batch, Normalization};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::nn::{Built, Mode, Model};
use crate::ops;
use crate::tensor::{Meta, Tensor};
use crate::train::{Summary, Task};

/// Names of the inputs beyond those of every task; see [`targets`].
const HEATMAP: &str = "heatmap";
const CLASS_WEIGHTS: &str = "class_weights";
const BOXES: &str = "boxes";
const BOX_WEIGHTS: &str = "box_weights";

/// A network that finds things, with all it needs to read a picture and name what it sees.
#[derive(Clone, Debug)]
pub struct Detector {
    /// The network.
    pub model: Model,
    /// Class names, in the order of the network's logits.
    pub classes: Vec<String>,
    /// How bytes become numbers.
    pub normalization: Normalization,
    /// Least score of what is told, where one was chosen; else [`THRESHOLD`](Self::THRESHOLD).
    pub threshold: Option<f32>,
    /// Height and width of the map.
    grid: [usize; 2],
}

impl Detector {
    /// Least score of what is told, where nothing is known of a network's scores.
    pub const THRESHOLD: f32 = 0.3;

    /// Checks that network and classes belong together.
    ///
    /// Errors: if there is no class, or the network does not give a map with four numbers and a logit for each class.
    pub fn new(model: Model, classes: Vec<String>, normalization: Normalization) -> Result<Self> {
        if classes.is_empty() {
            return Err(Error::config("a detector needs a class at least"));
        }
        let grid = grid(&model, classes.len())?.ok_or_else(|| {
            let message =
                format!("is no detector of {} classes: it gives no map of so many and 4 numbers", classes.len());
            Error::shape("network", message)
        })?;
        Ok(Self { model, classes, normalization, threshold: None, grid })
    }

    /// What the network gives for `n` pictures, with the graph's inputs.
    fn emit(&self, graph: &mut Graph, n: usize, mode: impl FnOnce(&mut Graph) -> Mode) -> Result<Built> {
        let images = pictures(graph, n, self.model.input, &self.normalization)?;
        let mode = mode(graph);
        let built = self.model.build(graph, images, mode)?;
        graph.scope("loss");
        Ok(built)
    }

    /// The loss of each picture `[n]`, and what was found `[n, h, w, 4 + classes]` as [`loss::decoded`] gives it.
    fn judged(&self, graph: &mut Graph, output: Value, n: usize) -> Result<(Value, Value)> {
        let ([h, w], classes) = (self.grid, self.classes.len());
        let mut input = |name, channels| graph.input(name, Meta::f32([n, h, w, channels]));
        let targets = loss::Targets {
            heatmap: input(HEATMAP, classes),
            class_weights: input(CLASS_WEIGHTS, 1),
            boxes: input(BOXES, 4),
            box_weights: input(BOX_WEIGHTS, 1),
        };
        let losses = loss::losses(graph, output, &targets)?;
        Ok((losses, loss::decoded(graph, output)?))
    }
}

/// Height and width of the map that a detector of so many classes gives; `None` if the network is something else.
///
/// Errors: if the network cannot be built.
fn grid(model: &Model, classes: usize) -> Result<Option<[usize; 2]>> {
    let mut graph = Graph::new();
    let [h, w, c] = model.input;
    let input = graph.input(Model::INPUT, Meta::f32([1, h, w, c]));
    let built = model.build(&mut graph, input, Mode::Inference)?;
    Ok(match graph.shape(built.output).dims() {
        &[_, h, w, channels] if channels == 4 + classes && !model.ends_in_probabilities() => Some([h, w]),
        _ => None,
    })
}

impl Task for Detector {
    type Evaluation = Evaluation;

    /// Mean average precision where half of the union must be common.
    const METRIC: &'static str = "map50";

    fn training_graph(&self, n: usize, seed: u32) -> Result<Graph> {
        let mut graph = Graph::new();
        let step = |graph: &mut Graph| Mode::Training { step: graph.input("step", Meta::i32([2])), seed };
        let built = self.emit(&mut graph, n, step)?;
        let (mut losses, _) = self.judged(&mut graph, built.output, n)?;
        for &added in &built.losses {
            losses = ops::add(&mut graph, losses, added)?;
        }
        let loss = ops::mean(&mut graph, losses, &[0], false)?;
        graph.output("loss", loss);
        graph.differentiate_parameters(loss)?;
        Ok(graph)
    }

    fn inference_graph(&self, n: usize) -> Result<Graph> {
        let mut graph = Graph::new();
        let built = self.emit(&mut graph, n, |_| Mode::Inference)?;
        let (losses, found) = self.judged(&mut graph, built.output, n)?;
        graph.output("losses", losses);
        graph.output("found", found);
        Ok(graph)
    }

    fn evaluate(&self, results: &mut dyn Iterator<Item = Result<(Batch, Vec<Tensor>)>>) -> Result<Evaluation> {
        let (mut seen, mut loss) = (Vec::new(), 0.0);
        for result in results {
            let (batch, outputs) = result?;
            let [losses, answers] = outputs.as_slice() else {
                return Err(Error::device("the network gave no results"));
            };
            loss += losses.f32().iter().copied().map(f64::from).sum::<f64>();
            let found = self.found(answers);
            seen.extend(found.into_iter().zip(targets::truth(&batch)).map(|(found, truth)| Seen { found, truth }));
        }
        Ok(Evaluation::new(seen, loss, &self.classes, self.threshold))
    }

    fn summary(evaluation: &Evaluation) -> Summary {
        Summary { loss: evaluation.loss, metric: evaluation.metrics.map50 }
    }
}

impl Detector {
    /// What is on each picture, of the second result of the inference graph.
    fn found(&self, answers: &Tensor) -> Vec<Vec<Detection>> {
        let [h, w] = self.grid;
        let each = h * w * (4 + self.classes.len());
        answers.f32().chunks_exact(each).map(|map| found(map, self.grid, self.classes.len())).collect()
    }
}
