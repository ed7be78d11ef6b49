//! What belongs together: a network makes a vector of each picture, so that pictures of one class are near each other, of
//! classes it was never shown too.
//!
//! The network is one for classes, cut before them, with a dense layer behind that gives vectors, which are brought to length 1.
//! How near two pictures are is the cosine of the angle between their vectors. ArcFace's directions of the classes are a layer
//! beside ([`CosineDense`](crate::nn::layers::CosineDense), the network's second output), which only the loss asks for: trained and
//! kept with the rest, but not computed for an answer.

mod embeddings;
mod head;
mod index;
mod loss;
mod options;
mod report;
mod retrieval;
mod run_task;
mod search;
mod threshold;
pub(crate) mod trees;
mod verification;

use serde::Serialize;

pub use embeddings::Embeddings;
pub use head::network;
pub(crate) use head::{directions, features};
pub use index::{Index, Origin};
pub use loss::MetricLoss;
pub use options::Options;
pub use retrieval::Retrieval;
pub(crate) use run_task::embed;
pub use search::{Hit, Search};
pub use threshold::Threshold;
pub use trees::Trees;
pub use verification::{OperatingPoint, Pairs, TrueAccepts, Verification};

use crate::data::{Batch, Normalization, Sampling};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::nn::{Mode, Model};
use crate::ops;
use crate::tasks::pictures::pictures;
use crate::tensor::{Meta, Tensor};
use crate::train::{Summary, Task};
use loss::{Losses, arcface, batch_hard_triplet};

/// A network that makes vectors of pictures.
#[derive(Clone, Debug)]
pub struct Embedder {
    /// The network. Its first output is a vector of length 1 for each picture; for training with ArcFace, the second is its
    /// cosine with the direction of each class.
    pub model: Model,
    /// Names of the classes it is trained on.
    pub classes: Vec<String>,
    /// How bytes become numbers.
    pub normalization: Normalization,
    /// How it is trained.
    pub options: Options,
    /// How training pictures come: a triplet needs companions in its batch.
    pub sampling: Sampling,
    /// Pictures of a batch: those among which triplets are looked for.
    pub batch_size: usize,
    /// From which cosine on two pictures are taken for the same.
    pub threshold: Option<Threshold>,
}

impl Embedder {
    /// For answers alone.
    ///
    /// Errors: if the network does not give one vector for each picture.
    pub fn new(model: Model, normalization: Normalization) -> Result<Self> {
        let embedder = Self {
            model,
            classes: Vec::new(),
            normalization,
            options: Options::default(),
            sampling: Sampling::GROUPS,
            batch_size: 1,
            threshold: None,
        };
        embedder.inference_graph(1)?;
        Ok(embedder)
    }

    /// Numbers of a vector.
    ///
    /// Errors: if the network cannot be built.
    pub fn dimensions(&self) -> Result<usize> {
        let graph = self.inference_graph(1)?;
        Ok(graph.outputs().first().map_or(0, |&(_, value)| graph.shape(value).last()))
    }

    fn losses(&self, graph: &mut Graph, outputs: &[Value], labels: Value) -> Result<Losses> {
        let Options { loss, scale, .. } = self.options;
        match (loss, outputs) {
            (MetricLoss::ArcFace, &[_, cosines, ..]) => arcface(graph, cosines, labels, self.options.margin(), scale),
            (MetricLoss::ArcFace, _) => Err(Error::config("ArcFace needs a second output: cosines with the classes")),
            (MetricLoss::Triplet, _) => batch_hard_triplet(graph, outputs[0], labels, self.options.margin()),
        }
    }
}

impl Task for Embedder {
    type Evaluation = Evaluation;

    const METRIC: &'static str = "recall_at_1";

    fn training_graph(&self, n: usize, seed: u32) -> Result<Graph> {
        let mut graph = Graph::new();
        let images = pictures(&mut graph, n, self.model.input, &self.normalization)?;
        let step = graph.input("step", Meta::i32([2]));
        let built = self.model.build(&mut graph, images, Mode::Training { step, seed })?;
        graph.scope("loss");
        let labels = graph.input("labels", Meta::i32([n]));
        let Losses { mut loss, right } = self.losses(&mut graph, &built.outputs, labels)?;
        for &added in &built.losses {
            let added = ops::mean(&mut graph, added, &[0], false)?;
            loss = ops::add(&mut graph, loss, added)?;
        }
        graph.output("loss", loss);
        graph.output("right", right);
        graph.differentiate_parameters(loss)?;
        Ok(graph)
    }

    /// Triplets are made within a batch, which is therefore not divided.
    fn computed_together(&self) -> usize {
        match self.options.loss {
            MetricLoss::ArcFace => 1,
            MetricLoss::Triplet => self.batch_size,
        }
    }

    fn inference_graph(&self, n: usize) -> Result<Graph> {
        let mut graph = Graph::new();
        let images = pictures(&mut graph, n, self.model.input, &self.normalization)?;
        let built = self.model.build(&mut graph, images, Mode::Inference)?;
        let shape = graph.shape(built.output);
        if shape.rank() != 2 {
            let message = format!("gives {shape} for {n} pictures, where one vector for each is needed");
            return Err(Error::shape("network", message));
        }
        graph.output("embeddings", built.output);
        Ok(graph)
    }

    fn evaluate(&self, results: &mut dyn Iterator<Item = Result<(Batch, Vec<Tensor>)>>) -> Result<Evaluation> {
        let mut embeddings = Embeddings { dimensions: self.dimensions()?, ..Embeddings::default() };
        for result in results {
            let (batch, outputs) = result?;
            let vectors = outputs.first().ok_or_else(|| Error::device("the network gave no results"))?;
            embeddings.vectors.extend_from_slice(vectors.f32());
            embeddings.labels.extend(batch.labels.iter().map(|&label| label as usize));
        }
        Ok(Evaluation::of(embeddings, self.threshold.as_ref().map(|t| t.chosen.threshold)))
    }

    fn summary(evaluation: &Evaluation) -> Summary {
        Summary { loss: evaluation.loss, metric: evaluation.metrics.recall_at_1 }
    }
}

/// How well vectors tell what belongs together.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// `embed`.
    pub task: &'static str,
    /// How many pictures.
    pub samples: u64,
    /// Mean loss of neighbourhood component analysis: see [`Retrieval::of`].
    pub loss: f64,
    /// Whether a picture's neighbours are of its class.
    pub metrics: Retrieval,
    /// Whether two pictures are of one class.
    pub verification: Option<Verification>,
    /// What the rest was counted from.
    #[serde(skip)]
    pub embeddings: Embeddings,
}

impl Evaluation {
    /// Of vectors of length 1; `threshold`: from which cosine on two pictures are taken for the same, if that is known.
    pub fn of(embeddings: Embeddings, threshold: Option<f32>) -> Self {
        let (metrics, loss) = Retrieval::of(&embeddings);
        let verification = Pairs::of(&embeddings).verification(threshold);
        Self { task: "embed", samples: embeddings.len() as u64, loss, metrics, verification, embeddings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scikit-learn's figures, recorded by `tests/fixtures/embed/metrics.py`.
    #[test]
    fn figures_are_those_of_scikit_learn() {
        let text = include_str!("../../../tests/fixtures/embed/metrics.json");
        let recorded: serde_json::Value = serde_json::from_str(text).unwrap();
        let numbers = |key: &str| recorded[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap());
        let embeddings = Embeddings {
            vectors: numbers("vectors").map(|x| x as f32).collect(),
            dimensions: recorded["dimensions"].as_u64().unwrap() as usize,
            labels: numbers("labels").map(|x| x as usize).collect(),
        };
        let evaluation = Evaluation::of(embeddings, None);
        let close = |found: f64, wanted: &serde_json::Value| {
            let wanted = wanted.as_f64().unwrap();
            assert!((found - wanted).abs() < 1e-6, "{found}, not {wanted}");
        };
        let (m, wanted) = (evaluation.metrics, &recorded["retrieval"]);
        close(m.queries as f64, &wanted["queries"]);
        close(m.recall_at_1, &wanted["recall_at_1"]);
        close(m.recall_at_5, &wanted["recall_at_5"]);
        close(m.recall_at_10, &wanted["recall_at_10"]);
        close(m.mean_average_precision, &wanted["mean_average_precision"]);
        close(evaluation.loss, &wanted["loss"]);
        let (v, wanted) = (evaluation.verification.unwrap(), &recorded["verification"]);
        close(v.same_pairs as f64, &wanted["same_pairs"]);
        close(v.different_pairs as f64, &wanted["different_pairs"]);
        close(v.roc_auc, &wanted["roc_auc"]);
        close(v.equal_error_rate, &wanted["equal_error_rate"]);
        close(v.accuracy, &wanted["accuracy"]);
        // 904 pairs of two classes are not enough for one in a hundred.
        assert_eq!(v.tar_at_far.len(), 1);
        close(v.tar_at_far[0].tar, &wanted["tar_at_far"][0][1]);
    }

    #[test]
    fn a_network_that_sees_no_difference_finds_nothing() {
        let embeddings =
            Embeddings { vectors: [0.6, 0.8].repeat(8), dimensions: 2, labels: vec![0, 0, 0, 0, 1, 1, 1, 1] };
        let evaluation = Evaluation::of(embeddings, None);
        assert_eq!(evaluation.metrics.recall_at_1, 0.0);
        assert_eq!(evaluation.verification.unwrap().accuracy, 0.5);
        assert!((evaluation.metrics.mean_average_precision - 3.0 / 7.0).abs() < 1e-12);
    }
}
