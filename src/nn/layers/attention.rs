use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Graph, Value};
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

/// The same over other tokens than those that ask: `[n, tokens, c]` and, as second input, `[n, others, d]` to `[n, tokens, c]`.
///
/// Parameters: `q.weight` `[c, c]`, `k.weight` and `v.weight` `[d, c]`, `proj.weight` `[c, c]`, each with a `bias`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossAttention {
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

/// A dense layer of this one's own.
fn dense(builder: &mut Builder<'_>, name: &str, x: Value, [from, to]: [usize; 2]) -> Result<Value> {
    let weight = builder.parameter(&format!("{name}.weight"), [from, to], Initializer::GlorotUniform)?;
    let bias = builder.parameter(&format!("{name}.bias"), [to], Initializer::Zeros)?;
    let product = ops::matmul(builder.graph(), x, weight, false, false)?;
    ops::add(builder.graph(), product, bias)
}

/// Errors: if the heads do not divide the channels.
fn channels_of_a_head(builder: &Builder<'_>, heads: usize, channels: usize) -> Result<usize> {
    match channels.checked_rem(heads) {
        Some(0) => Ok(channels / heads),
        _ => Err(builder.error(format!("{heads} heads do not divide {channels} channels"))),
    }
}

/// `[n, tokens, c]` as `[n, heads, tokens, c / heads]`.
fn by_head(graph: &mut Graph, x: Value, heads: usize) -> Result<Value> {
    let [n, t, c] = graph.shape(x).dims()[..] else { unreachable!("products of sequences are sequences") };
    let apart = ops::reshape(graph, x, [n, t, heads, c / heads])?;
    ops::transpose(graph, apart, &[0, 2, 1, 3])
}

/// Means of the values, weighed by how well their keys answer the queries. All are `[n, heads, tokens, channels]`; the result is
/// `[n, tokens, heads channels]`.
fn attend(graph: &mut Graph, queries: Value, keys: Value, values: Value) -> Result<Value> {
    let [n, heads, t, each] = graph.shape(queries).dims()[..] else { unreachable!("the callers divide by heads") };
    let scores = ops::matmul(graph, queries, keys, false, true)?;
    let scale = 1.0 / (each as f32).sqrt();
    let scores = ops::apply(graph, scores, |score| score * scale)?;
    let weights = ops::softmax(graph, scores)?;
    let mixed = ops::matmul(graph, weights, values, false, false)?;
    let mixed = ops::transpose(graph, mixed, &[0, 2, 1, 3])?;
    ops::reshape(graph, mixed, [n, t, heads * each])
}

impl Layer for MultiHeadAttention {
    fn type_name(&self) -> &'static str {
        "multi_head_attention"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let [n, t, c] = builder.sequence(inputs[0])?;
        let heads = self.heads;
        let each = channels_of_a_head(builder, heads, c)?;
        let all = dense(builder, "qkv", inputs[0], [c, 3 * c])?;
        let graph = builder.graph();
        let all = ops::reshape(graph, all, [n, t, 3, heads, each])?;
        let all = ops::transpose(graph, all, &[2, 0, 3, 1, 4])?;
        let mut part = |i: usize| {
            let part = ops::slice(graph, all, &[i..i + 1, 0..n, 0..heads, 0..t, 0..each])?;
            ops::reshape(graph, part, [n, heads, t, each])
        };
        let (queries, keys, values) = (part(0)?, part(1)?, part(2)?);
        let mixed = attend(graph, queries, keys, values)?;
        dense(builder, "proj", mixed, [c, c])
    }
}

impl Layer for CrossAttention {
    fn type_name(&self) -> &'static str {
        "cross_attention"
    }

    fn merges(&self) -> bool {
        true
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let &[asking, asked] = inputs else {
            return Err(builder.error("takes two inputs: tokens that ask, and those that are asked"));
        };
        let ([_, _, c], [_, _, d]) = (builder.sequence(asking)?, builder.sequence(asked)?);
        channels_of_a_head(builder, self.heads, c)?;
        let mut part = |name: &str, x: Value, from: usize| {
            let all = dense(builder, name, x, [from, c])?;
            by_head(builder.graph(), all, self.heads)
        };
        let (queries, keys, values) = (part("q", asking, c)?, part("k", asked, d)?, part("v", asked, d)?);
        let mixed = attend(builder.graph(), queries, keys, values)?;
        dense(builder, "proj", mixed, [c, c])
    }
}

impl Layer for ClassToken {
    fn type_name(&self) -> &'static str {
        "class_token"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let [n, _, c] = builder.sequence(inputs[0])?;
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
        let [n, _, c] = builder.sequence(inputs[0])?;
        let first = ops::slice(builder.graph(), inputs[0], &[0..n, 0..1, 0..c])?;
        ops::reshape(builder.graph(), first, [n, c])
    }
}

impl Layer for PositionEmbedding {
    fn type_name(&self) -> &'static str {
        "position_embedding"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let [_, t, c] = builder.sequence(inputs[0])?;
        let places = builder.parameter("weight", [1, t, c], Initializer::TruncatedNormal)?;
        ops::add(builder.graph(), inputs[0], places)
    }
}
