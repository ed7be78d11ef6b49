//! Our networks as ONNX files, of operators of version 17.
//!
//! The inference graph is written op by op. Convolutions want the channels in front: a value is turned where an op needs it in
//! the other order, and otherwise stays as it is. What follows from weights alone is computed beforehand. The batch size stays
//! open: the graph is built for two sizes, and where their shapes differ, extents are computed from the input's.

mod nodes;
mod preprocessing;
mod writer;

use std::collections::HashMap;

use prost::Message;

use super::{Element, proto};
use crate::error::{Error, Result};
use crate::graph::{Graph, Kind, Value};
use crate::tensor::{Array, Shape, Tensor};
use preprocessing::Preprocessing;
use writer::{Attribute, Writer};

/// Version of the operators.
const OPSET: i64 = 17;
/// Version of the file format that goes with it.
const FORMAT: i64 = 8;

/// A classifier to be exported.
pub struct Classifier<'a> {
    /// The inference graph for a number of pictures, from f32 `[n, height, width, channels]` to probabilities: the graph, its
    /// input and its result.
    pub network: &'a dyn Fn(usize) -> Result<(Graph, Value, Value)>,
    /// Its weights by name.
    pub weights: &'a HashMap<String, Tensor>,
    /// Height, width and channels of the pictures that it takes.
    pub picture: [usize; 3],
    /// A byte `x` of channel `c` becomes `(x / 255 - mean[c]) / std[c]`.
    pub mean: &'a [f32],
    /// See `mean`.
    pub std: &'a [f32],
    /// By which the logits are divided.
    pub temperature: f64,
    /// Class names in the order of the probabilities.
    pub labels: &'a [String],
}

impl Classifier<'_> {
    /// Name of the input: bytes `[n, height, width, 3]` of pictures of any size, in RGB.
    pub const INPUT: &'static str = "images";
    /// Name of the result: probabilities `[n, classes]`.
    pub const OUTPUT: &'static str = "probabilities";

    /// The bytes of an ONNX file.
    ///
    /// Errors: if the network has an op that ONNX has not.
    pub fn to_onnx(&self) -> Result<Vec<u8>> {
        // Any two sizes would do which no other extent is likely to have a hand in.
        let ((small, input, output), (large, ..)) = ((self.network)(2)?, (self.network)(3)?);
        let mut exporter = Exporter {
            graph: &small,
            larger: &large,
            weights: self.weights,
            writer: Writer::default(),
            values: vec![Exported::default(); small.nodes().len()],
            batch: String::new(),
        };
        let preprocessing = Preprocessing { picture: self.picture, mean: self.mean, std: self.std };
        let pixels = preprocessing.write(&mut exporter.writer, Self::INPUT);
        exporter.batch = exporter.batch_size(Self::INPUT);
        exporter.values[input.index()].plain = Some(pixels);
        exporter.write_all()?;
        let answers = exporter.plain(output)?;
        exporter.finish(&answers, self)
    }
}

/// Walks through a graph.
struct Exporter<'g> {
    graph: &'g Graph,
    /// The same for one picture more.
    larger: &'g Graph,
    weights: &'g HashMap<String, Tensor>,
    writer: Writer,
    values: Vec<Exported>,
    /// The name of the number of pictures, a vector of one.
    batch: String,
}

/// Under which names a value can be had.
#[derive(Clone, Default)]
struct Exported {
    /// With its axes as in our graph.
    plain: Option<String>,
    /// `[n, c, h, w]` of `[n, h, w, c]`.
    channels_first: Option<String>,
    /// The elements, if they follow from weights alone.
    known: Option<Array>,
}

impl Exporter<'_> {
    fn batch_size(&mut self, input: &str) -> String {
        let shape = self.writer.node("Shape", &[input], &[]);
        let (first, second, axis) = (self.writer.ints(&[0]), self.writer.ints(&[1]), self.writer.ints(&[0]));
        self.writer.node("Slice", &[&shape, &first, &second, &axis], &[])
    }

    fn write_all(&mut self) -> Result<()> {
        let needed = needed(self.graph);
        for (value, node) in self.graph.iter().filter(|(v, _)| needed[v.index()]) {
            let known = match &node.kind {
                Kind::Input => continue,
                Kind::Constant(tensor) => Some(tensor.to_array()),
                Kind::Parameter | Kind::State => {
                    let missing = || Error::config(format!("there are no weights \"{}\"", node.name));
                    Some(self.weights.get(&node.name).ok_or_else(missing)?.to_array())
                }
                Kind::Op(_) => self.fold(value),
            };
            match known {
                Some(array) => self.values[value.index()].known = Some(self.without_batch(value, array)?),
                None => self.write_op(value)?,
            }
        }
        Ok(())
    }

    /// The elements of an op's result, if those of its inputs are known.
    fn fold(&self, value: Value) -> Option<Array> {
        let node = self.graph.node(value);
        let inputs: Option<Vec<&Array>> = node.inputs.iter().map(|v| self.values[v.index()].known.as_ref()).collect();
        let fits = |(array, v): (&&Array, &Value)| array.shape == *self.graph.shape(*v);
        let inputs = inputs.filter(|arrays| arrays.iter().zip(&node.inputs).all(fits))?;
        let varies = self.graph.shape(value) != self.larger.shape(value);
        (!varies).then(|| node.op().map(|op| op.reference(&inputs, &node.meta))).flatten()
    }

    /// A constant that is repeated for each picture, once.
    fn without_batch(&self, value: Value, array: Array) -> Result<Array> {
        let (small, large) = (self.graph.shape(value), self.larger.shape(value));
        if small == large {
            return Ok(array);
        }
        let dims: Vec<usize> =
            small.dims().iter().zip(large.dims()).map(|(&a, &b)| if a == b { a } else { 1 }).collect();
        let shape = Shape::from(dims);
        let strides = small.strides();
        let mut data = Vec::with_capacity(shape.elements());
        for i in 0..shape.elements() {
            let own = shape.strides();
            let at: usize = (0..shape.rank()).map(|a| i / own[a] % shape.dims()[a] * strides[a]).sum();
            data.push(array.data[at]);
        }
        Ok(Array { shape, data })
    }

    /// The name of a value with its axes as in our graph.
    fn plain(&mut self, value: Value) -> Result<String> {
        let exported = self.values[value.index()].clone();
        let name = match exported {
            Exported { plain: Some(name), .. } => return Ok(name),
            Exported { known: Some(array), .. } => self.constant(value, &array),
            Exported { channels_first: Some(name), .. } => {
                self.writer.node("Transpose", &[&name], &[("perm", Attribute::Ints(vec![0, 2, 3, 1]))])
            }
            _ => return Err(Error::config("a value that the network needs was not exported")),
        };
        self.values[value.index()].plain = Some(name.clone());
        Ok(name)
    }

    fn constant(&mut self, value: Value, array: &Array) -> String {
        let node = self.graph.node(value);
        let name = matches!(node.kind, Kind::Parameter | Kind::State).then_some(node.name.as_str());
        let element = if node.meta.dtype == crate::tensor::DType::I32 { Element::Int64 } else { Element::Float };
        self.writer.constant(name, element, array.shape.dims(), &array.data)
    }

    /// The name of a value `[n, h, w, c]` as `[n, c, h, w]`.
    fn channels_first(&mut self, value: Value) -> Result<String> {
        if let Some(name) = &self.values[value.index()].channels_first {
            return Ok(name.clone());
        }
        let plain = self.plain(value)?;
        let name = self.writer.node("Transpose", &[&plain], &[("perm", Attribute::Ints(vec![0, 3, 1, 2]))]);
        self.values[value.index()].channels_first = Some(name.clone());
        Ok(name)
    }

    /// Whether a value is at hand with the channels in front only.
    fn is_channels_first(&self, value: Value) -> bool {
        let exported = &self.values[value.index()];
        exported.channels_first.is_some() && exported.plain.is_none()
    }

    /// The name of a vector that holds a value's extents.
    fn extents(&mut self, value: Value) -> String {
        let (small, large) = (self.graph.shape(value).dims().to_vec(), self.larger.shape(value).dims().to_vec());
        if small == large {
            return self.writer.ints(&small.iter().map(|&d| d as i64).collect::<Vec<_>>());
        }
        let mut parts = Vec::new();
        for (&a, &b) in small.iter().zip(&large) {
            parts.push(match b - a {
                0 => self.writer.ints(&[a as i64]),
                1 => self.batch.clone(),
                each => {
                    let each = self.writer.ints(&[each as i64]);
                    let batch = self.batch.clone();
                    self.writer.node("Mul", &[&batch, &each], &[])
                }
            });
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.writer.node("Concat", &parts, &[("axis", Attribute::Int(0))])
    }

    /// Probabilities of all classes, at the calibrated temperature, and the file.
    fn finish(mut self, answers: &str, classifier: &Classifier<'_>) -> Result<Vec<u8>> {
        let w = &mut self.writer;
        let mut answers = answers.to_owned();
        let first = self.graph.outputs().first();
        let mut extents = first.map_or(Vec::new(), |&(_, v)| self.graph.shape(v).dims()[1..].to_vec());
        // One number for each picture is the probability of the second of two classes.
        if extents == [1] {
            extents = vec![2];
            let one = w.floats(None, &[], &[1.0]);
            let other = w.node("Sub", &[&one, &answers], &[]);
            answers = w.node("Concat", &[&other, &answers], &[("axis", Attribute::Int(1))]);
        }
        if classifier.temperature != 1.0 {
            let power = w.floats(None, &[], &[1.0 / classifier.temperature]);
            let powers = w.node("Pow", &[&answers, &power], &[]);
            let axis = w.ints(&[1]);
            let sum = w.node("ReduceSum", &[&powers, &axis], &[]);
            answers = w.node("Div", &[&powers, &sum], &[]);
        }
        w.named("Identity", &[&answers], &[], Classifier::OUTPUT);
        let n = || dimension("n");
        let image =
            info(Classifier::INPUT, Element::Uint8, vec![n(), dimension("height"), dimension("width"), extent(3)]);
        let extents = [n()].into_iter().chain(extents.into_iter().map(extent)).collect();
        let result = info(Classifier::OUTPUT, Element::Float, extents);
        let labels = serde_json::to_string(classifier.labels).map_err(|e| Error::config(format!("labels: {e}")))?;
        let property = |key: &str, value: &str| proto::Property { key: key.to_owned(), value: value.to_owned() };
        let model = proto::Model {
            ir_version: FORMAT,
            producer_name: "ocellus".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(proto::Graph {
                node: self.writer.nodes,
                name: "classifier".into(),
                initializer: self.writer.initializers,
                input: vec![image],
                output: vec![result],
            }),
            opset_import: vec![proto::OperatorSet { domain: String::new(), version: OPSET }],
            metadata_props: vec![property("task", "classify"), property("labels", &labels)],
        };
        Ok(model.encode_to_vec())
    }
}

/// Which values the results need.
fn needed(graph: &Graph) -> Vec<bool> {
    let mut needed = vec![false; graph.nodes().len()];
    graph.outputs().iter().for_each(|(_, v)| needed[v.index()] = true);
    for (value, node) in graph.iter().rev() {
        if needed[value.index()] {
            node.inputs.iter().for_each(|v| needed[v.index()] = true);
        }
    }
    needed
}

fn dimension(name: &str) -> proto::Dimension {
    proto::Dimension { value: None, name: Some(name.to_owned()) }
}

fn extent(value: usize) -> proto::Dimension {
    proto::Dimension { value: Some(value as i64), name: None }
}

fn info(name: &str, element: Element, dim: Vec<proto::Dimension>) -> proto::ValueInfo {
    let tensor = proto::TensorType { elem_type: element.code(), shape: Some(proto::Shape { dim }) };
    proto::ValueInfo { name: name.to_owned(), r#type: Some(proto::Type { tensor_type: Some(tensor) }) }
}
