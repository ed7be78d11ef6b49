//! A network as a part of another graph.

use super::emitter::Emitter;
pub use super::emitter::Weights;
use super::session::Walk;
use super::tensor::Tensor;
use super::{Element, Network, proto};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};

/// What stands at the end of a classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The value which the last softmax or sigmoid takes, or the result if there is none.
    pub logits: String,
    /// `Softmax` or `Sigmoid`, if one of them is last.
    pub activation: Option<&'static str>,
    /// The value from which the last product makes the logits, if there is one.
    pub features: Option<String>,
}

impl Network {
    /// What stands at the end, if the network has one result.
    pub fn head(&self) -> Option<Head> {
        const BETWEEN: [&str; 9] =
            ["Add", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast", "Transpose"];
        let [result] = &self.graph.output[..] else { return None };
        let maker = |name: &str| self.graph.node.iter().find(|n| n.output.first().is_some_and(|o| o == name));
        let through = |mut name: String, kinds: &[&str]| -> String {
            while let Some(node) = maker(&name).filter(|n| kinds.contains(&n.op_type.as_str())) {
                let computed = node.input.iter().find(|i| maker(i).is_some_and(|n| n.op_type != "Constant"));
                match computed.or(node.input.first()) {
                    Some(input) => name.clone_from(input),
                    None => break,
                }
            }
            name
        };
        let last = through(result.name.clone(), &["Identity", "Cast"]);
        let activation = maker(&last).and_then(|n| ["Softmax", "Sigmoid"].into_iter().find(|a| n.op_type == *a));
        let logits = match activation {
            Some(_) => maker(&last)?.input.first()?.clone(),
            None => last,
        };
        let product = maker(&through(logits.clone(), &BETWEEN))?;
        let is_product = ["Gemm", "MatMul", "Conv"].contains(&product.op_type.as_str());
        let features = product.input.first().filter(|_| is_product).cloned();
        Some(Head { logits, activation, features })
    }

    /// Whether the only input takes pictures with the channels in front: `[n, c, h, w]` rather than `[n, h, w, c]`.
    ///
    /// Errors: if it takes no pictures.
    fn channels_first(&self, channels: usize) -> Result<bool> {
        let [input] = &self.inputs[..] else {
            return Err(Error::config(format!(
                "a network on pictures has one input, this one has {}",
                self.inputs.len()
            )));
        };
        match input.dims.as_deref() {
            Some(&[_, c, _, last]) => Ok(c == Some(channels) || last != Some(channels)),
            None => Ok(true),
            Some(dims) => {
                Err(Error::config(format!("input \"{}\" has {} axes: it takes no pictures", input.name, dims.len())))
            }
        }
    }

    /// Height, width and channels of the pictures it takes, where the file tells them.
    ///
    /// Errors: if it takes no pictures.
    pub fn picture(&self) -> Result<[Option<usize>; 3]> {
        let first = self.channels_first(3)?;
        Ok(match self.inputs.first().and_then(|i| i.dims.as_deref()) {
            Some(&[_, c, h, w]) if first => [h, w, c],
            Some(&[_, h, w, c]) => [h, w, c],
            _ => [None; 3],
        })
    }

    /// Writes the network up to the value `output`, or to its first result, into a graph. `input` is f32
    /// `[n, height, width, channels]`; so is the result, if it has four axes. Returns what became of the weights too.
    ///
    /// Errors: if the network does not take such pictures, or shapes in it depend on values.
    pub fn embed(
        &self,
        graph: &mut Graph,
        input: Value,
        output: Option<&str>,
        weights: Weights,
    ) -> Result<(Value, Weights)> {
        let first = self.outputs().first().map(|s| (*s).to_owned()).unwrap_or_default();
        let output = output.map_or(first, str::to_owned);
        let dims = graph.shape(input).dims().to_vec();
        let channels_first = self.channels_first(dims[3])?;
        let order = if channels_first { vec![0, 2, 3, 1] } else { vec![0, 1, 2, 3] };
        let given = Tensor::ordered(Element::Float, input, &dims, order);
        self.expect_extents(&given.dims)?;
        let emitter = Emitter { graph: std::mem::take(graph), weights };
        let mut walk = Walk::between(self, emitter, &self.inputs[0].name, given, &output);
        let result = walk.reach(&output);
        let (mut emitter, tensor) = walk.into_parts(&output);
        let value = match (&result, tensor) {
            (Ok(()), Some(tensor)) => emitter.channels_last(&tensor),
            _ => Ok(input),
        };
        *graph = emitter.graph;
        result?;
        Ok((value?, emitter.weights))
    }

    fn expect_extents(&self, dims: &[usize]) -> Result<()> {
        let Some(wanted) = &self.inputs[0].dims else { return Ok(()) };
        let fits = wanted.iter().zip(dims).skip(1).all(|(w, d)| w.is_none_or(|w| w == *d));
        if fits {
            return Ok(());
        }
        let text = |d: Option<usize>| d.map_or("any".to_owned(), |d| d.to_string());
        let wanted: Vec<String> = wanted[1..].iter().map(|&d| text(d)).collect();
        let message = format!("takes {} of a picture, not {:?}", wanted.join("x"), &dims[1..]);
        Err(Error::shape(format!("input \"{}\"", self.inputs[0].name), message))
    }
}

impl proto::Node {
    /// Its name in messages.
    pub(super) fn label(&self) -> &str {
        if self.name.is_empty() { self.output.first().map_or("", String::as_str) } else { &self.name }
    }
}
