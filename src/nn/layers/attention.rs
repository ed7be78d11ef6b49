use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::builder::sample;
use crate::nn::{Builder, Initializer, Layer};
use crate::ops;
use crate::tensor::Tensor;

/// Self-attention: each token becomes a mean of what all tokens offer, weighed by how well they answer what it asks, several
/// times side by side. `[n, tokens, c]` to the same.
///
/// Parameters, under timm's names: `qkv.weight` `[c, 3c]` (queries, keys, values), `qkv.bias`, `proj.weight` `[c, c]`,
/// `proj.bias`.
/// Source: Vaswani et al., 2017, <https://arxiv.org/abs/1706.03762>.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiHeadAttention {
    /// How many times; divides the channels.
    pub heads: usize,
}

/// A learned token before all others: `[n, tokens, c]` to `[n, 1 + tokens, c]`. Parameter: `weight` `[1, 1, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassToken {}

/// The first token alone: `[n, tokens, c]` to `[n, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstToken {}

/// A learned vector added to each token by its place. Parameter: `weight` `[1, tokens, c]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionEmbedding {}

/// Batch, tokens and channels of a value.
fn tokens(builder: &Builder<'_>, x: Value) -> Result<[usize; 3]> {
    let dims = builder.dims(x);
    dims.as_slice()
        .try_into()
        .map_err(|_| builder.error(format!("needs tokens and channels, but gets {} for each picture", sample(&dims))))
}

/// A dense layer of this one's own.
fn dense(builder: &mut Builder<'_>, name: &str, x: Value, [from, to]: [usize; 2]) -> Result<Value> {
    let weight = builder.parameter(&format!("{name}.weight"), [from, to], Initializer::GlorotUniform)?;
    let bias = builder.parameter(&format!("{name}.bias"), [to], Initializer::Zeros)?;
    let product = ops::matmul(builder.graph(), x, weight, false, false)?;
    ops::add(builder.graph(), product, bias)
}

impl Layer for MultiHeadAttention {
    fn type_name(&self) -> &'static str {
        "multi_head_attention"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let [n, t, c] = tokens(builder, inputs[0])?;
        let heads = self.heads;
        if heads == 0 || c % heads != 0 {
            return Err(builder.error(format!("{heads} heads do not divide {c} channels")));
        }
        let each = c / heads;
        let all = dense(builder, "qkv", inputs[0], [c, 3 * c])?;
        let graph = builder.graph();
        let all = ops::reshape(graph, all, [n, t, 3, heads, each])?;
        let all = ops::transpose(graph, all, &[2, 0, 3, 1, 4])?;
        let mut part = |i: usize| {
            let part = ops::slice(graph, all, &[i..i + 1, 0..n, 0..heads, 0..t, 0..each])?;
            ops::reshape(graph, part, [n, heads, t, each])
        };
        let (queries, keys, values) = (part(0)?, part(1)?, part(2)?);
        let scores = ops::matmul(graph, queries, keys, false, true)?;
        let scale = 1.0 / (each as f32).sqrt();
        let scores = ops::apply(graph, scores, |score| score * scale)?;
        let weights = ops::softmax(graph, scores)?;
        let mixed = ops::matmul(graph, weights, values, false, false)?;
        let mixed = ops::transpose(graph, mixed, &[0, 2, 1, 3])?;
        let mixed = ops::reshape(graph, mixed, [n, t, c])?;
        dense(builder, "proj", mixed, [c, c])
    }
}

impl Layer for ClassToken {
    fn type_name(&self) -> &'static str {
        "class_token"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let [n, _, c] = tokens(builder, inputs[0])?;
        let token = builder.parameter("weight", [1, 1, c], Initializer::Zeros)?;
        let graph = builder.graph();
        let ones = graph.constant(Tensor::new([n, 1, 1], vec![1.0; n])?);
        let token = ops::mul(graph, token, ones)?;
        ops::concat(graph, &[token, inputs[0]], 1)
    }
}

impl Layer for FirstToken {
    fn type_name(&self) -> &'static str {
        "first_token"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let [n, _, c] = tokens(builder, inputs[0])?;
        let first = ops::slice(builder.graph(), inputs[0], &[0..n, 0..1, 0..c])?;
        ops::reshape(builder.graph(), first, [n, c])
    }
}

impl Layer for PositionEmbedding {
    fn type_name(&self) -> &'static str {
        "position_embedding"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let [_, t, c] = tokens(builder, inputs[0])?;
        let places = builder.parameter("weight", [1, t, c], Initializer::TruncatedNormal)?;
        ops::add(builder.graph(), inputs[0], places)
    }
}
