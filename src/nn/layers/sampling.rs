use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Function, Graph, Value};
use crate::nn::{Builder, Layer};
use crate::ops;

/// A draw from a normal distribution for each value. Its inputs are the means μ and the logarithms of the variances σ²; the
/// result is `μ + σ ε` in training, with noise ε drawn anew each time, and μ in inference.
///
/// The distance of each picture's distributions from the standard normal one joins the loss: Kullback and Leibler's divergence
/// `Σ (μ² + σ² - 1 - log σ²) / 2`, times `kl_weight`.
/// Source: Kingma & Welling, 2014, <https://arxiv.org/abs/1312.6114>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// How much the divergence counts: 1 beside a loss that is a sum over all pixels.
    pub kl_weight: f64,
}

impl Default for Sampling {
    /// The paper's weight, 1.
    fn default() -> Self {
        Self { kl_weight: 1.0 }
    }
}

/// Of each picture: `[n, ..]` and `[n, ..]` give `[n]`.
fn divergence(graph: &mut Graph, mean: Value, log_variance: Value) -> Result<Value> {
    let squares = ops::mul(graph, mean, mean)?;
    let rest = ops::apply(graph, log_variance, |l| 0.5 * (l.clone().call(Function::Exp) - 1.0 - l))?;
    let halves = ops::apply(graph, squares, |s| s * 0.5)?;
    let terms = ops::add(graph, halves, rest)?;
    let axes: Vec<usize> = (1..graph.shape(terms).rank()).collect();
    ops::sum(graph, terms, &axes, false)
}

impl Layer for Sampling {
    fn type_name(&self) -> &'static str {
        "sampling"
    }

    fn merges(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let dims = builder.dims(inputs[0]);
        let &[mean, log_variance] = inputs else {
            return Err(builder.error("takes two inputs: means, and logarithms of variances"));
        };
        builder.expect_one_shape(inputs)?;
        if !(self.kl_weight.is_finite() && self.kl_weight >= 0.0) {
            return Err(builder.error(format!("kl_weight must be 0 or more, but is {}", self.kl_weight)));
        }
        let Some((step, seed)) = builder.training() else { return Ok(mean) };
        if self.kl_weight > 0.0 {
            let weight = self.kl_weight as f32;
            let divergence = divergence(builder.graph(), mean, log_variance)?;
            let loss = ops::apply(builder.graph(), divergence, |d| d * weight)?;
            builder.add_loss(loss);
        }
        let graph = builder.graph();
        let noise = ops::normal(graph, dims, step, seed)?;
        let deviation = ops::apply(graph, log_variance, |l| (l * 0.5).call(Function::Exp))?;
        let shift = ops::mul(graph, deviation, noise)?;
        ops::add(graph, mean, shift)
    }
}
