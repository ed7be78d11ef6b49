use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::Common;
use super::train::{open_data, validation_part};
use super::trained::{Trained, judging_part, task_of};
use crate::data::{Dataset, Images, Loader, LoaderOptions, Part, Seed};
use crate::error::{Error, Result};
use crate::report;
use crate::tasks::{Refinement, RunTask, with_task};
use crate::train::{Kept, RunFolder};

#[derive(Args)]
pub(super) struct Evaluate {
    /// A run folder, or a weights file in one.
    run: PathBuf,
    /// Pictures with known classes; without it, the test part of the run's own data, else its validation part.
    data: Option<PathBuf>,
    /// Average the answers over several views of each image: as it is and closer, both also mirrored where training mirrored.
    #[arg(long)]
    tta: bool,
    /// Pictures at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    batch_size: u16,
}

impl Evaluate {
    pub fn run(&self, common: &Common) -> Result<()> {
        with_task!(task_of(&self.run)?.as_str(), T => self.run_as::<T>(common))
    }

    fn run_as<T: RunTask>(&self, common: &Common) -> Result<()> {
        let trained = Trained::<T>::open(&self.run, common)?;
        let mut trained = if self.tta { trained.with_views()? } else { trained };
        let (dataset, part) = held_out::<T>(&trained.kept, self.data.as_deref())?;
        common.say(format!("{} images from {}", dataset.len(), dataset.root.display()));
        let canvas = trained.session.task().canvas();
        let images = Images::load(dataset, canvas, trained.kept.settings.cache, &stop_if_interrupted)?;
        images.skipped().iter().for_each(|e| common.say(format!("skipped {e}")));
        let batch_size = usize::from(self.batch_size).try_into().map_err(|_| Error::config("--batch-size is 0"))?;
        let images = Arc::new(images);
        let targets = trained.session.task().targets(&images)?;
        let loader = Loader::new(images.clone(), LoaderOptions { batch_size, targets, ..LoaderOptions::default() });
        let seed = Seed(common.seed.unwrap_or(0));
        let evaluation = T::refine(trained.session.evaluate(&loader)?, Refinement::Thorough(seed));
        if let Some(part) = part.filter(|_| self.run.is_dir() && !self.tta) {
            let told = T::told(&mut trained.session, &evaluation, part, &images)?;
            report::write(&RunFolder::open(&self.run)?, Some(told))?;
        }
        if common.json {
            return super::print(super::json(&evaluation)?);
        }
        T::lines(&evaluation).into_iter().try_for_each(super::print)
    }
}

/// Pictures that a network was not trained on, in `data` or held out from its run's own, and then which part of that they are.
///
/// Errors: if there are none, or they have other classes.
pub(super) fn held_out<T: RunTask>(kept: &Kept, data: Option<&Path>) -> Result<(Dataset, Option<&'static str>)> {
    let Kept { settings, classes, .. } = kept;
    let open = |path: &Path| T::open_part(path, Part::Test, classes, &settings.options);
    if let Some(path) = data {
        return Ok((open(path)?, None));
    }
    if let Some(path) = settings.test.as_ref().or(settings.val.as_ref()) {
        return Ok((open(path)?, Some(judging_part(settings.test.is_some()).1)));
    }
    let splits = open_data::<T>(settings.data.as_deref(), &settings.options)?;
    let splits = validation_part::<T>(splits, settings)?;
    let (part, name) = judging_part(!splits.test.is_empty());
    let dataset = splits.into_part(part);
    if dataset.is_empty() {
        return Err(Error::config("the run held no pictures out: name some to evaluate on"));
    }
    Ok((T::labelled(dataset, classes)?, Some(name)))
}

fn stop_if_interrupted() -> Result<()> {
    if super::interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}
