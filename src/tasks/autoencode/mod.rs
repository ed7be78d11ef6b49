//! Pictures made again from less than they are made of: autoencoders, plain and variational.
//!
//! The network's result has the shape of its input, with values from 0 to 1. What it fails to make again is new to it: so the
//! error tells anomalies apart from what it was trained on.

mod data;
mod evaluation;
mod noise;
mod options;
mod report;
mod run_task;
mod threshold;

pub use data::CLASSES;
pub use evaluation::{Evaluation, Metrics, Tally};
pub use options::{Options, ReconstructionLoss};
pub use threshold::Threshold;

use super::pictures::pictures;
use crate::data::{Batch, Normalization};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::nn::{Built, Mode, Model};
use crate::ops;
use crate::tensor::{Meta, Tensor};
use crate::train::{Summary, Task};
use noise::NOISE;

/// A network that makes pictures again.
#[derive(Clone, Debug)]
pub struct Autoencoder {
    /// The network.
    pub model: Model,
    /// How bytes become numbers.
    pub normalization: Normalization,
    /// What is minimised, and what is taken away.
    pub options: Options,
    /// From which error a picture is called an anomaly.
    pub threshold: Option<Threshold>,
    classes: Vec<String>,
}

/// Tells the noise of training from that of layers.
const NOISE_SEED: u32 = 0x6e6f_6973;

impl Autoencoder {
    /// Checks that the network makes pictures.
    ///
    /// Errors: if its result has another shape than its input.
    pub fn new(model: Model, normalization: Normalization, options: Options) -> Result<Self> {
        let classes = CLASSES.map(str::to_owned).to_vec();
        let autoencoder = Self { model, normalization, options, threshold: None, classes };
        autoencoder.inference_graph(1)?;
        Ok(autoencoder)
    }

    /// The pictures as they are, from 0 to 1.
    fn originals(&self, graph: &mut Graph, images: Value) -> Result<Value> {
        let channel = |values: &[f32]| Tensor::new([values.len()], values.to_vec());
        let std = graph.constant(channel(&self.normalization.std)?);
        let mean = graph.constant(channel(&self.normalization.mean)?);
        let scaled = ops::mul(graph, images, std)?;
        ops::add(graph, scaled, mean)
    }

    /// With noise of the deviation that is to be taken away.
    fn noisy(&self, graph: &mut Graph, images: Value, noise: Value) -> Result<Value> {
        let deviations = self.normalization.std.iter().map(|std| self.options.denoise / std).collect::<Vec<_>>();
        let deviations = graph.constant(Tensor::new([deviations.len()], deviations)?);
        let noise = ops::mul(graph, noise, deviations)?;
        ops::add(graph, images, noise)
    }

    /// The mean over the pixels of each picture [n].
    fn losses(&self, graph: &mut Graph, built: &Built, originals: Value) -> Result<Value> {
        let (found, wanted) = (graph.shape(built.output).clone(), graph.shape(originals).clone());
        if found != wanted {
            let message = format!("makes {found} of pictures {wanted}: take autoencoder or vae, or end in a picture");
            return Err(Error::shape("network", message));
        }
        match self.options.loss {
            ReconstructionLoss::Mse => ops::mean_squared_error(graph, built.output, originals),
            ReconstructionLoss::Mae => ops::mean_absolute_error(graph, built.output, originals),
            ReconstructionLoss::Bce => match built.logits {
                Some(logits) => ops::binary_cross_entropy_with_logits(graph, logits, originals),
                None => ops::binary_cross_entropy(graph, built.output, originals),
            },
        }
    }
}

impl Task for Autoencoder {
    type Evaluation = Evaluation;

    const METRIC: &'static str = "explained_variance";

    fn training_graph(&self, n: usize, seed: u32) -> Result<Graph> {
        let mut graph = Graph::new();
        let images = pictures(&mut graph, n, self.model.input, &self.normalization)?;
        let step = graph.input("step", Meta::i32([2]));
        let mut seen = images;
        if self.options.denoise > 0.0 {
            let shape = graph.shape(images).clone();
            let noise = ops::normal(&mut graph, shape, step, seed ^ NOISE_SEED)?;
            seen = self.noisy(&mut graph, images, noise)?;
        }
        let built = self.model.build(&mut graph, seen, Mode::Training { step, seed })?;
        graph.scope("loss");
        let originals = self.originals(&mut graph, images)?;
        let mut losses = self.losses(&mut graph, &built, originals)?;
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
        let images = pictures(&mut graph, n, self.model.input, &self.normalization)?;
        let mut seen = images;
        if self.options.denoise > 0.0 {
            let shape = graph.shape(images).clone();
            let noise = graph.input(NOISE, Meta::f32(shape));
            seen = self.noisy(&mut graph, images, noise)?;
        }
        let built = self.model.build(&mut graph, seen, Mode::Inference)?;
        graph.scope("loss");
        let originals = self.originals(&mut graph, images)?;
        let losses = self.losses(&mut graph, &built, originals)?;
        graph.output("losses", losses);
        graph.output("pictures", built.output);
        let errors = ops::mean_squared_error(&mut graph, built.output, originals)?;
        graph.output("errors", errors);
        Ok(graph)
    }

    fn evaluate(&self, results: &mut dyn Iterator<Item = Result<(Batch, Vec<Tensor>)>>) -> Result<Evaluation> {
        let mut tally = Tally::default();
        for result in results {
            let (batch, outputs) = result?;
            let [losses, made, errors] = outputs.as_slice() else {
                return Err(Error::device("the network gave no results"));
            };
            let (images, made) = (batch.images.chunks_exact(batch.images.len() / batch.len()), made.f32());
            let made = made.chunks_exact(made.len() / batch.len());
            for (i, (image, made)) in images.zip(made).enumerate() {
                tally.add(batch.labels[i] == 1, image, made, losses.f32()[i], errors.f32()[i]);
            }
        }
        Ok(tally.finish())
    }

    fn summary(evaluation: &Evaluation) -> Summary {
        Summary { loss: evaluation.loss, metric: evaluation.metrics.explained_variance }
    }
}
