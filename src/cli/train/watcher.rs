use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::dashboard::Dashboard;
use super::record::Record;
use super::running::Event;
use crate::cli::{Common, interrupt, interrupted, json, print, progress};
use crate::error::Result;
use crate::tasks::Classifier;
use crate::train::{EpochReport, Observer, Progress, RunFolder, Session, Settings, StepOf, StepResult};

/// Shows and keeps what training brings.
pub(super) struct Watcher<'a> {
    folder: &'a RunFolder,
    common: &'a Common,
    moments: usize,
    checkpoint_every: Duration,
    kept: Instant,
    /// The step of the checkpoint.
    kept_at: u64,
    log_steps: bool,
    logged: Vec<(StepResult, f64)>,
    bar: ProgressBar,
    started: Instant,
    loss: f32,
    /// Of the epoch so far: the metric's sum, and the pictures.
    right: f32,
    seen: usize,
    pub record: Record<'a>,
    ui: Option<Dashboard>,
}

impl<'a> Watcher<'a> {
    pub fn new(
        folder: &'a RunFolder,
        s: &Settings,
        moments: usize,
        common: &'a Common,
        steps: u64,
        step: u64,
        record: Record<'a>,
    ) -> Self {
        let bar = progress::bar(common, steps, "epoch");
        Self {
            folder,
            common,
            moments,
            checkpoint_every: s.checkpoint_every,
            kept: Instant::now(),
            kept_at: step,
            log_steps: s.log_steps,
            logged: Vec::new(),
            bar,
            started: Instant::now(),
            loss: 0.0,
            right: 0.0,
            seen: 0,
            record,
            ui: None,
        }
    }

    /// On the whole screen instead of in lines.
    pub fn with_ui(mut self, ui: Option<Dashboard>) -> Self {
        if ui.is_some() {
            self.bar = ProgressBar::hidden();
        }
        self.ui = ui;
        self
    }

    pub fn finish(&mut self) -> Result<()> {
        self.bar.finish_and_clear();
        self.ui = None;
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if !self.logged.is_empty() {
            self.folder.log_steps(&self.logged)?;
        }
        self.logged.clear();
        Ok(())
    }
}

impl Observer<Classifier> for Watcher<'_> {
    fn step(&mut self, result: &StepResult, learning_rate: f64, of: StepOf) -> Result<()> {
        if of.index == 1 {
            self.started = Instant::now();
            self.bar.reset();
            self.bar.set_prefix(format!("epoch {}/{}", of.epoch, of.epochs));
            self.loss = result.loss;
            (self.right, self.seen) = (0.0, 0);
        }
        self.loss += 0.05 * (result.loss - self.loss);
        let rate = of.index as f64 * result.samples as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_position(of.index);
        self.right += result.metric_sum;
        self.seen += result.samples;
        let waiting = (of.waited.as_secs_f64() / self.started.elapsed().as_secs_f64().max(1e-3)).min(1.0);
        if let Some(ui) = &mut self.ui
            && ui.step(result, of, rate, waiting)?
        {
            interrupt();
        }
        self.bar.set_message(format!(
            "loss {:.4}  accuracy {:.1} %  {rate:.0} images/s, {:.0} % waiting for data, left",
            self.loss,
            100.0 * self.right / self.seen as f32,
            100.0 * waiting
        ));
        self.record.step(result, learning_rate)?;
        if self.log_steps {
            self.logged.push((*result, learning_rate));
        }
        Ok(())
    }

    fn epoch(&mut self, report: &EpochReport, session: &Session<Classifier>, progress: &Progress) -> Result<()> {
        self.folder.log_epoch(report)?;
        self.record.epoch(report, session)?;
        let weights = session.tensors()?;
        if report.best {
            self.folder.save_weights("best", &weights)?;
        }
        self.folder.save_weights("last", &weights)?;
        self.checkpoint(session, progress)?;
        let EpochReport { epoch, step, seconds, learning_rate, train, val, images_per_s, waiting, best } = *report;
        let val_text = val.map_or(String::new(), |v| {
            format!("   val loss {:.4} accuracy {:.2} %{}", v.loss, 100.0 * v.metric, if best { " *" } else { "" })
        });
        if let Some(ui) = &mut self.ui {
            ui.epoch(report)?;
        } else {
            self.bar.suspend(|| {
                self.common.say(format!(
                    "epoch {epoch:>3}   {seconds:>6.1} s   train loss {:.4} accuracy {:.2} %{val_text}   {images_per_s:.0} images/s, {:.0} % waiting for data",
                    train.loss,
                    100.0 * train.metric,
                    100.0 * waiting
                ));
            });
        }
        if !self.common.json {
            return Ok(());
        }
        print(json(&Event::Epoch {
            epoch,
            step,
            seconds,
            lr: learning_rate,
            train_loss: train.loss,
            train_accuracy: train.metric,
            val_loss: val.map(|v| v.loss),
            val_accuracy: val.map(|v| v.metric),
            images_per_s,
            waiting_for_data: waiting,
        })?)
    }

    fn wants_checkpoint(&self) -> bool {
        self.kept.elapsed() >= self.checkpoint_every
    }

    fn checkpoint(&mut self, session: &Session<Classifier>, progress: &Progress) -> Result<()> {
        self.flush()?;
        if progress.step > self.kept_at {
            self.folder.keep_earlier()?;
        }
        self.folder.save_checkpoint(session.weights(), session.device(), self.moments, progress)?;
        (self.kept, self.kept_at) = (Instant::now(), progress.step);
        Ok(())
    }

    fn interrupted(&self) -> bool {
        interrupted()
    }
}
