use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::dashboard::Dashboard;
use super::loader_options;
use super::record::Record;
use super::sets::Sets;
use super::watcher::Watcher;
use crate::cli::{Common, interrupted, json, print};
use crate::data::{Images, Loader, LoaderOptions};
use crate::device::Arena;
use crate::error::{Error, Result};
use crate::interop::safetensors;
use crate::report;
use crate::tasks::{Refinement, RunTask};
use crate::train::{Culprit, Kept, Lock, Plan, Progress, RunFolder, Session, Settings, fit};

/// A line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub(super) enum Event<'a, E> {
    Epoch {
        epoch: u64,
        step: u64,
        seconds: f64,
        lr: f64,
        #[serde(flatten)]
        metrics: serde_json::Map<String, serde_json::Value>,
        images_per_s: f64,
        waiting_for_data: f64,
    },
    Done {
        run: &'a Path,
        device: String,
        seconds: f64,
        steps: u64,
        best_epoch: Option<u64>,
        part: Option<&'static str>,
        evaluation: Option<&'a E>,
    },
}

/// A run that has begun: its network on a device, its data, its folder, and how far it is.
pub(super) struct Running<T: RunTask> {
    pub session: Session<T>,
    pub sets: Sets,
    pub kept: Kept,
    pub folder: RunFolder,
    pub state: Progress,
    /// Nobody else may write to the folder meanwhile.
    pub _lock: Lock,
}

impl<T: RunTask> Running<T> {
    /// Trains to the end, or to that of an epoch.
    pub fn learn(&mut self, until: Option<u64>, ui: bool, common: &Common) -> Result<()> {
        let Self { session, sets, kept, folder, state, .. } = self;
        let s = &kept.settings;
        let loader = Loader::new(sets.train.clone(), loader_options(s, session.task().targets(&sets.train)?)?);
        let plan = plan(s, &loader, until);
        let moments = s.update().moments();
        let ui = if ui { Dashboard::open(s.model.clone(), session.device().name())? } else { None };
        let val = sets.val.as_ref().map(|images| steady(session.task(), images, kept)).transpose()?;
        let record = Record::begin(folder, session, sets, &loader, state)?;
        let mut watcher =
            Watcher::new(folder, s, moments, common, loader.batches() as u64, state.step, record).with_ui(ui);
        let outcome = fit(session, &loader, val.as_ref(), &plan, state, &mut watcher);
        watcher.finish()?;
        match outcome {
            Err(Error::Interrupted) => {
                folder.save_weights("last", &session.tensors()?)?;
                watcher.record.interrupted(state.step)?;
                let (step, at) = (state.step, folder.path().display());
                common.say(format!("interrupted after step {step}: saved; go on with ocellus train --resume {at}"));
                Err(Error::Interrupted)
            }
            outcome => {
                if let Some(most) = s.max_time.filter(|most| outcome.is_ok() && state.seconds >= most.as_secs_f64()) {
                    let (epoch, most) = (state.epoch, humantime::format_duration(most));
                    common.say(format!("the time is up: stopped in epoch {epoch}, after {most}"));
                }
                outcome.map(drop)
            }
        }
    }

    /// After training has diverged: goes back to a checkpoint, repeats the steps to the one whose loss was no number, or huge,
    /// and says which op or weights made it so. The run can go on from that checkpoint.
    ///
    /// Errors: as training.
    pub fn explain(&mut self, diverged: u64, common: &Common) -> Result<Error> {
        self.go_back(diverged)?;
        let (good, s) = (self.state.step, &self.kept.settings);
        common.say(format!("training diverged at step {diverged}: looking why, from step {good} on"));
        let loader =
            Loader::new(self.sets.train.clone(), loader_options(s, self.session.task().targets(&self.sets.train)?)?);
        let plan = plan(s, &loader, None);
        let per_epoch = loader.batches() as u64;
        let epoch = self.state.epoch + 1 + (diverged - 1 - self.state.begun_at(per_epoch)) / per_epoch;
        let why = self.culprit(diverged, &loader, &plan)?;
        let why = why.map_or_else(|| "why could not be found out".to_owned(), |c| c.to_string());
        let s = &self.kept.settings;
        let slower = (s.learning_rate / 10.0).min(s.optimizer.default_learning_rate());
        let how = if good + 1 == diverged {
            "lead there at any learning rate: begin anew with others, or another --model".to_owned()
        } else {
            let at = self.folder.path().display();
            format!("are kept: go on from them with ocellus train --resume {at} --lr {slower}, or with --grad-clip 1")
        };
        let rate = plan.rate(diverged, per_epoch, self.state.seconds);
        let message = format!(
            "training diverged in epoch {epoch}, at step {diverged} (learning rate {rate}): {why}\n  the weights of step {good} {how}"
        );
        Ok(Error::Diverged { step: diverged, message })
    }

    /// Restores the newest checkpoint; the one before it, if the first loss since then is the one that diverged, as its weights
    /// are spoilt already.
    fn go_back(&mut self, diverged: u64) -> Result<()> {
        let Self { session, kept, folder, state, .. } = self;
        let moments = kept.settings.update().moments();
        *state = folder.load_checkpoint(session.weights(), moments)?;
        let newest_best = state.best;
        let spoilt = state.step + 1 == diverged && folder.go_back()?;
        if spoilt {
            *state = folder.load_checkpoint(session.weights(), moments)?;
        }
        for (name, spoilt) in [("best", spoilt && state.best != newest_best), ("last", spoilt)] {
            if spoilt || !folder.path().join(format!("{name}.safetensors")).exists() {
                folder.save_weights(name, &session.tensors()?)?;
            }
        }
        Ok(())
    }

    /// Repeats the steps to the one that diverged, and looks into it.
    fn culprit(&mut self, diverged: u64, loader: &Loader, plan: &Plan) -> Result<Option<Culprit>> {
        let Self { session, state, .. } = self;
        let per_epoch = loader.batches() as u64;
        let this = loader.epoch_from(state.epoch, (state.step - state.begun_at(per_epoch)) as usize);
        // A checkpoint at the end of an epoch may have been spoilt by its last step.
        let next = std::iter::once(state.epoch + 1).flat_map(|epoch| loader.epoch(epoch));
        for (step, batch) in (state.step + 1..).zip(this.chain(next)) {
            if interrupted() {
                return Err(Error::Interrupted);
            }
            let batch = batch?;
            if step == diverged {
                return session.diagnose(&batch, step).map(Some);
            }
            let before = if step + 1 == diverged { Some(session.weights().read(Arena::Parameters)?) } else { None };
            session.train(&batch, step, plan.rate(step, per_epoch, state.seconds))?;
            session.results(0)?;
            let Some(before) = before else { continue };
            if session.weights().read(Arena::Parameters)?.iter().any(|x| !x.is_finite()) {
                // The step before it had a loss, but no gradient that could be followed.
                session.weights().write(Arena::Parameters, &before);
                return session.diagnose(&batch, step).map(Some);
            }
        }
        Ok(None)
    }

    /// Judges the best weights on what was held out, and says where everything is.
    pub fn conclude(mut self, common: &Common) -> Result<()> {
        let best = safetensors::load(self.folder.path().join("best.safetensors"))?;
        self.session.weights().set(|name| best.get(name))?;
        let Self { session, sets, kept, folder, state, .. } = &mut self;
        let val = sets.val.as_ref().map(|images| steady(session.task(), images, kept)).transpose()?;
        T::after_training(session, val.as_ref(), kept, folder)?.into_iter().for_each(|line| common.say(line));
        let part = match (&sets.test, &sets.val) {
            (Some(images), _) => Some(("test", images)),
            (None, Some(images)) => Some(("validation", images)),
            (None, None) => None,
        };
        let loader = part.map(|(_, images)| steady(session.task(), images, kept)).transpose()?;
        let evaluation = loader.map(|loader| session.evaluate(&loader)).transpose()?;
        let groups = part.and_then(|(_, images)| images.dataset().groups());
        let evaluation = match (evaluation, groups) {
            (Some(evaluation), Some(groups)) => Some(T::in_groups(evaluation, groups)),
            (evaluation, _) => evaluation,
        };
        let evaluation = evaluation.map(|evaluation| T::refine(evaluation, Refinement::Quick));
        let judged = part.zip(evaluation.as_ref());
        judged.map_or(Ok(()), |((part, _), evaluation)| report::keep_evaluation(folder, part, evaluation))?;
        let told = judged.map(|((part, images), evaluation)| T::told(session, evaluation, part, images));
        report::write(folder, told.transpose()?)?;
        if common.json {
            return print(json(&Event::Done {
                run: folder.path(),
                device: session.device().name(),
                seconds: state.seconds,
                steps: state.step,
                best_epoch: state.best.map(|b| b.epoch),
                part: part.map(|(name, _)| name),
                evaluation: evaluation.as_ref(),
            })?);
        }
        if let (Some((name, _)), Some(evaluation)) = (part, &evaluation) {
            let epoch = state.best.map_or(0, |b| b.epoch);
            print(format!("\nBest weights (epoch {epoch}) on the {name} images:"))?;
            T::lines(evaluation).into_iter().try_for_each(print)?;
        }
        let at = folder.path().display();
        common.say(format!("\nReport: {at}/report.html"));
        common.say(format!("Next: ocellus predict {at} PICTURE…   ocellus evaluate {at} DATA"));
        Ok(())
    }
}

fn plan(s: &Settings, loader: &Loader, until: Option<u64>) -> Plan {
    Plan {
        epochs: s.epochs,
        learning_rate: s.learning_rate,
        schedule: s.schedule,
        warmup: (s.warmup * loader.batches() as f64).round() as u64,
        patience: s.patience,
        max_steps: s.max_steps,
        max_time: s.max_time,
        until,
    }
}

/// Shows pictures that are not trained on.
fn steady<T: RunTask>(task: &T, images: &Arc<Images>, kept: &Kept) -> Result<Loader> {
    let s = &kept.settings;
    let batch_size = NonZero::new(s.batch_size).ok_or_else(|| Error::config("--batch-size is 0"))?;
    let (workers, targets) = (s.workers.and_then(NonZero::new), task.targets(images)?);
    Ok(Loader::new(images.clone(), LoaderOptions { batch_size, workers, targets, ..LoaderOptions::default() }))
}

pub(super) fn announce<T: RunTask>(session: &Session<T>, bytes: u64, kept: &Kept, folder: &RunFolder, common: &Common) {
    let s = &kept.settings;
    let [h, w, c] = kept.model.input;
    let layout = session.weights().parameters();
    let parameters: usize = layout.entries().iter().map(|e| e.shape.elements()).sum();
    common.say(format!("model    {} on {h}x{w}x{c}, {parameters} trained parameters", s.model));
    let step = s.batch_size * s.accumulate;
    let parts = if session.part() < step { format!(" in parts of {}", session.part()) } else { String::new() };
    common.say(format!("device   {}   seed {}   batch {step}{parts}", session.device().name(), s.seed));
    common.say(format!("memory   {:.1} MiB", bytes as f64 / f64::from(1 << 20)));
    common.say(format!("run      {}", folder.path().display()));
}
