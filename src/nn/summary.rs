use std::fmt;

use serde::Serialize;

use super::builder::sample;
use super::{Mode, Model};
use crate::error::Result;
use crate::graph::{Graph, Layout, Passes, Plan, Value, optimize};
use crate::ops;
use crate::tensor::Meta;

/// What a network is made of and what it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Height, width and channels of the pictures.
    pub input: [usize; 3],
    /// In order of computation.
    pub layers: Vec<LayerSummary>,
    /// Trained parameters.
    pub trained: usize,
    /// Parameters that are not trained: running statistics and what is frozen.
    pub untrained: usize,
    /// Floating-point operations for one picture in inference; a multiply-add counts two.
    pub flops: u64,
    /// The batch size for which memory is counted.
    pub batch: usize,
    /// Bytes for inference: weights, pictures, intermediate values.
    pub inference_bytes: usize,
    /// Bytes for training with Adam: also gradients and two moments for each parameter, and what the backward pass
    /// needs of the forward pass. Scratch memory of kernels comes on top.
    pub training_bytes: usize,
}

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerSummary {
    /// Its name.
    pub name: String,
    /// Its `type` in model files.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// The layers whose results it takes.
    pub inputs: Vec<String>,
    /// Extents of its result for one picture.
    pub output: Vec<usize>,
    /// All its parameters, trained or not.
    pub parameters: usize,
    /// Floating-point operations for one picture in inference.
    pub flops: u64,
}

impl Model {
    /// Describes the network, with the memory it takes for batches of `batch` pictures.
    ///
    /// Errors: as [`Model::build`].
    pub fn summary(&self, batch: usize) -> Result<Summary> {
        let (graph, built, declared) = self.inference(1)?;
        let layers = self.layers().iter().zip(&built.layers).map(|(spec, &value)| {
            let prefix = format!("{}.", spec.name);
            let own = declared.iter().filter(|d| d.name.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('.')));
            LayerSummary {
                name: spec.name.clone(),
                type_name: spec.layer.type_name(),
                inputs: spec.inputs.clone(),
                output: graph.shape(value).dims()[1..].to_vec(),
                parameters: own.map(|d| d.shape.elements()).sum(),
                flops: flops(&graph, &spec.name),
            }
        });
        let layers: Vec<LayerSummary> = layers.collect();
        let all: usize = declared.iter().map(|d| d.shape.elements()).sum();
        let trained = graph.parameters().map(|(_, n)| n.meta.elements()).sum();
        Ok(Summary {
            input: self.input,
            trained,
            untrained: all - trained,
            flops: layers.iter().map(|l| l.flops).sum(),
            layers,
            batch,
            inference_bytes: self.inference_bytes(batch)?,
            training_bytes: self.training_bytes(batch)?,
        })
    }

    fn inference_bytes(&self, batch: usize) -> Result<usize> {
        let (mut graph, built, _) = self.inference(batch)?;
        for output in built.outputs {
            graph.output("output", output);
        }
        bytes(&graph, 0)
    }

    fn training_bytes(&self, batch: usize) -> Result<usize> {
        let mut graph = Graph::new();
        let [h, w, c] = self.input;
        let input = graph.input(Self::INPUT, Meta::f32([batch, h, w, c]));
        let step = graph.input("step", Meta::i32([1]));
        let built = self.build(&mut graph, input, Mode::Training { step, seed: 0 })?;
        // Any loss will do: it takes no memory to speak of.
        let mut loss: Option<Value> = None;
        for output in built.outputs {
            let axes: Vec<usize> = (0..graph.shape(output).rank()).collect();
            let sum = ops::sum(&mut graph, output, &axes, false)?;
            loss = Some(match loss {
                Some(loss) => ops::add(&mut graph, loss, sum)?,
                None => sum,
            });
        }
        if let Some(loss) = loss {
            graph.output("loss", loss);
            graph.differentiate_parameters(loss)?;
        }
        bytes(&graph, 3)
    }
}

/// Operations of what a layer emitted.
fn flops(graph: &Graph, layer: &str) -> u64 {
    let of_layer = graph.nodes().iter().filter(|n| n.name == layer);
    let flops = of_layer.filter_map(|node| {
        let metas: Vec<&Meta> = node.inputs.iter().map(|&v| graph.meta(v)).collect();
        node.op().map(|op| op.flops(&metas, &node.meta))
    });
    flops.sum()
}

/// Memory of a graph with `copies` more arenas like that of the parameters.
fn bytes(graph: &Graph, copies: usize) -> Result<usize> {
    let graph = optimize(graph, Passes::ALL)?;
    let (parameters, states) = (Layout::parameters(&graph), Layout::states(&graph));
    let plan = Plan::new(&graph, &parameters, &states, true, |_, _| Vec::new())?;
    let inputs: usize =
        graph.nodes().iter().filter(|n| matches!(n.kind, crate::graph::Kind::Input)).map(|n| n.meta.bytes()).sum();
    let arenas = parameters.len() * (1 + copies) + states.len() * if graph.updates().is_empty() { 1 } else { 2 };
    Ok(plan.pool_bytes() + plan.constants.len() + inputs + 4 * arenas)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [h, w, c] = self.input;
        let mut rows = vec![["layer", "type", "output", "parameters", "MFLOP", "inputs"].map(str::to_owned).to_vec()];
        rows.push(vec![Model::INPUT.into(), String::new(), format!("{h}x{w}x{c}")]);
        let mut previous = Model::INPUT;
        for layer in &self.layers {
            let inputs = if layer.inputs == [previous] { String::new() } else { layer.inputs.join(", ") };
            let output: Vec<usize> = std::iter::once(1).chain(layer.output.iter().copied()).collect();
            let mflop = if layer.flops == 0 { String::new() } else { format!("{:.2}", layer.flops as f64 / 1e6) };
            let parameters = if layer.parameters == 0 { String::new() } else { grouped(layer.parameters) };
            rows.push(vec![layer.name.clone(), layer.type_name.into(), sample(&output), parameters, mflop, inputs]);
            previous = &layer.name;
        }
        let width =
            |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|t| t.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..6).map(width).collect();
        for row in &rows {
            let cells: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(i, cell)| match i {
                    3 | 4 => format!("{cell:>width$}", width = widths[i]),
                    _ => format!("{cell:<width$}", width = widths[i]),
                })
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        writeln!(f)?;
        writeln!(f, "parameters: {} trained, {} not trained", grouped(self.trained), grouped(self.untrained))?;
        writeln!(f, "operations: {:.2} MFLOP for one picture", self.flops as f64 / 1e6)?;
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        let (inference, training) = (mib(self.inference_bytes), mib(self.training_bytes));
        write!(f, "memory: {inference:.1} MiB for batches of {}, {training:.1} MiB to train on them", self.batch)
    }
}

/// Digits in groups of three.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
