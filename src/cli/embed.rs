use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::encoder::{Encoded, Encoder};
use super::import::normalization;
use super::predict::list;
use super::train::{image_size, is_file, open_model};
use super::{Common, json, print};
use crate::atomic;
use crate::error::{Error, Result};
use crate::interop::weights::{self, Loaded};
use crate::interop::{keras, npy};
use crate::nn::{Model, zoo};
use crate::seed::Seed;
use crate::tasks::embed::features;

/// Writes a row of numbers for each picture, an array of numpy's, and beside it a text file with the pictures' paths, one a line.
#[derive(Args)]
pub(super) struct Embed {
    /// A run folder, or a weights file in one; or a network with its weights: an ONNX file, one of Keras's, or one of the zoo or a model
    /// file with --weights.
    network: PathBuf,
    /// Images, folders, globs; `-` reads paths from standard input, one a line.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The array to write, `[pictures, numbers]`.
    #[arg(long, short, value_name = "FILE.npy")]
    output: PathBuf,
    /// Take the result of this layer, averaged over its places; without it, what a network for vectors gives, and of others what the last
    /// layer with weights takes.
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Of a network that is no run: its weights, as for import.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Of a network that is no run: height and width of its images, N or HxW.
    #[arg(long, value_name = "N|HxW")]
    image_size: Option<String>,
    /// Of a network that is no run: how it expects images, as for import.
    #[arg(long, value_name = "MODE")]
    normalize: Option<String>,
}

/// What was written, as JSON.
#[derive(Serialize)]
struct Written {
    path: String,
    paths: String,
    pictures: usize,
    dimensions: usize,
}

impl Embed {
    pub fn run(&self, common: &Common) -> Result<()> {
        let paths = list(&self.paths)?;
        let names = self.output.with_extension("txt");
        if names == self.output {
            return Err(Error::format(&self.output, "is where the paths go: name an .npy file"));
        }
        let mut encoder = self.encoder(common)?;
        super::catch_interrupts()?;
        let encoded = encoder.encode(&paths, common)?;
        let Encoded { paths, vectors, dimensions, .. } = &encoded;
        npy::write_f32(&self.output, &[paths.len(), *dimensions], vectors)?;
        let lines: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
        atomic::write(&names, lines.as_bytes()).map_err(|e| Error::io("write", &names, e))?;
        let [path, listed] = [&self.output, &names].map(|path| path.display().to_string());
        match common.json {
            true => print(json(&Written { path, paths: listed, pictures: paths.len(), dimensions: *dimensions })?)?,
            false => {
                print(format!("{path}: {} vectors of {dimensions} numbers; their paths are in {listed}", paths.len()))?
            }
        }
        encoded.expect_all()
    }

    fn encoder(&self, common: &Common) -> Result<Encoder> {
        let layer = self.layer.as_deref();
        let given = self.weights.is_some() || self.image_size.is_some() || self.normalize.is_some();
        if self.network.is_dir() || self.network.extension().is_some_and(|e| e == "safetensors") {
            if given {
                return Err(Error::config("--weights, --image-size and --normalize are for networks that are no runs"));
            }
            return Encoder::of_layer(&self.network, layer, false, common);
        }
        let name = self.network.to_string_lossy();
        let whole = self.model(&name)?;
        let normalize = normalization(&name, &whole, self.normalize.as_deref())?;
        let normalization = normalize.fixed(whole.input[2]).ok_or_else(|| {
            Error::config(
                "--normalize dataset needs a data set: say how the network was trained, for instance imagenet",
            )
        })?;
        let own = keras::has_weights(&*name).then(|| self.network.clone());
        let file = self.weights.clone().or(own);
        let tensors = match &file {
            Some(file) => {
                let Loaded { tensors, .. } = weights::load(file, &whole)?;
                tensors
            }
            None if whole.files().next().is_some() => whole.initialize(Seed(0))?,
            None => return Err(Error::config("--weights FILE is missing: the network's weights")),
        };
        let device = common.open_device(&common.device)?;
        let file = file.as_deref().unwrap_or(Path::new(&self.network));
        Encoder::new(features(&whole, layer)?, normalization, &device, file, tensors)
    }

    fn model(&self, name: &str) -> Result<Model> {
        let size = self.image_size.as_deref().map(image_size).transpose()?;
        if !is_file(name) {
            let [h, w] = size.or(zoo::default_size(name)?).unwrap_or([224, 224]);
            return zoo::build(name, [h, w, 3], 1000);
        }
        let mut model = open_model(name, size)?;
        let [h, w] = size.unwrap_or([model.input[0], model.input[1]]);
        model.input = [h, w, model.input[2]];
        Ok(model)
    }
}
