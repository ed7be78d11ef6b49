use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::trained::run_files;
use super::{Common, interrupted, progress};
use crate::data::{Image, Normalization};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::interop::safetensors::{self, Tensors};
use crate::nn::Model;
use crate::tasks::embed::{Embedder, Origin, Threshold, directions, embed, features};
use crate::train::{RunFolder, Session};

/// Pictures at a time.
const BATCH: usize = 32;

/// A network that makes a vector of each picture, ready to do so.
pub(super) struct Encoder {
    pub session: Session<Embedder>,
    pub origin: Origin,
}

/// Vectors of pictures, one after the other.
pub(super) struct Encoded {
    /// Those that could be read.
    pub paths: Vec<PathBuf>,
    /// `[pictures, dimensions]`.
    pub vectors: Vec<f32>,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// How many could not be read.
    pub failed: usize,
}

impl Encoded {
    /// Errors: if a picture could not be read.
    pub fn expect_all(&self) -> Result<()> {
        match self.failed {
            0 => Ok(()),
            n => Err(Error::config(format!("{n} of {} images could not be read", self.paths.len() + n))),
        }
    }
}

impl Encoder {
    /// The network of a run, whatever it was trained for, up to what describes a picture; with vectors of length 1.
    ///
    /// Errors: if it is no run, or its files are damaged.
    pub fn of_run(path: &Path, common: &Common) -> Result<Self> {
        Self::of_layer(path, None, true, common)
    }

    /// As [`Encoder::of_run`], up to a layer of that name; `unit`: with vectors of length 1 in any case.
    ///
    /// Errors: as there; if there is no such layer.
    pub fn of_layer(path: &Path, layer: Option<&str>, unit: bool, common: &Common) -> Result<Self> {
        let (folder, weights) = run_files(path);
        let folder = RunFolder::open(folder)?;
        let kept = folder.read()?;
        let model = features(&kept.model, layer)?;
        let model = if unit { directions(model) } else { model };
        let device = common.open_device(&common.device)?;
        if let Some(choices) = folder.choices()? {
            device.adopt(&choices);
        }
        let tensors = safetensors::load(&weights)?;
        let mut encoder = Self::new(model, kept.normalization, &device, &weights, tensors)?;
        encoder.session.task_mut().threshold = Threshold::read(folder.path())?;
        encoder.origin.run =
            folder.path().canonicalize().unwrap_or_else(|_| folder.path().to_owned()).display().to_string();
        Ok(encoder)
    }

    /// A network with those of the tensors that it has; `file`: where they are from.
    ///
    /// Errors: if one is missing or of another shape.
    pub fn new(
        model: Model,
        normalization: Normalization,
        device: &Device,
        file: &Path,
        mut tensors: Tensors,
    ) -> Result<Self> {
        let needed = model.tensors()?;
        tensors.retain(|name, _| needed.iter().any(|(known, _)| known == name));
        safetensors::expect(file, &tensors, &needed)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(model.to_toml()?.as_bytes());
        for (name, tensor) in &tensors {
            hasher.update(name.as_bytes()).update(tensor.bytes());
        }
        let fingerprint = hasher.finalize().to_hex().to_string();
        let session = Session::new(Embedder::new(model, normalization)?, device, None, 0)?;
        session.weights().set(|name| tensors.get(name)).map_err(|e| Error::format(file, e.to_string()))?;
        Ok(Self { session, origin: Origin { run: String::new(), fingerprint } })
    }

    /// Makes vectors of pictures; tells which cannot be read and goes on with the rest.
    ///
    /// Errors: if not one can be read, or the device fails.
    pub fn encode(&mut self, paths: &[PathBuf], common: &Common) -> Result<Encoded> {
        let dimensions = self.session.task().dimensions()?;
        let mut encoded = Encoded { paths: Vec::new(), vectors: Vec::new(), dimensions, failed: 0 };
        let bar = progress::bar(common, paths.len() as u64, "reading");
        for some in paths.chunks(BATCH) {
            let images: Vec<Result<Image>> = some.par_iter().map(Image::open).collect();
            let mut read = Vec::new();
            for (path, image) in some.iter().zip(images) {
                match image {
                    Ok(image) => {
                        encoded.paths.push(path.clone());
                        read.push(image);
                    }
                    Err(error) => {
                        encoded.failed += 1;
                        super::tell(format!("error: {error}"));
                    }
                }
            }
            if !read.is_empty() {
                encoded.vectors.extend(embed(&mut self.session, read)?.concat());
            }
            bar.inc(some.len() as u64);
            if interrupted() {
                return Err(Error::Interrupted);
            }
        }
        bar.finish_and_clear();
        match encoded.paths.is_empty() {
            true => Err(Error::config("not one of the images could be read")),
            false => Ok(encoded),
        }
    }
}
