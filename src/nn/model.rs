use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use glob::Pattern;

use super::builder::{Builder, Declared, MOST_PIXELS};
use super::layers::OnnxNetwork;
use super::{Layer, Mode, file};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::seed::Seed;
use crate::tensor::{DType, Meta, Shape, Tensor};

/// A network: layers that take their input from pictures and from each other.
///
/// A residual block, written with names:
///
/// ```
/// use ocellus::nn::{Activation, Model, layers::{Add, Conv2D}};
/// use ocellus::ops::Padding;
///
/// let conv = || Conv2D { padding: Padding::Same, activation: Activation::Relu, ..Conv2D::new(16, 3) };
/// let mut model = Model::new([32, 32, 3]);
/// let stem = model.named("stem", conv(), [Model::INPUT]);
/// let branch = model.layer(conv(), [&stem]);
/// assert_eq!(branch, "conv2d");
/// model.layer(Add {}, [&branch, &stem]);
/// assert_eq!(model.summary()?.trained, 2768);
/// # Ok::<(), ocellus::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    /// Height, width and channels of the pictures.
    pub input: [usize; 3],
    layers: Vec<LayerSpec>,
    outputs: Vec<String>,
    frozen: Vec<String>,
}

/// A layer in its place.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    /// Its name, of which there is one in a network.
    pub name: String,
    /// Names of the layers whose results it takes, or [`Model::INPUT`].
    pub inputs: Vec<String>,
    /// What it does.
    pub layer: Arc<dyn Layer>,
}

/// What became of a model in a graph.
#[derive(Clone, Debug)]
pub struct Built {
    /// The first output: `[n, ..]`.
    pub output: Value,
    /// What went into the sigmoid or softmax from which the first output comes; losses are stable on it.
    pub logits: Option<Value>,
    /// All outputs.
    pub outputs: Vec<Value>,
    /// The result of each layer, in their order.
    pub layers: Vec<Value>,
    /// What layers add to the loss of each picture, `[n]` each; only in training.
    pub losses: Vec<Value>,
}

impl Model {
    /// The name under which layers take the pictures.
    pub const INPUT: &'static str = "input";

    /// A network without layers, for pictures of that height, width and number of channels.
    pub fn new(input: [usize; 3]) -> Self {
        Self { input, layers: Vec::new(), outputs: Vec::new(), frozen: Vec::new() }
    }

    pub(super) fn from_parts(
        input: [usize; 3],
        layers: Vec<LayerSpec>,
        outputs: Vec<String>,
        frozen: Vec<String>,
    ) -> Result<Self> {
        let model = Self { input, layers, outputs, frozen };
        model.check()?;
        Ok(model)
    }

    /// Reads a model file, or an ONNX network as it is.
    ///
    /// Errors: if it cannot be read, is no TOML, or has an unknown type, key or name; the message names the layer.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.extension().is_some_and(|e| e == "onnx") {
            return OnnxNetwork::model(path, None, None);
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let mut model = Self::parse(&text).map_err(|e| Error::format(path, e.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for spec in &mut model.layers {
            if let Some(layer) = spec.layer.in_folder(folder) {
                spec.layer = layer;
            }
        }
        Ok(model)
    }

    /// The files which layers name.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.layers.iter().filter_map(|spec| spec.layer.file())
    }

    /// The model which a model file's text describes.
    ///
    /// Errors: as [`Model::open`].
    pub fn parse(text: &str) -> Result<Self> {
        file::parse(text)
    }

    /// The model file's text.
    ///
    /// Errors: if a layer's attributes do not fit TOML.
    pub fn to_toml(&self) -> Result<String> {
        file::write(self)
    }

    /// Adds a layer after those named, under a name like Keras's: `conv2d`, `conv2d_1`, …. Returns the name.
    pub fn layer<S: AsRef<str>>(&mut self, layer: impl Layer, inputs: impl IntoIterator<Item = S>) -> String {
        let name = free_name(layer.class(), |name| self.layers.iter().any(|l| l.name == name));
        self.named(&name, layer, inputs)
    }

    /// Adds a layer under a name, after those named. Returns the name.
    pub fn named<S: AsRef<str>>(
        &mut self,
        name: &str,
        layer: impl Layer,
        inputs: impl IntoIterator<Item = S>,
    ) -> String {
        let inputs = inputs.into_iter().map(|s| s.as_ref().to_owned()).collect();
        self.push(name, inputs, Arc::new(layer));
        name.to_owned()
    }

    /// Adds a layer that is another model's as well.
    pub(super) fn push(&mut self, name: &str, inputs: Vec<String>, layer: Arc<dyn Layer>) {
        self.layers.push(LayerSpec { name: name.to_owned(), inputs, layer });
    }

    /// Makes these layers' results the outputs, rather than that of the last layer.
    pub fn with_outputs<S: AsRef<str>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.outputs = names.into_iter().map(|s| s.as_ref().to_owned()).collect();
        self
    }

    /// Freezes the layers and parameters whose name matches one of the patterns, in which `*` stands for anything: they
    /// are not trained, and batch-norm among them normalises by its running statistics.
    ///
    /// Errors: if a pattern matches nothing, or nothing is left to train.
    pub fn freeze<S: AsRef<str>>(mut self, patterns: impl IntoIterator<Item = S>) -> Result<Self> {
        self.frozen.extend(patterns.into_iter().map(|s| s.as_ref().to_owned()));
        self.frozen.sort();
        self.frozen.dedup();
        if !self.frozen.is_empty() {
            let (graph, ..) = self.inference(1)?;
            if graph.parameters().next().is_none() {
                return Err(Error::config("with all parameters frozen there is nothing to train"));
            }
        }
        Ok(self)
    }

    /// The layers, in order of computation.
    pub fn layers(&self) -> &[LayerSpec] {
        &self.layers
    }

    /// How many frames its pictures hold, one below another; 1 where they are no sequences.
    pub fn frames(&self) -> usize {
        let first = self.layers.iter().filter(|spec| spec.inputs.iter().any(|input| input == Self::INPUT));
        first.filter_map(|spec| spec.layer.frames()).max().unwrap_or(1)
    }

    /// Patterns of what is [frozen](Model::freeze).
    pub fn frozen(&self) -> &[String] {
        &self.frozen
    }

    /// Names of the outputs as set by [`Model::with_outputs`]; if there are none, the last layer is the output.
    pub(super) fn explicit_outputs(&self) -> &[String] {
        &self.outputs
    }

    /// The first layer whose result is an output.
    pub(super) fn first_output(&self) -> Option<&LayerSpec> {
        match self.outputs.first() {
            Some(name) => self.layers.iter().find(|l| l.name == *name),
            None => self.layers.last(),
        }
    }

    /// Height, width and channels of the maps which are flattened into the inputs of dense layers, by the layers' names.
    ///
    /// Errors: as [`Model::build`].
    pub fn flattened_inputs(&self) -> Result<HashMap<&str, [usize; 3]>> {
        // What stands between without changing the order of values.
        const BETWEEN: [&str; 2] = ["dropout", "activation"];
        let (graph, built, _) = self.inference(1)?;
        let find = |name: &str| self.layers.iter().position(|spec| spec.name == name);
        let map = |dense: &LayerSpec| {
            let mut at = find(dense.inputs.first()?)?;
            while BETWEEN.contains(&self.layers[at].layer.type_name()) {
                at = find(self.layers[at].inputs.first()?)?;
            }
            let flatten = &self.layers[at];
            let source = find(flatten.inputs.first()?).filter(|_| flatten.layer.type_name() == "flatten")?;
            match graph.shape(built.layers[source]).dims() {
                &[_, h, w, c] => Some([h, w, c]),
                _ => None,
            }
        };
        let dense = self.layers.iter().filter(|spec| spec.layer.type_name() == "dense");
        Ok(dense.filter_map(|spec| Some((spec.name.as_str(), map(spec)?))).collect())
    }

    /// Whether the first output is that of a sigmoid or softmax.
    pub fn ends_in_probabilities(&self) -> bool {
        self.first_output().is_some_and(|l| l.layer.activation().is_probability())
    }

    /// Emits the network into a graph. `input` is f32 `[n, height, width, channels]`. Parameters and states are the
    /// same ones, in the same order, in both modes.
    ///
    /// Errors: if names or shapes do not fit; the message names the layer, what it got and what it needs.
    pub fn build(&self, graph: &mut Graph, input: Value, mode: Mode) -> Result<Built> {
        self.assemble(graph, input, mode).map(|(built, _)| built)
    }

    /// The inference graph for `n` pictures, which are its input `input`.
    pub(super) fn inference(&self, n: usize) -> Result<(Graph, Built, Vec<Declared>)> {
        let mut graph = Graph::new();
        let [h, w, c] = self.input;
        let input = graph.input(Self::INPUT, Meta::f32([n, h, w, c]));
        let (built, declared) = self.assemble(&mut graph, input, Mode::Inference)?;
        Ok((graph, built, declared))
    }

    fn assemble(&self, graph: &mut Graph, input: Value, mode: Mode) -> Result<(Built, Vec<Declared>)> {
        self.check()?;
        self.check_input(graph.meta(input))?;
        let pattern = |p: &String| Pattern::new(p).map_err(|e| Error::config(format!("freeze \"{p}\": {e}")));
        let patterns = self.frozen.iter().map(pattern).collect::<Result<Vec<_>>>()?;
        let mut builder = Builder::new(graph, mode, self.input, &patterns);
        let mut results = HashMap::from([(Self::INPUT, (input, input))]);
        let mut layers = Vec::new();
        for LayerSpec { name, inputs, layer } in &self.layers {
            let inputs: Vec<Value> = inputs.iter().map(|i| results[i.as_str()].0).collect();
            let result = builder.layer(name, layer.as_ref(), &inputs)?;
            results.insert(name, result);
            layers.push(result.0);
        }
        if let Some(pattern) = builder.unmatched() {
            let message = format!("freeze \"{pattern}\" matches no layer and no parameter; use * for any characters");
            return Err(Error::config(message));
        }
        let Builder { declared, losses, .. } = builder;
        let first = self.first_output().expect("checked above");
        let (output, before) = results[first.name.as_str()];
        let outputs = match self.outputs.as_slice() {
            [] => vec![output],
            names => names.iter().map(|n| results[n.as_str()].0).collect(),
        };
        let logits = first.layer.activation().is_probability().then_some(before);
        Ok((Built { output, logits, outputs, layers, losses }, declared))
    }

    fn check_input(&self, given: &Meta) -> Result<()> {
        let [h, w, c] = self.input;
        if h.min(w).min(c) == 0 || h.max(w).max(c) > MOST_PIXELS {
            let message = format!("{h}x{w}x{c} is no size for pictures: extents are between 1 and {MOST_PIXELS}");
            return Err(Error::shape("input", message));
        }
        if given.dtype != DType::F32 || given.dims().get(1..) != Some(&self.input[..]) {
            return Err(Error::shape(
                "input",
                format!("is {given}, the network needs f32 pictures [n, {h}, {w}, {c}]"),
            ));
        }
        Ok(())
    }

    /// Names, and what they refer to.
    fn check(&self) -> Result<()> {
        if self.layers.is_empty() {
            return Err(Error::config("the network has no layers"));
        }
        let mut known = HashSet::from([Self::INPUT]);
        let mut unused: Vec<&str> = Vec::new();
        for spec in &self.layers {
            let LayerSpec { name, inputs, layer } = spec;
            if name.is_empty() {
                return Err(spec.error("a name must not be empty"));
            }
            if *name == Self::INPUT {
                return Err(spec.error("the name belongs to the pictures; choose another"));
            }
            for input in inputs {
                if !known.contains(input.as_str()) {
                    return Err(self.unknown(spec, input));
                }
                unused.retain(|u| u != input);
            }
            match (layer.merges(), inputs.len()) {
                (true, 0 | 1) => {
                    let message = format!("merges two or more inputs, but gets {}: list them in inputs", inputs.len());
                    return Err(spec.error(message));
                }
                (false, n) if n != 1 => {
                    return Err(spec.error(format!("takes one input, but gets {n}: {}", inputs.join(", "))));
                }
                _ => {}
            }
            if !known.insert(name) {
                return Err(spec.error("another layer has this name already"));
            }
            unused.push(name);
        }
        for output in &self.outputs {
            if !self.layers.iter().any(|l| l.name == *output) {
                let names = self.names().join(", ");
                return Err(Error::config(format!("output \"{output}\" is not a layer; there are {names}")));
            }
            unused.retain(|u| u != output);
        }
        if self.outputs.is_empty() {
            unused.pop();
        }
        match self.layers.iter().find(|l| unused.contains(&l.name.as_str())) {
            Some(spec) => Err(spec.error("nothing uses its result: name it in another layer's inputs or in outputs")),
            None => Ok(()),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.layers.iter().map(|l| l.name.as_str()).collect()
    }

    fn unknown(&self, spec: &LayerSpec, input: &str) -> Error {
        let names = self.names();
        let own = names.iter().position(|n| *n == spec.name).unwrap_or(0);
        if names[own..].contains(&input) {
            let message =
                format!("input \"{input}\" does not come before it: a layer takes its inputs from earlier ones");
            return spec.error(message);
        }
        let earlier: Vec<&str> = std::iter::once(Self::INPUT).chain(names[..own].iter().copied()).collect();
        spec.error(format!("there is no input \"{input}\"; before it come {}", earlier.join(", ")))
    }

    /// Name and shape of everything in a weights file, in the order of layers: parameters, frozen ones, and states.
    ///
    /// Errors: as [`Model::build`].
    pub fn tensors(&self) -> Result<Vec<(String, Shape)>> {
        let (.., declared) = self.inference(1)?;
        Ok(declared.into_iter().map(|d| (d.name, d.shape)).collect())
    }

    /// The weights to start from, by name. Each follows from the seed and its own name, and from nothing else.
    ///
    /// Errors: as [`Model::build`].
    pub fn initialize(&self, seed: Seed) -> Result<BTreeMap<String, Tensor>> {
        let (.., declared) = self.inference(1)?;
        declared
            .into_iter()
            .map(|Declared { name, shape, initializer, fans, value }| {
                let tensor = match value {
                    Some(value) => (*value).clone(),
                    None => initializer.tensor(seed, &name, &shape, fans)?,
                };
                Ok((name, tensor))
            })
            .collect()
    }
}

impl LayerSpec {
    fn error(&self, message: impl Into<String>) -> Error {
        Error::shape(format!("{} \"{}\"", self.layer.type_name(), self.name), message)
    }
}

/// `class`, or the first of `class_1`, `class_2`, … which is not taken.
pub(super) fn free_name(class: &str, taken: impl Fn(&str) -> bool) -> String {
    let names = std::iter::once(class.to_owned()).chain((1..).map(|i| format!("{class}_{i}")));
    names.into_iter().find(|name| !taken(name)).expect("numbers do not end")
}
