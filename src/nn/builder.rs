use std::sync::Arc;

use glob::Pattern;
use rand::RngExt;

use super::{Initializer, Layer};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::ops::{self, Padding};
use crate::seed::Seed;
use crate::tensor::{Shape, Tensor};

/// A tensor of more is taken for a mistake: 4 GiB.
const MOST_ELEMENTS: usize = 1 << 30;

/// Bound of all that is counted in pixels, so that no sum of them overflows.
pub(super) const MOST_PIXELS: usize = 65535;

/// What a network is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch-norm normalises by the batch and updates its running statistics; dropout drops.
    Training {
        /// Number of the training step and of the first picture in it, i32 `[2]`, from which dropout derives its masks.
        step: Value,
        /// What the masks of a run follow from.
        seed: u32,
    },
    /// Batch-norm normalises by the running statistics; dropout does nothing.
    Inference,
}

/// A parameter or state that a layer declared.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub name: String,
    pub shape: Shape,
    pub initializer: Initializer,
    pub fans: [usize; 2],
    /// What it starts with, rather than what the initialiser gives.
    pub value: Option<Arc<Tensor>>,
}

/// What a layer writes its ops and parameters to.
pub struct Builder<'a> {
    graph: &'a mut Graph,
    mode: Mode,
    picture: [usize; 3],
    patterns: &'a [Pattern],
    matched: Vec<bool>,
    type_name: &'static str,
    layer: String,
    layer_frozen: bool,
    layer_trains: bool,
    pub(super) declared: Vec<Declared>,
    pub(super) losses: Vec<Value>,
}

impl<'a> Builder<'a> {
    /// For a network on pictures of that size whose parameters that match a pattern are frozen.
    pub(super) fn new(graph: &'a mut Graph, mode: Mode, picture: [usize; 3], patterns: &'a [Pattern]) -> Self {
        Self {
            graph,
            mode,
            picture,
            patterns,
            matched: vec![false; patterns.len()],
            type_name: "network",
            layer: String::new(),
            layer_frozen: false,
            layer_trains: false,
            declared: Vec::new(),
            losses: Vec::new(),
        }
    }

    /// Emits a layer under its name, activation included. Also returns what went into the activation.
    pub(super) fn layer(&mut self, name: &str, layer: &dyn Layer, inputs: &[Value]) -> Result<(Value, Value)> {
        self.type_name = layer.type_name();
        name.clone_into(&mut self.layer);
        self.layer_frozen = self.matches(name);
        self.layer_trains = false;
        self.graph.scope(name);
        let before = layer.build(self, inputs)?;
        let result = layer.activation().apply(self.graph, before)?;
        self.graph.scope("");
        Ok((result, before))
    }

    /// The first pattern which no layer and no parameter matched.
    pub(super) fn unmatched(&self) -> Option<&Pattern> {
        self.patterns.iter().zip(&self.matched).find(|(_, matched)| !**matched).map(|(pattern, _)| pattern)
    }

    fn matches(&mut self, name: &str) -> bool {
        let mut any = false;
        for (pattern, matched) in self.patterns.iter().zip(&mut self.matched) {
            let here = pattern.matches(name);
            *matched |= here;
            any |= here;
        }
        any
    }

    /// The graph to which ops are appended.
    pub fn graph(&mut self) -> &mut Graph {
        self.graph
    }

    /// In training, the step's number and a seed of this layer's own; see [`Mode::Training`].
    pub fn training(&self) -> Option<(Value, u32)> {
        match self.mode {
            Mode::Training { step, seed } => {
                let own = Seed(seed.into()).generator(&format!("layer {}", self.layer), &[]).random();
                Some((step, own))
            }
            Mode::Inference => None,
        }
    }

    /// Adds to the loss of each picture `[n]`, in training.
    pub fn add_loss(&mut self, losses: Value) {
        self.losses.push(losses);
    }

    /// Extents of a value, the batch first.
    pub fn dims(&self, x: Value) -> Vec<usize> {
        self.graph.shape(x).dims().to_vec()
    }

    /// Batch, height, width and channels of a value.
    ///
    /// Errors: if it has no height and width.
    pub fn feature_map(&self, x: Value) -> Result<[usize; 4]> {
        let dims = self.dims(x);
        dims.as_slice().try_into().map_err(|_| {
            let message = format!("needs height, width and channels, but gets {} for each picture", sample(&dims));
            self.error(message)
        })
    }

    /// Batch, steps and channels of a value.
    ///
    /// Errors: if it has no steps.
    pub fn sequence(&self, x: Value) -> Result<[usize; 3]> {
        let dims = self.dims(x);
        dims.as_slice()
            .try_into()
            .map_err(|_| self.error(format!("needs steps and channels, but gets {} for each picture", sample(&dims))))
    }

    /// An error of this layer.
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::shape(format!("{} \"{}\"", self.type_name, self.layer), message)
    }

    /// Errors: unless the inputs have one shape.
    pub fn expect_one_shape(&self, inputs: &[Value]) -> Result<()> {
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|&x| self.dims(x)).collect();
        match shapes.iter().all(|s| *s == shapes[0]) {
            true => Ok(()),
            false => Err(self.error(format!("needs inputs of one shape, but gets {}", samples(&shapes)))),
        }
    }

    /// Errors: unless the attribute is at least 1.
    pub fn expect_positive(&self, attributes: &[(&str, usize)]) -> Result<()> {
        match attributes.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(self.error(format!("{key} must be at least 1, but is 0"))),
            None => Ok(()),
        }
    }

    /// Padding of a window that moves over the value, `[top, bottom, left, right]`.
    ///
    /// Errors: if an attribute is out of range, or the window does not fit.
    pub fn window(
        &self,
        x: Value,
        padding: Padding,
        window: [usize; 2],
        strides: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<[usize; 4]> {
        let [_, h, w, _] = self.feature_map(x)?;
        let [kh, kw] = window;
        self.expect_window(padding, window, strides, dilation)?;
        let edges = padding.resolve([h, w], window, strides, dilation);
        let [reach_h, reach_w] = [(kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1];
        if reach_h > h + edges[0] + edges[1] || reach_w > w + edges[2] + edges[3] {
            let [height, width, _] = self.picture;
            let message = format!(
                "gets a map of {h}x{w}, but its window needs {reach_h}x{reach_w}: pictures of {height}x{width} are too \
                 small for this network"
            );
            return Err(self.error(message));
        }
        Ok(edges)
    }

    /// Errors: if an attribute of a window is out of range.
    pub fn expect_window(
        &self,
        padding: Padding,
        window: [usize; 2],
        strides: [usize; 2],
        dilation: [usize; 2],
    ) -> Result<()> {
        for (what, pair) in [("window", window), ("stride", strides), ("dilation", dilation)] {
            if pair.iter().any(|n| !(1..=MOST_PIXELS).contains(n)) {
                let [first, second] = pair;
                return Err(self.error(format!("{what} {first}x{second} must be between 1 and {MOST_PIXELS}")));
            }
        }
        match padding {
            Padding::Explicit(edges) => self.expect_edges(edges),
            Padding::Valid | Padding::Same => Ok(()),
        }
    }

    /// Errors: unless padding has a sensible size.
    pub fn expect_edges(&self, edges: [usize; 4]) -> Result<()> {
        match edges.iter().find(|n| **n > MOST_PIXELS) {
            Some(n) => Err(self.error(format!("padding must be at most {MOST_PIXELS}, but is {n}"))),
            None => Ok(()),
        }
    }

    /// A trained tensor `<layer>.<name>`, or a fixed one if the user froze it; with Keras's fans.
    ///
    /// Errors: if it is too large.
    pub fn parameter(&mut self, name: &str, shape: impl Into<Shape>, initializer: Initializer) -> Result<Value> {
        let shape = shape.into();
        let fans = Initializer::fans(&shape);
        self.parameter_with_fans(name, shape, initializer, fans)
    }

    /// As [`Builder::parameter`], where `fan_in` and `fan_out` do not follow from the shape.
    pub fn parameter_with_fans(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        initializer: Initializer,
        fans: [usize; 2],
    ) -> Result<Value> {
        let shape = shape.into();
        let full = self.declare(name, &shape, initializer, fans)?;
        if self.matches(&full) || self.layer_frozen {
            return Ok(self.graph.state(&full, shape));
        }
        self.layer_trains = true;
        Ok(self.graph.parameter(&full, shape))
    }

    /// As [`Builder::parameter`], starting with given values.
    ///
    /// Errors: if it is too large.
    pub fn parameter_from(&mut self, name: &str, start: Arc<Tensor>) -> Result<Value> {
        let value = self.parameter(name, start.shape().clone(), Initializer::Zeros)?;
        if let Some(declared) = self.declared.last_mut() {
            declared.value = Some(start);
        }
        Ok(value)
    }

    /// Adds `bias`, one number for each channel, if it is wanted.
    ///
    /// Errors: if it is too large.
    pub fn bias(&mut self, x: Value, wanted: bool, initializer: Initializer) -> Result<Value> {
        if !wanted {
            return Ok(x);
        }
        let channels = self.graph.shape(x).last();
        let bias = self.parameter("bias", [channels], initializer)?;
        ops::add(self.graph, x, bias)
    }

    /// A tensor `<layer>.<name>` that is kept but not trained.
    ///
    /// Errors: if it is too large.
    pub fn state(&mut self, name: &str, shape: impl Into<Shape>, initializer: Initializer) -> Result<Value> {
        let shape = shape.into();
        let full = self.declare(name, &shape, initializer, Initializer::fans(&shape))?;
        Ok(self.graph.state(&full, shape))
    }

    /// Whether the user froze all parameters which the layer has declared so far.
    pub fn frozen(&self) -> bool {
        !self.layer_trains
    }

    fn declare(&mut self, name: &str, shape: &Shape, initializer: Initializer, fans: [usize; 2]) -> Result<String> {
        let elements = shape.dims().iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        if elements.is_none_or(|n| n > MOST_ELEMENTS) {
            return Err(self.error(format!("{name} {shape} has more than {MOST_ELEMENTS} elements")));
        }
        let name = format!("{}.{name}", self.layer);
        self.declared.push(Declared { name: name.clone(), shape: shape.clone(), initializer, fans, value: None });
        Ok(name)
    }
}

/// Extents of one sample, for messages.
pub(super) fn sample(dims: &[usize]) -> String {
    let numbers: Vec<String> = dims.iter().skip(1).map(usize::to_string).collect();
    if numbers.is_empty() { "one number".into() } else { numbers.join("x") }
}

/// Extents of a sample of each value, for messages.
pub(super) fn samples(shapes: &[Vec<usize>]) -> String {
    shapes.iter().map(|dims| sample(dims)).collect::<Vec<_>>().join(" and ")
}
