use std::fmt;

use serde::Serialize;

use super::Model;
use super::builder::sample;
use crate::error::Result;
use crate::graph::Graph;
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
    /// Describes the network.
    ///
    /// Errors: as [`Model::build`].
    pub fn summary(&self) -> Result<Summary> {
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
        })
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
        write!(f, "operations: {:.2} MFLOP for one picture", self.flops as f64 / 1e6)
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
