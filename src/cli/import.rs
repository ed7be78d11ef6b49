use std::fs;
use std::path::PathBuf;

use clap::Args;

use super::train::{image_size, is_file, plain_settings};
use super::{Common, print};
use crate::data::Normalize;
use crate::error::{Error, Result};
use crate::interop::weights::{self, Loaded};
use crate::nn::{Model, zoo};
use crate::tasks::Classifier;
use crate::train::{Kept, RunFolder};

/// Makes a run folder of a network that was trained elsewhere, for `predict`, `evaluate` and `train --init`.
#[derive(Args)]
pub(super) struct Import {
    /// A network of the zoo, or a model file.
    model: String,
    /// Its weights: safetensors, or a state dictionary of PyTorch (.pth, .pt) under torchvision's or timm's names;
    /// hf://OWNER/NAME fetches them from the Hugging Face Hub.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
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
        let Loaded { tensors, replaced, unexpected } = weights::load(&self.weights, &model)?;
        if let Some(layer) = replaced {
            let n = classes.len();
            return Err(Error::format(
                &self.weights,
                format!("\"{layer}\" is not for {n} classes: give --labels or --classes"),
            ));
        }
        if !unexpected.is_empty() {
            common.say(format!("left out, as the network has no such: {}", unexpected.join(", ")));
        }
        Classifier::new(model.clone(), classes.clone(), normalization.clone())?;
        let mut settings = plain_settings(&self.model, &model)?;
        (settings.normalize, settings.init) = (normalize, Some(self.weights.clone()));
        let parameters = model.summary()?.trained;
        let kept = Kept { settings, model, classes, normalization };
        let tensors: Vec<_> = tensors.into_iter().collect();
        RunFolder::create(&self.out, |folder| {
            folder.describe(&kept)?;
            folder.save_weights("best", &tensors)
        })?;
        let at = self.out.display();
        print(format!("{at}: {} with {parameters} parameters, {} classes", self.model, kept.classes.len()))?;
        common.say(format!("Next: ocellus predict {at} PICTURE…"));
        Ok(())
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
