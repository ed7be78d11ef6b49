use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::Common;
use super::train::{open_data, validation_part};
use super::trained::Trained;
use crate::data::{Dataset, Images, Loader, LoaderOptions, Part, Seed, open_labelled};
use crate::error::{Error, Result};
use crate::report::{self, Judged};
use crate::tasks::Evaluation;
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

/// Sets drawn for confidence intervals.
const RESAMPLES: u64 = 1000;

impl Evaluate {
    pub fn run(&self, common: &Common) -> Result<()> {
        let trained = Trained::open(&self.run, common)?;
        let mut trained = if self.tta { trained.with_views() } else { trained };
        let (dataset, part) = held_out(&trained.kept, self.data.as_deref())?;
        common.say(format!("{} images from {}", dataset.len(), dataset.root.display()));
        let shape = trained.session.task().input();
        let images = Images::load(dataset, shape, trained.kept.settings.cache, &stop_if_interrupted)?;
        images.skipped().iter().for_each(|e| common.say(format!("skipped {e}")));
        let batch_size = usize::from(self.batch_size).try_into().map_err(|_| Error::config("--batch-size is 0"))?;
        let images = Arc::new(images);
        let loader = Loader::new(images.clone(), LoaderOptions { batch_size, ..LoaderOptions::default() });
        let seed = Seed(common.seed.unwrap_or(0));
        let evaluation = trained.session.evaluate(&loader)?.with_intervals(RESAMPLES, seed);
        if let Some(part) = part.filter(|_| self.run.is_dir() && !self.tta) {
            let judged = Judged { part, images: &images, evaluation: &evaluation };
            report::write(&RunFolder::open(&self.run)?, Some(judged))?;
        }
        if common.json { super::print(super::json(&evaluation)?) } else { print_evaluation(&evaluation) }
    }
}

/// Pictures that a network was not trained on, in `data` or held out from its run's own, and then which part of that they are.
///
/// Errors: if there are none, or they have other classes.
pub(super) fn held_out(kept: &Kept, data: Option<&Path>) -> Result<(Dataset, Option<&'static str>)> {
    let Kept { settings, classes, .. } = kept;
    if let Some(path) = data {
        return Ok((open_labelled(path, Part::Test, classes)?, None));
    }
    if let Some(path) = settings.test.as_ref().or(settings.val.as_ref()) {
        let part = if settings.test.is_some() { "test" } else { "validation" };
        return Ok((open_labelled(path, Part::Test, classes)?, Some(part)));
    }
    let splits = validation_part(open_data(settings.data.as_deref())?, settings)?;
    let (part, name) = if splits.test.is_empty() { (Part::Val, "validation") } else { (Part::Test, "test") };
    let dataset = splits.into_part(part);
    if dataset.is_empty() {
        return Err(Error::config("the run held no pictures out: name some to evaluate on"));
    }
    Ok((dataset.with_classes(classes)?, Some(name)))
}

fn stop_if_interrupted() -> Result<()> {
    if super::interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Results as a table for people.
pub(super) fn print_evaluation(evaluation: &Evaluation) -> Result<()> {
    let m = &evaluation.metrics;
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    super::print(format!("samples    {}", evaluation.samples))?;
    super::print(format!("loss       {:.4}", evaluation.loss))?;
    let between = |interval: Option<[f64; 2]>| {
        interval
            .map_or(String::new(), |[least, most]| format!("   95 % interval {} to {}", percent(least), percent(most)))
    };
    let intervals = evaluation.intervals.as_ref();
    super::print(format!("accuracy   {}{}", percent(m.accuracy), between(intervals.and_then(|i| i.accuracy))))?;
    if let Some(area) = m.roc_auc {
        super::print(format!("ROC-AUC    {}{}", percent(area), between(intervals.and_then(|i| i.roc_auc))))?;
    }
    if evaluation.per_class.len() > 5 {
        super::print(format!("top-5      {}", percent(m.top5_accuracy)))?;
    }
    super::print(format!(
        "precision  {}   recall {}   F1 {} (means over classes)",
        percent(m.precision),
        percent(m.recall),
        percent(m.f1)
    ))?;
    super::print(format!(
        "Matthews   {:.3}   kappa {:.3}   calibration error {}",
        m.matthews,
        m.kappa,
        percent(m.calibration_error)
    ))?;
    let width = evaluation.per_class.keys().map(|k| k.chars().count()).max().unwrap_or(5).max(5);
    super::print(format!("\n{:<width$}  {:>9}  {:>9}  {:>9}  {:>7}", "class", "precision", "recall", "F1", "samples"))?;
    for (name, class) in &evaluation.per_class {
        let (p, r, f) = (percent(class.precision), percent(class.recall), percent(class.f1));
        super::print(format!("{name:<width$}  {p:>9}  {r:>9}  {f:>9}  {:>7}", class.support))?;
    }
    if !evaluation.operating_points.is_empty() {
        super::print(format!("\n{:<9}  {:>11}  {:>11}", "threshold", "sensitivity", "specificity"))?;
    }
    for point in &evaluation.operating_points {
        let (found, spared) = (percent(point.sensitivity), percent(point.specificity));
        super::print(format!("{:<9.1}  {found:>11}  {spared:>11}", point.threshold))?;
    }
    Ok(())
}
