use super::sets::Sets;
use crate::data::Loader;
use crate::error::Result;
use crate::report::{self, Facts, Part};
use crate::tasks::Classifier;
use crate::train::{EpochReport, Progress, RunFolder, Session};

/// What a run leaves for readers besides its tables and weights.
pub(super) struct Record<'a> {
    folder: &'a RunFolder,
    facts: Facts,
}

impl<'a> Record<'a> {
    /// Begins, or goes on where `progress` says.
    pub fn begin(
        folder: &'a RunFolder,
        session: &Session<Classifier>,
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
        facts.data = parts.into_iter().filter_map(|(name, images)| Some(Part::new(name, images?))).collect();
        facts.save(folder)?;
        if let Some(batch) = loader.epoch(0).next() {
            let task = session.task();
            report::write_batch(folder, &batch?, task.input(), &task.classes)?;
        }
        Ok(Self { folder, facts })
    }

    pub fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.facts.waiting.push((report.epoch, report.waiting));
        self.facts.save(self.folder)
    }

    /// After a run that was cut short: a report of what there is.
    pub fn interrupted(&mut self, step: u64) -> Result<()> {
        self.facts.interrupted = Some(step);
        self.facts.save(self.folder)?;
        report::write(self.folder, None)
    }
}
