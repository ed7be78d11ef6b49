use super::Score;
use crate::device::{Device, Program, Weights};
use crate::error::{Error, Result};
use crate::graph::{Ending, Graph, Value};
use crate::nn::{Mode, Model};
use crate::ops;
use crate::tensor::{DType, Meta};

/// A network of which one sees, beside its answers, what they change by: the gradient of a score with respect to the pixels, and
/// to a map within.
pub struct Watched {
    program: Program,
    n: usize,
    input: [usize; 3],
    outputs: usize,
    map: [usize; 3],
    /// How many maps of frames, one below another, that is.
    map_frames: usize,
    frames: usize,
}

/// What was seen of some pictures, one after the other.
pub struct Seen {
    /// As the network gives them, for each picture.
    pub probabilities: Vec<Vec<f32>>,
    /// Gradient of the score with respect to the pixels `[h, w, c]`, for each picture.
    pub pixel_gradients: Vec<Vec<f32>>,
    /// The map `[h, w, channels]` within, for each picture.
    pub maps: Vec<Vec<f32>>,
    /// Gradient of the score with respect to it.
    pub map_gradients: Vec<Vec<f32>>,
}

impl Watched {
    /// A network that is shown `n` pictures at a time. The map within is the result of `layer`, or the last that has height and
    /// width.
    ///
    /// Errors: if there is no such layer, or it has no height and width; if the program does not fit the device.
    pub fn new(model: &Model, device: &Device, weights: &Weights, n: usize, layer: Option<&str>) -> Result<Self> {
        Self::with_likelihoods(model, device, weights, n, layer, &|graph, output| match (
            model.ends_in_probabilities(),
            graph.shape(output).last(),
        ) {
            (true, _) => Ok(output),
            (false, 1) => ops::sigmoid(graph, output),
            (false, _) => ops::softmax(graph, output),
        })
    }

    /// As [`Watched::new`], where `likelihoods` makes of a network's result what its logits stand for.
    ///
    /// Errors: as there.
    pub fn with_likelihoods(
        model: &Model,
        device: &Device,
        weights: &Weights,
        n: usize,
        layer: Option<&str>,
        likelihoods: &dyn Fn(&mut Graph, Value) -> Result<Value>,
    ) -> Result<Self> {
        let mut graph = Graph::new();
        let [h, w, c] = model.input;
        let pixels = graph.input("pixels", Meta::f32([n, h, w, c]));
        let built = model.build(&mut graph, pixels, Mode::Inference)?;
        let logits = built.logits.unwrap_or(built.output);
        let shape = graph.shape(logits).clone();
        let outputs = shape.elements() / n;
        let map = match layer {
            Some(name) => {
                let at = model.layers().iter().position(|spec| spec.name == name);
                at.map(|at| built.layers[at]).ok_or_else(|| unknown_layer(model, name))?
            }
            None => last_map(&graph, logits).unwrap_or(pixels),
        };
        let &[maps, map_h, map_w, channels] = graph.shape(map).dims() else {
            let name = layer.unwrap_or_default();
            return Err(Error::config(format!("layer \"{name}\" has no height and width: choose one before it")));
        };
        // How much each output counts for the score.
        let axes: Vec<usize> = (0..shape.rank()).collect();
        let wanted = graph.input("wanted", Meta::f32(shape));
        let scores = ops::mul(&mut graph, logits, wanted)?;
        let score = ops::sum(&mut graph, scores, &axes, false)?;
        let gradients = graph.differentiate(score, &[pixels, map])?;
        let probabilities = likelihoods(&mut graph, built.output)?;
        let own = |graph: &mut Graph, value: Value| ops::copy(graph, value);
        let results = [probabilities, gradients[0], map, gradients[1]];
        for (name, value) in ["probabilities", "pixel gradient", "map", "map gradient"].into_iter().zip(results) {
            let value = own(&mut graph, value)?;
            graph.output(name, value);
        }
        let program = device.compile(&graph, weights, Ending::Nothing)?;
        let map_frames = maps / n;
        let map = [map_frames * map_h, map_w, channels];
        Ok(Self { program, n, input: model.input, outputs, map, map_frames, frames: model.frames() })
    }

    /// How many logits it gives of a picture.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Pictures that are shown at a time.
    pub fn batch(&self) -> usize {
        self.n
    }

    /// Height, width and channels of a picture.
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Frames that a picture holds one below another; 1 where it is no sequence.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Height, width and channels of the map within; of a sequence those of its frames, one below another.
    pub fn map(&self) -> [usize; 3] {
        self.map
    }

    /// How many maps of frames [`Watched::map`] holds.
    pub fn map_frames(&self) -> usize {
        self.map_frames
    }

    /// Shows pictures `[h, w, c]`, as many as [`Watched::batch`] or fewer; the score is the same for all of them.
    ///
    /// Errors: if the device is lost.
    pub fn look(&mut self, pictures: &[Vec<f32>], score: &Score) -> Result<Seen> {
        let [h, w, c] = self.input;
        let mut pixels: Vec<f32> = pictures.concat();
        pixels.resize(self.n * h * w * c, 0.0);
        debug_assert_eq!(score.weights().len(), self.outputs);
        let wanted = score.weights().repeat(self.n);
        let inputs = [("pixels", bytemuck::cast_slice(&pixels)), ("wanted", bytemuck::cast_slice(&wanted))];
        let results = self.program.execute(&inputs)?;
        let each = |i: usize| -> Vec<Vec<f32>> {
            debug_assert_eq!(results[i].dtype(), DType::F32);
            let length = results[i].shape().elements() / self.n;
            results[i].f32().chunks(length).take(pictures.len()).map(<[f32]>::to_vec).collect()
        };
        Ok(Seen { probabilities: each(0), pixel_gradients: each(1), maps: each(2), map_gradients: each(3) })
    }

    /// The probability behind a score for each of any number of pictures.
    ///
    /// Errors: if the device is lost.
    pub fn probabilities(&mut self, pictures: &[Vec<f32>], score: &Score) -> Result<Vec<f32>> {
        let mut found = Vec::with_capacity(pictures.len());
        for some in pictures.chunks(self.n) {
            found.extend(self.look(some, score)?.probabilities.iter().map(|row| score.probability(row)));
        }
        Ok(found)
    }
}

/// The last value with more than one pixel on which `logits` depend.
fn last_map(graph: &Graph, logits: Value) -> Option<Value> {
    let mut needed = vec![false; graph.nodes().len()];
    needed[logits.index()] = true;
    for (value, node) in graph.iter().rev() {
        if !needed[value.index()] {
            continue;
        }
        let is_map = matches!(graph.shape(value).dims(), &[_, h, w, c] if h * w > 1 && c > 1);
        if is_map && node.op().is_some() {
            return Some(value);
        }
        node.inputs.iter().for_each(|v| needed[v.index()] = true);
    }
    None
}

fn unknown_layer(model: &Model, name: &str) -> Error {
    let names: Vec<&str> = model.layers().iter().map(|spec| spec.name.as_str()).collect();
    Error::config(format!("there is no layer \"{name}\"; there are {}", names.join(", ")))
}
