use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::dashboard::Dashboard;
use super::record::Record;
use super::running::Event;
use crate::cli::{Common, interrupt, interrupted, json, print, progress};
use crate::error::Result;
use crate::report::metric_name;
use crate::tasks::RunTask;
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

impl<T: RunTask> Observer<T> for Watcher<'_> {
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
            "loss {:.4}{}  {rate:.0} images/s, {:.0} % waiting for data, left",
            self.loss,
            told(T::METRIC, f64::from(self.right / self.seen as f32), 1),
            100.0 * waiting
        ));
        self.record.step(result, learning_rate)?;
        if self.log_steps {
            self.logged.push((*result, learning_rate));
        }
        Ok(())
    }

    fn epoch(&mut self, report: &EpochReport, session: &Session<T>, progress: &Progress) -> Result<()> {
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
            format!("   val loss {:.4}{}{}", v.loss, told(T::METRIC, v.metric, 2), if best { " *" } else { "" })
        });
        if let Some(ui) = &mut self.ui {
            ui.epoch(report)?;
        } else {
            self.bar.suspend(|| {
                self.common.say(format!(
                    "epoch {epoch:>3}   {seconds:>6.1} s   train loss {:.4}{}{val_text}   {images_per_s:.0} images/s, {:.0} % waiting for data",
                    train.loss,
                    told(T::METRIC, train.metric, 2),
                    100.0 * waiting
                ));
            });
        }
        if !self.common.json {
            return Ok(());
        }
        let number = |x: f64| serde_json::Value::from(x);
        let mut metrics = serde_json::Map::new();
        metrics.insert("train_loss".into(), number(train.loss));
        metrics.insert(format!("train_{}", T::METRIC), number(train.metric));
        metrics.insert("val_loss".into(), val.map(|v| v.loss).into());
        metrics.insert(format!("val_{}", T::METRIC), val.map(|v| v.metric).into());
        let lr = learning_rate;
        let waiting_for_data = waiting;
        let event: Event<'_, ()> = Event::Epoch { epoch, step, seconds, lr, metrics, images_per_s, waiting_for_data };
        print(json(&event)?)
    }

    fn wants_checkpoint(&self) -> bool {
        self.kept.elapsed() >= self.checkpoint_every
    }

    fn checkpoint(&mut self, session: &Session<T>, progress: &Progress) -> Result<()> {
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

/// The metric in a line; nothing where it is not known.
fn told(name: &str, metric: f64, digits: usize) -> String {
    match metric.is_nan() {
        true => String::new(),
        false => format!(" {} {:.digits$} %", metric_name(name), 100.0 * metric),
    }
}
