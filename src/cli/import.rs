use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::train::{image_size, is_file, plain_settings};
use super::{Common, print};
use crate::data::Normalize;
use crate::error::{Error, Result};
use crate::interop::weights::{self, Loaded};
use crate::nn::{Model, zoo};
use crate::seed::Seed;
use crate::tasks::Classifier;
use crate::tensor::Tensor;
use crate::train::{Kept, RunFolder};

/// Makes a run folder of a network that was trained elsewhere, for `predict`, `evaluate` and `train --init`.
#[derive(Args)]
pub(super) struct Import {
    /// A network of the zoo, a model file, or an ONNX network.
    model: String,
    /// Its weights: safetensors, or a state dictionary of PyTorch (.pth, .pt) under torchvision's or timm's names;
    /// hf://OWNER/NAME fetches them from the Hugging Face Hub. An ONNX network holds its own.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Class names, one a line; without it they are numbers.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Classes, where no names are given.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..))]
    classes: u32,
    /// Height and width of the images it was trained on: N or HxW.
    #[arg(long, value_name = "N|HxW")]
    image_size: Option<String>,
    /// How it expects images: imagenet (mean and standard deviation of ImageNet), symmetric (-1 to 1), unit (0 to 1) or none (0 to 255).
    #[arg(long, value_name = "MODE", default_value = "imagenet")]
    normalize: String,
    /// The run folder to make; must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Import {
    pub fn run(&self, common: &Common) -> Result<()> {
        RunFolder::expect_new(&self.out)?;
        let classes = self.class_names()?;
        let normalize: Normalize = self.normalize.parse()?;
        let model = self.network(classes.len())?;
        let normalization = normalize.fixed(model.input[2]).ok_or_else(|| {
            Error::config(
                "--normalize dataset needs a data set: say how the network was trained, for instance imagenet",
            )
        })?;
        let tensors = self.tensors(&model, classes.len(), common)?;
        Classifier::new(model.clone(), classes.clone(), normalization.clone())?;
        let mut settings = plain_settings(&self.model, &model)?;
        (settings.normalize, settings.init) = (normalize, self.weights.clone());
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

    fn tensors(&self, model: &Model, classes: usize, common: &Common) -> Result<Vec<(String, Tensor)>> {
        let Some(path) = &self.weights else {
            if model.files().next().is_none() {
                return Err(Error::config("--weights is missing: the file that holds the network's weights"));
            }
            return Ok(model.initialize(Seed(0))?.into_iter().collect());
        };
        let Loaded { tensors, replaced, unexpected } = weights::load(path, model)?;
        if let Some(layer) = replaced {
            let message = format!("\"{layer}\" is not for {classes} classes: give --labels or --classes");
            return Err(Error::format(path, message));
        }
        if !unexpected.is_empty() {
            common.say(format!("left out, as the network has no such: {}", unexpected.join(", ")));
        }
        Ok(tensors.into_iter().collect())
    }

    fn class_names(&self) -> Result<Vec<String>> {
        let Some(path) = &self.labels else { return Ok((0..self.classes).map(|class| class.to_string()).collect()) };
        let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
    }

    fn network(&self, classes: usize) -> Result<Model> {
        let size = self.image_size.as_deref().map(image_size).transpose()?;
        if is_file(&self.model) {
            let mut model = Model::open(&self.model)?;
            let [h, w] = size.unwrap_or([model.input[0], model.input[1]]);
            model.input = [h, w, model.input[2]];
            return Ok(model);
        }
        let [h, w] = size.or(zoo::default_size(&self.model)?).unwrap_or([224, 224]);
        zoo::build(&self.model, [h, w, 3], classes)
    }
}
