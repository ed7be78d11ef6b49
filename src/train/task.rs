use crate::data::Batch;
use crate::error::Result;
use crate::graph::Graph;
use crate::tensor::Tensor;

/// What a network is trained for, as far as the loop needs to know: graphs for a batch, and what their results mean.
pub trait Task: Clone + Send + Sync {
    /// Results on a set.
    type Evaluation;

    /// Name of the metric which is shown beside the loss, for instance `accuracy`; higher is better.
    const METRIC: &'static str;

    /// The graph of a training step on `n` pictures, gradients included. Inputs: `images` u8 [n, h, w, c], `rows` f32
    /// `[n, 32]`, `labels` i32 `[n]`, `step` i32 `[2]`: its number, and which of its pictures comes first here. Where pictures
    /// are mixed, also `mixes` f32 `[n, 8]`, `partner_labels` i32 `[n]`, `own_shares` f32 `[n]`; `labels` only if classes are
    /// of whole pictures, and what the task's [`Targets`](crate::data::Targets) fill. Outputs: the mean loss; the sum of the
    /// metric over the pictures, unless it cannot be told of a step.
    ///
    /// Errors: if network and task do not fit together.
    fn training_graph(&self, n: usize, seed: u32) -> Result<Graph>;

    /// A step is only divided between multiples of so many pictures: 1, unless pictures of a batch are mixed.
    fn computed_together(&self) -> usize {
        1
    }

    /// The graph which judges `n` pictures; inputs as in training, without `step`. The outputs are the task's own.
    ///
    /// Errors: if network and task do not fit together.
    fn inference_graph(&self, n: usize) -> Result<Graph>;

    /// Adds up what the inference graph gave for each batch.
    fn evaluate(&self, results: &mut dyn Iterator<Item = Result<(Batch, Vec<Tensor>)>>) -> Result<Self::Evaluation>;

    /// Mean loss and metric of an evaluation.
    fn summary(evaluation: &Self::Evaluation) -> Summary;
}

/// Two numbers that tell how training goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Mean loss over the samples.
    pub loss: f64,
    /// The task's metric.
    pub metric: f64,
}
