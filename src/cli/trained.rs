use std::path::{Path, PathBuf};

use super::Common;
use crate::data::Part;
use crate::error::{Error, Result};
use crate::interop::safetensors;
use crate::tasks::RunTask;
use crate::train::{Kept, RunFolder, Session};

/// A trained network, ready to answer: its session and what the run folder says of it.
pub(super) struct Trained<T: RunTask> {
    pub session: Session<T>,
    pub kept: Kept,
}

/// The folder and the weights that a RUN names: a run folder with its best weights, or a weights file in one.
pub(super) fn run_files(path: &Path) -> (&Path, PathBuf) {
    match path.is_file() {
        true => (path.parent().unwrap_or(Path::new(".")), path.to_owned()),
        false => (path, path.join("best.safetensors")),
    }
}

/// What a run's network was trained for.
///
/// Errors: if it is no run.
pub(super) fn task_of(path: &Path) -> Result<String> {
    let folder = RunFolder::open(run_files(path).0)?;
    Ok(RunFolder::settings(&folder.path().join("config.toml"))?.task)
}

impl<T: RunTask> Trained<T> {
    /// Opens a run folder with its best weights, or a weights file in one.
    pub fn open(path: &Path, common: &Common) -> Result<Self> {
        let (folder, weights) = run_files(path);
        let folder = RunFolder::open(folder)?;
        let kept = folder.read()?;
        if kept.settings.task != T::NAME {
            let message = format!("was trained to {}, but this is for networks that {}", kept.settings.task, T::NAME);
            return Err(Error::format(path, message));
        }
        let mut task = T::of_run(&kept)?;
        task.read_extras(folder.path())?;
        let device = common.open_device(&common.device)?;
        if let Some(choices) = folder.choices()? {
            device.adopt(&choices);
        }
        common.say_more(format!("device {}", device.name()));
        let session = Session::new(task, &device, None, 0)?;
        let tensors = safetensors::load(&weights)?;
        safetensors::expect(&weights, &tensors, &kept.model.tensors()?)?;
        session.weights().set(|name| tensors.get(name)).map_err(|e| Error::format(&weights, e.to_string()))?;
        Ok(Self { session, kept })
    }

    /// That averages its answers over several views of each image.
    ///
    /// Errors: if its task knows places in a picture, which move with the view.
    pub fn with_views(mut self) -> Result<Self> {
        if !T::AVERAGES {
            return Err(Error::config(format!(
                "--tta is not for networks that {}: places move with the view",
                T::NAME
            )));
        }
        let frame = self.session.task().canvas().frame_size();
        self.session = self.session.with_views(self.kept.settings.augment.views(frame));
        Ok(self)
    }
}

/// The part of a run's data that judges it.
pub(super) fn judging_part(test: bool) -> (Part, &'static str) {
    if test { (Part::Test, "test") } else { (Part::Val, "validation") }
}
