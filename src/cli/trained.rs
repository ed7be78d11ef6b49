use std::path::Path;

use super::Common;
use crate::error::{Error, Result};
use crate::interop::safetensors;
use crate::tasks::Classifier;
use crate::tasks::classify::Calibration;
use crate::train::{Kept, RunFolder, Session};

/// A trained network, ready to answer: its session and what the run folder says of it.
pub(super) struct Trained {
    pub session: Session<Classifier>,
    pub kept: Kept,
}

impl Trained {
    /// Opens a run folder with its best weights, or a weights file in one.
    pub fn open(path: &Path, common: &Common) -> Result<Self> {
        let (folder, weights) = match path.is_file() {
            true => (path.parent().unwrap_or(Path::new(".")), path.to_owned()),
            false => (path, path.join("best.safetensors")),
        };
        let folder = RunFolder::open(folder)?;
        let kept = folder.read()?;
        let mut classifier = Classifier::new(kept.model.clone(), kept.classes.clone(), kept.normalization.clone())?;
        classifier.calibration = Calibration::read(folder.path())?;
        let device = common.open_device(&common.device)?;
        if let Some(choices) = folder.choices()? {
            device.adopt(&choices);
        }
        common.say_more(format!("device {}", device.name()));
        let session = Session::new(classifier, &device, None, 0)?;
        let tensors = safetensors::load(&weights)?;
        safetensors::expect(&weights, &tensors, &kept.model.tensors()?)?;
        session.weights().set(|name| tensors.get(name)).map_err(|e| Error::format(&weights, e.to_string()))?;
        Ok(Self { session, kept })
    }

    /// That averages its answers over several views of each image.
    pub fn with_views(mut self) -> Self {
        let [h, w, _] = self.session.task().input();
        self.session = self.session.with_views(self.kept.settings.augment.views([h, w]));
        self
    }
}
