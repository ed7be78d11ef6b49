use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::evaluate::held_out;
use super::trained::{Trained, task_of};
use super::{Common, json, print};
use crate::atomic;
use crate::data::{Batch, Fit, Image, Source};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::interop::onnx::{Element, Network, Session, Values, export};
use crate::interop::safetensors;
use crate::nn::Mode;
use crate::tasks::{RunTask, with_task};
use crate::tensor::{Array, Meta, Tensor};

/// Writes a trained network for other programs.
#[derive(Args)]
pub(super) struct Export {
    /// A run folder, or a weights file in one.
    run: PathBuf,
    /// What to write: onnx takes bytes of RGB pictures of any size and gives probabilities; safetensors holds the weights alone.
    #[arg(long, value_enum, default_value_t = Format::Onnx)]
    format: Format,
    /// The file to write.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Pictures with known classes to check the file on; without it, those that the run held out.
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Onnx,
    Safetensors,
}

/// What was written, as JSON.
#[derive(Serialize)]
struct Checked {
    path: String,
    bytes: usize,
    pictures: usize,
    largest_difference: f64,
}

/// Pictures on which the file is compared with the network, at most.
const CHECKED: usize = 32;
/// Most by which a probability may differ.
const ALLOWED: f64 = 1e-4;

impl Export {
    pub fn run(&self, common: &Common) -> Result<()> {
        with_task!(task_of(&self.run)?.as_str(), T => self.run_as::<T>(common))
    }

    fn run_as<T: RunTask>(&self, common: &Common) -> Result<()> {
        let mut trained = Trained::<T>::open(&self.run, common)?;
        let tensors = trained.session.weights().tensors()?;
        if self.format == Format::Safetensors {
            safetensors::save(&self.output, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
            return print(format!("{}: {} tensors", self.output.display(), tensors.len()));
        }
        let canvas = trained.session.task().canvas();
        let [height, width, _] = canvas.shape;
        match canvas.fit {
            Fit::Stretch => {}
            Fit::Line => common.say(format!(
                "note     the file stretches pictures to {height}x{width}: give it lines padded to that aspect ratio"
            )),
            Fit::Frames(n) => {
                common.say(format!("note     give the file the {n} frames of a sequence one below another"))
            }
        }
        let bytes = onnx(&trained, tensors.into_iter().collect())?;
        let network = Network::parse(&bytes, None).map_err(|message| Error::format(&self.output, message))?;
        let sources = self.pictures(&trained, common)?;
        let difference = compare(&mut trained, network, &sources)?;
        let over = format!("largest difference of a probability over {} pictures: {difference:.1e}", sources.len());
        if difference.is_nan() || difference > ALLOWED {
            let message =
                format!("not written, as it does not give what the network gives: {over}, {ALLOWED:.0e} allowed");
            return Err(Error::format(&self.output, message));
        }
        atomic::write(&self.output, &bytes).map_err(|e| Error::io("write", &self.output, e))?;
        if common.json {
            let path = self.output.display().to_string();
            let checked = Checked { path, bytes: bytes.len(), pictures: sources.len(), largest_difference: difference };
            return print(json(&checked)?);
        }
        print(format!("{}: {:.1} MB, {over}", self.output.display(), bytes.len() as f64 / 1e6))
    }

    /// Evenly spread over what is to be checked; where there is nothing, made of noise.
    fn pictures<T: RunTask>(&self, trained: &Trained<T>, common: &Common) -> Result<Vec<Image>> {
        let found = held_out::<T>(&trained.kept, self.data.as_deref());
        let dataset = match found {
            Ok((dataset, _)) if !dataset.is_empty() => dataset,
            Err(error) if self.data.is_some() => return Err(error),
            _ => {
                common.say("no pictures at hand: checked on noise; --data names better ones");
                return Ok(noise(trained.session.task().model().input));
            }
        };
        let window = dataset.window;
        let every = dataset.len().div_ceil(CHECKED).max(1);
        let sources: Vec<&Source> = dataset.samples.iter().step_by(every).map(|s| &s.source).collect();
        let images: Vec<Image> = sources.into_iter().filter_map(|source| source.image_with(window).ok()).collect();
        if images.is_empty() {
            return Err(Error::format(&dataset.root, "holds no picture that could be read"));
        }
        Ok(images)
    }
}

fn noise([height, width, _]: [usize; 3]) -> Vec<Image> {
    let image = |number: usize| {
        let size = [height + 7 * number, width + 5 * number];
        let mut state = number as u32 + 1;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        Image { size, channels: 3, pixels: (0..size[0] * size[1] * 3).map(|_| byte()).collect() }
    };
    (0..4).map(image).collect()
}

fn onnx<T: RunTask>(trained: &Trained<T>, weights: HashMap<String, Tensor>) -> Result<Vec<u8>> {
    let task = trained.session.task();
    let picture = task.model().input;
    let network = |n: usize| {
        let mut graph = Graph::new();
        let [h, w, c] = picture;
        let input = graph.input("pixels", Meta::f32([n, h, w, c]));
        let built = task.model().build(&mut graph, input, Mode::Inference)?;
        let output = task.exported(&mut graph, built.output)?;
        graph.output(export::Classifier::OUTPUT, output);
        Ok((graph, input, output))
    };
    export::Classifier {
        network: &network,
        weights: &weights,
        picture,
        mean: &task.normalization().mean,
        std: &task.normalization().std,
        temperature: task.temperature(),
        labels: task.classes(),
    }
    .to_onnx()
}

/// The largest difference between the network's probabilities and those of its file, each given whole pictures; of values beyond 1, as
/// edges of boxes may be where there is nothing, as a share of them.
fn compare<T: RunTask>(trained: &mut Trained<T>, network: Network, images: &[Image]) -> Result<f64> {
    let mut session = Session::new(Arc::new(network), &Device::Cpu);
    let shape = trained.session.task().model().input;
    let mut worst = 0.0_f64;
    for image in images {
        let fitted = image.clone().fit(shape)?;
        let outputs = trained.session.infer(&Batch::of_images(&[fitted]))?;
        let wanted = trained.session.task().exported_values(&outputs);
        let [height, width] = image.size;
        let rgb = image.clone().fit([height, width, 3])?;
        let data = rgb.pixels.iter().map(|&byte| f64::from(byte)).collect();
        let array = Array { shape: [1, height, width, 3].into(), data };
        let given = [(export::Classifier::INPUT.to_owned(), Values { element: Element::Uint8, array })];
        let found = session.run(&given)?;
        for (a, &b) in found[0].array.data.iter().zip(&wanted) {
            let difference = (a - f64::from(b)).abs() / f64::from(b).abs().max(1.0);
            worst = if difference.is_nan() { f64::NAN } else { worst.max(difference) };
        }
    }
    Ok(worst)
}
