use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::summary::class_count;
use super::train::{image_size, is_file, open_model, plain_settings};
use super::{Common, print};
use crate::data::Normalize;
use crate::error::{Error, Result};
use crate::interop::keras;
use crate::interop::weights::{self, Loaded};
use crate::nn::{Model, zoo};
use crate::seed::Seed;
use crate::tasks::Classifier;
use crate::tensor::Tensor;
use crate::train::{Kept, RunFolder};

/// Makes a run folder of a network that was trained elsewhere, for `predict`, `evaluate` and `train --init`.
#[derive(Args)]
pub(super) struct Import {
    /// A network of the zoo, a model file, an ONNX network, or a network of Keras's (.keras, .h5, or what to_json() gives as .json).
    model: String,
    /// Its weights: safetensors, a state dictionary of PyTorch (.pth, .pt) under torchvision's or timm's names, or Keras's (.keras, .h5);
    /// hf://OWNER/NAME fetches them from the Hugging Face Hub. Without it, they are in the network's own file.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Class names, one a line; without it they are numbers.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Classes, where no names are given; by default 1000, or as many as the network in a file has.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    classes: Option<u32>,
    /// Height and width of the images it was trained on: N or HxW.
    #[arg(long, value_name = "N|HxW")]
    image_size: Option<String>,
    /// How it expects images: imagenet (mean and standard deviation of ImageNet), symmetric (-1 to 1), unit (0 to 1) or none (0 to 255).
    /// By default imagenet; for a network of Keras's unit, or none if it begins with a Rescaling layer.
    #[arg(long, value_name = "MODE")]
    normalize: Option<String>,
    /// The run folder to make; must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Import {
    pub fn run(&self, common: &Common) -> Result<()> {
        RunFolder::expect_new(&self.out)?;
        let names = self.labels.as_deref().map(class_names).transpose()?;
        let model = self.network(names.as_ref().map(Vec::len))?;
        let classes = match (names, self.classes) {
            (Some(names), _) => names,
            (None, Some(count)) => numbers(count as usize),
            (None, None) => numbers(class_count(&model)?),
        };
        let weights =
            self.weights.clone().or_else(|| keras::has_weights(&self.model).then(|| self.model.clone().into()));
        let normalize = normalization(&self.model, &model, self.normalize.as_deref())?;
        let normalization = normalize.fixed(model.input[2]).ok_or_else(|| {
            Error::config(
                "--normalize dataset needs a data set: say how the network was trained, for instance imagenet",
            )
        })?;
        let tensors = tensors(weights.as_deref(), &model, classes.len(), common)?;
        Classifier::new(model.clone(), classes.clone(), normalization.clone())?;
        let mut settings = plain_settings(&self.model, &model)?;
        (settings.normalize, settings.init) = (normalize, weights);
        let parameters = model.summary()?.trained;
        let kept = Kept { settings, model, classes, normalization };
        RunFolder::create(&self.out, |folder| {
            folder.describe(&kept)?;
            folder.save_weights("best", &tensors)
        })?;
        let at = self.out.display();
        print(format!("{at}: {} with {parameters} parameters, {} classes", self.model, kept.classes.len()))?;
        common.say(format!("Next: ocellus predict {at} PICTURE…"));
        Ok(())
    }

    fn network(&self, names: Option<usize>) -> Result<Model> {
        let size = self.image_size.as_deref().map(image_size).transpose()?;
        if is_file(&self.model) {
            let mut model = open_model(&self.model, size)?;
            let [h, w] = size.unwrap_or([model.input[0], model.input[1]]);
            model.input = [h, w, model.input[2]];
            return Ok(model);
        }
        let [h, w] = size.or(zoo::default_size(&self.model)?).unwrap_or([224, 224]);
        let classes = names.or(self.classes.map(|count| count as usize)).unwrap_or(1000);
        zoo::build(&self.model, [h, w, 3], classes)
    }
}

/// How a network expects images: as `mode` says, else as those of its kind do.
///
/// Errors: if there is no such mode.
pub(super) fn normalization(name: &str, model: &Model, mode: Option<&str>) -> Result<Normalize> {
    let rescales = || model.layers().first().is_some_and(|first| first.layer.type_name() == "rescaling");
    match mode {
        Some(mode) => mode.parse(),
        None if !keras::is_network(name) => Ok(Normalize::ImageNet),
        None if rescales() => Ok(Normalize::None),
        None => Ok(Normalize::Unit),
    }
}

/// The network's weights, from a file or from those that its layers name.
fn tensors(path: Option<&Path>, model: &Model, classes: usize, common: &Common) -> Result<Vec<(String, Tensor)>> {
    let Some(path) = path else {
        if model.files().next().is_none() {
            return Err(Error::config("--weights FILE is missing: the network's weights"));
        }
        return Ok(model.initialize(Seed(0))?.into_iter().collect());
    };
    let Loaded { tensors, replaced, unexpected } = weights::load(path, model)?;
    if !replaced.is_empty() {
        let layers = replaced.join("\", \"");
        let message = format!("\"{layers}\" is missing there or not for {classes} classes: give --labels or --classes");
        return Err(Error::format(path, message));
    }
    if !unexpected.is_empty() {
        common.say(format!("left out, as the network has no such: {}", unexpected.join(", ")));
    }
    Ok(tensors.into_iter().collect())
}

fn class_names(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}
