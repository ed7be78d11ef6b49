use std::sync::Arc;

use super::sets::Sets;
use crate::data::{Images, Loader};
use crate::error::Result;
use crate::interop::tensorboard::Events;
use crate::report::{self, Facts, Part};
use crate::tasks::RunTask;
use crate::train::{EpochReport, Progress, RunFolder, Session, StepResult};

/// What a run leaves for readers besides its tables and weights.
pub(super) struct Record<'a> {
    folder: &'a RunFolder,
    facts: Facts,
    events: Events,
}

impl<'a> Record<'a> {
    /// Begins, or goes on where `progress` says.
    pub fn begin<T: RunTask>(
        folder: &'a RunFolder,
        session: &Session<T>,
        sets: &Sets,
        loader: &Loader,
        progress: &Progress,
    ) -> Result<Self> {
        let mut facts = Facts::read(folder)?;
        facts.waiting.retain(|&(epoch, _)| epoch <= progress.epoch);
        facts.interrupted = None;
        facts.device = session.device().name();
        facts.parameters = session.weights().parameters().entries().iter().map(|e| e.shape.elements()).sum();
        let parts = [("training", Some(&sets.train)), ("validation", sets.val.as_ref()), ("test", sets.test.as_ref())];
        let classes = &sets.train.dataset().classes;
        let part = |name, images: &Arc<Images>| {
            let dataset = images.dataset();
            Part::new(name, images, T::class_counts(dataset), classes)
        };
        facts.data = parts.into_iter().filter_map(|(name, images)| Some(part(name, images?))).collect();
        facts.findings.clone_from(&sets.findings);
        facts.save(folder)?;
        let mut events = Events::create(folder.path(), progress.step + 1)?;
        if let Some(batch) = loader.epoch(0).next() {
            let task = session.task();
            let batch = batch?;
            let captions = task.captions(&batch);
            let (png, size) = report::write_batch(folder, &batch, task.canvas(), &captions)?;
            events.png(progress.step, "first training batch", &png, size)?;
        }
        Ok(Self { folder, facts, events })
    }

    pub fn step(&mut self, result: &StepResult, learning_rate: f64) -> Result<()> {
        self.events.scalars(result.step, &[("step/loss", result.loss.into()), ("step/learning rate", learning_rate)])
    }

    pub fn epoch<T: RunTask>(&mut self, report: &EpochReport, session: &Session<T>) -> Result<()> {
        self.facts.waiting.push((report.epoch, report.waiting));
        self.facts.save(self.folder)?;
        let (EpochReport { step, train, val, .. }, metric) = (report, T::METRIC);
        let [train_metric, val_metric] = ["train", "val"].map(|part| format!("{metric}/{part}"));
        let mut scalars = vec![("loss/train", train.loss)];
        if !train.metric.is_nan() {
            scalars.push((&train_metric, train.metric));
        }
        scalars.extend(val.iter().flat_map(|v| [("loss/val", v.loss), (val_metric.as_str(), v.metric)]));
        scalars.push(("images per second", report.images_per_s));
        scalars.push(("share of time waiting for data", report.waiting));
        self.events.scalars(*step, &scalars)?;
        let weights = session.weights().tensors()?;
        // TensorBoard groups by what stands before a slash.
        let tag = |name: &str| name.replacen('.', "/", 1);
        self.events.histograms(*step, weights.iter().map(|(name, tensor)| (tag(name), tensor.f32())))?;
        self.events.flush()
    }

    /// After a run that was cut short: a report of what there is.
    pub fn interrupted(&mut self, step: u64) -> Result<()> {
        self.events.flush()?;
        self.facts.interrupted = Some(step);
        self.facts.save(self.folder)?;
        report::write(self.folder, None)
    }
}
