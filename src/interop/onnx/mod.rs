//! ONNX: networks as a graph of standard operators (<https://onnx.ai>).
//!
//! A file comes in as a [`Network`]; a [`Session`] binds it to the shapes of its inputs and runs it on a device. Each operator
//! is written as ops of our graph (`operators`, one file a family). What follows from the file alone, such as shape arithmetic
//! and turned weights, is computed once, here. What devices cannot do, because it needs 64-bit numbers or because a shape
//! depends on values, is computed here too, between one graph and the next. NCHW becomes NHWC on the way, and permutations
//! of axes are only carried out where an op needs an order.

mod call;
mod element;
mod embed;
mod emitter;
pub mod export;
mod operators;
mod proto;
mod session;
mod tensor;

use std::fs;
use std::path::Path;

use prost::Message;

use crate::error::{Error, Result};
use crate::tensor::{Array, Shape};
pub use element::Element;
pub use embed::{Head, Weights};
use operators::OPERATORS;
pub use session::Session;
use tensor::Tensor;

/// Versions of the operators that can be read.
const OPSETS: std::ops::RangeInclusive<i64> = 1..=22;

/// Why an operator was not written.
enum Halt {
    /// Values must be computed first.
    NeedsValues,
    /// It cannot be.
    Failed(Error),
}

type Outcome<T> = std::result::Result<T, Halt>;

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Numbers with their ONNX element type.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// The element type.
    pub element: Element,
    /// The numbers.
    pub array: Array,
}

/// An input of a network.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub element: Element,
    /// Its extents, `None` for those that may vary; `None` if even their number is not known.
    pub dims: Option<Vec<Option<usize>>>,
}

/// What is in an ONNX file.
#[derive(Debug)]
pub struct Network {
    graph: proto::Graph,
    opset: i64,
    inputs: Vec<Input>,
    metadata: Vec<(String, String)>,
}

impl Network {
    /// Reads a file.
    ///
    /// Errors: if it cannot be read, is damaged, or has operators that are not supported; the message lists them all.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&bytes, Some(folder)).map_err(|message| Error::format(path, message))
    }

    /// The network in the bytes of a file. Weights in files of their own are looked for in `folder`.
    ///
    /// Errors: as [`Network::open`].
    pub fn parse(bytes: &[u8], folder: Option<&Path>) -> Result<Self, String> {
        let model = proto::Model::decode(bytes).map_err(|e| format!("is no ONNX file, or damaged: {e}"))?;
        let mut graph = model.graph.ok_or("is no ONNX file: it holds no graph")?;
        let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
        let opset = model.opset_import.iter().find(|o| standard(&o.domain)).map_or(1, |o| o.version);
        if !OPSETS.contains(&opset) {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            return Err(format!("uses operators of version {opset}; versions {first} to {last} are known"));
        }
        let unknown =
            |node: &&proto::Node| !standard(&node.domain) || !OPERATORS.iter().any(|(name, _)| *name == node.op_type);
        let unsupported: Vec<String> = graph.node.iter().filter(unknown).map(describe).collect();
        if !unsupported.is_empty() {
            return Err(format!(
                "has {} operators that are not supported:\n  {}",
                unsupported.len(),
                unsupported.join("\n  ")
            ));
        }
        for tensor in &mut graph.initializer {
            load_external(tensor, folder)?;
        }
        let given = |info: &&proto::ValueInfo| !graph.initializer.iter().any(|t| t.name == info.name);
        let inputs = graph.input.iter().filter(given).map(input).collect::<Result<_, _>>()?;
        let metadata = model.metadata_props.into_iter().map(|p| (p.key, p.value)).collect();
        Ok(Self { graph, opset, inputs, metadata })
    }

    /// What must be given for a run.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Names of the results.
    pub fn outputs(&self) -> Vec<&str> {
        self.graph.output.iter().map(|o| o.name.as_str()).collect()
    }

    /// Keys and values which the maker of the file added.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    fn initializer(&self, name: &str) -> Option<&proto::Tensor> {
        self.graph.initializer.iter().find(|t| t.name == name)
    }
}

fn input(info: &proto::ValueInfo) -> Result<Input, String> {
    let name = info.name.clone();
    let of = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let of = of.ok_or_else(|| format!("input \"{name}\" is no tensor"))?;
    let element = Element::from_code(of.elem_type.into())
        .ok_or_else(|| format!("input \"{name}\" has element type {}, which is not supported", of.elem_type))?;
    let extent = |d: &proto::Dimension| d.value.and_then(|v| usize::try_from(v).ok());
    let dims = of.shape.as_ref().map(|s| s.dim.iter().map(extent).collect());
    Ok(Input { name, element, dims })
}

/// A node with its attributes, for messages.
fn describe(node: &proto::Node) -> String {
    let value = |a: &proto::Attribute| {
        let text = a.s.as_ref().map(|s| format!("\"{}\"", String::from_utf8_lossy(s)));
        let numbers = a.i.map(|i| i.to_string()).or_else(|| a.f.map(|f| f.to_string())).or(text);
        let lists = || (!a.ints.is_empty()).then(|| format!("{:?}", a.ints));
        let more = || (!a.floats.is_empty()).then(|| format!("{:?}", a.floats));
        format!("{}={}", a.name, numbers.or_else(lists).or_else(more).unwrap_or_else(|| "…".into()))
    };
    let attributes: Vec<String> = node.attribute.iter().map(value).collect();
    let kind = if node.domain.is_empty() { node.op_type.clone() } else { format!("{}.{}", node.domain, node.op_type) };
    format!("{kind} \"{}\" ({})", node.label(), attributes.join(", "))
}

/// Reads a tensor that stands in a file of its own.
fn load_external(tensor: &mut proto::Tensor, folder: Option<&Path>) -> Result<(), String> {
    const EXTERNAL: i32 = 1;
    if tensor.data_location != EXTERNAL {
        return Ok(());
    }
    let find = |key: &str| tensor.external_data.iter().find(|p| p.key == key).map(|p| p.value.as_str());
    let wrong = |why: String| format!("the weights \"{}\" stand in a file of their own, which {why}", tensor.name);
    let location = Path::new(find("location").ok_or_else(|| wrong("is not named".into()))?);
    let inside = location.components().all(|c| matches!(c, std::path::Component::Normal(_)));
    let folder = folder.filter(|_| inside).ok_or_else(|| wrong("is not beside the network".into()))?;
    let bytes = fs::read(folder.join(location)).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    let number = |key: &str| {
        find(key).map(|v| v.parse::<usize>().map_err(|_| wrong(format!("has no {key} \"{v}\"")))).transpose()
    };
    let start = number("offset")?.unwrap_or(0);
    let length = number("length")?.unwrap_or(bytes.len().saturating_sub(start));
    let part = start.checked_add(length).and_then(|end| bytes.get(start..end));
    tensor.raw_data = part.ok_or_else(|| wrong("is too short".into()))?.to_vec();
    Ok(())
}

/// The numbers of a tensor in a file.
///
/// Errors: if its type is not supported, or if its numbers are not as many as its shape tells.
fn read_tensor(tensor: &proto::Tensor) -> Result<Tensor, String> {
    let code = tensor.data_type;
    let element = Element::from_code(code.into()).ok_or_else(|| format!("element type {code} is not supported"))?;
    let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let elements = dims.as_ref().and_then(|dims| dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)));
    let (Some(dims), Some(elements)) = (dims, elements) else {
        return Err(format!("{:?} is no shape", tensor.dims));
    };
    let data: Vec<f64> = if !tensor.raw_data.is_empty() {
        element.read(&tensor.raw_data)
    } else {
        match element {
            Element::Float => tensor.float_data.iter().map(|&x| f64::from(x)).collect(),
            Element::Double => tensor.double_data.clone(),
            Element::Int64 => tensor.int64_data.iter().map(|&x| x as f64).collect(),
            Element::Uint32 | Element::Uint64 => tensor.uint64_data.iter().map(|&x| x as f64).collect(),
            // Their bits stand in the low half.
            Element::Float16 | Element::Bfloat16 => {
                let bytes: Vec<u8> = tensor.int32_data.iter().flat_map(|&x| (x as u16).to_le_bytes()).collect();
                element.read(&bytes)
            }
            _ => tensor.int32_data.iter().map(|&x| f64::from(x)).collect(),
        }
    };
    if data.len() != elements {
        return Err(format!("{} numbers for shape {dims:?}, which has {elements}", data.len()));
    }
    Ok(Tensor::fixed(element, Array { shape: Shape::from(dims), data }))
}
