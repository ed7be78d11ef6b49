use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Deserializer, Serialize};

use super::{Schedule, Session, StepResult, Summary, Task};
use crate::data::Loader;
use crate::error::{Error, Result};

/// How long and how fast to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Times each picture is shown.
    pub epochs: u64,
    /// The learning rate that the schedule scales.
    pub learning_rate: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// Steps over which it rises at the start.
    pub warmup: u64,
    /// Epochs without improvement after which to stop.
    pub patience: Option<u64>,
    /// Steps after which to stop.
    pub max_steps: Option<u64>,
    /// Time after which to stop, earlier parts of a resumed run included; the schedule comes to its end by then.
    pub max_time: Option<Duration>,
    /// Epochs after which to pause: the schedule goes on to the end.
    pub until: Option<u64>,
}

/// Where a run stands: with the weights and moments, enough to go on from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Epochs done.
    pub epoch: u64,
    /// Steps done; more than whole epochs if the run was interrupted in the middle of one.
    pub step: u64,
    /// Steps that were done when the epoch under way began; without it, those of so many whole epochs.
    #[serde(default)]
    pub first: Option<u64>,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// Seconds spent.
    pub seconds: f64,
    /// Loss of the first step.
    #[serde(default)]
    first_loss: Option<f32>,
    /// What the epoch under way has brought so far.
    sums: Sums,
}

impl Progress {
    /// Steps that were done when the epoch under way began.
    pub fn begun_at(&self, steps_per_epoch: u64) -> u64 {
        self.first.unwrap_or(self.epoch * steps_per_epoch)
    }
}

impl Plan {
    /// Steps to the end.
    fn steps(&self, per_epoch: u64) -> u64 {
        (self.epochs * per_epoch).min(self.max_steps.unwrap_or(u64::MAX))
    }

    /// The learning rate of a step, counted from 1, after so many seconds.
    pub fn rate(&self, step: u64, per_epoch: u64, seconds: f64) -> f64 {
        let spent = self.max_time.map_or(0.0, |most| (seconds / most.as_secs_f64()).min(1.0));
        self.learning_rate * self.schedule.factor(step - 1, self.steps(per_epoch), self.warmup, spent)
    }
}

/// The best epoch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Which, counted from 1.
    pub epoch: u64,
    /// What it was measured by; higher is better.
    #[serde(deserialize_with = "number")]
    pub score: f64,
    /// Its loss.
    #[serde(deserialize_with = "number")]
    pub loss: f64,
}

/// JSON has null for what is infinite or no number.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// What an epoch brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    /// Which, counted from 1.
    pub epoch: u64,
    /// Steps done so far.
    pub step: u64,
    /// Time since the start of the run, in seconds.
    pub seconds: f64,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Mean loss and metric over its training steps, as they were met.
    pub train: Summary,
    /// Loss and metric on the validation set, if there is one.
    pub val: Option<Summary>,
    /// Training images a second.
    pub images_per_s: f64,
    /// Share of the training time spent waiting for data.
    pub waiting: f64,
    /// Whether it is the best so far.
    pub best: bool,
}

/// Who wants to know how training goes, and may end it.
pub trait Observer<T: Task> {
    /// After each step whose result is known; `learning_rate` is the step's.
    ///
    /// Errors: end the run.
    fn step(&mut self, _result: &StepResult, _learning_rate: f64, _of: StepOf) -> Result<()> {
        Ok(())
    }

    /// After each epoch.
    ///
    /// Errors: end the run.
    fn epoch(&mut self, _report: &EpochReport, _session: &Session<T>, _progress: &Progress) -> Result<()> {
        Ok(())
    }

    /// Whether to keep the state now, in the middle of an epoch.
    fn wants_checkpoint(&self) -> bool {
        false
    }

    /// Keeps the state: in the middle of an epoch, when it wants to or interrupts.
    ///
    /// Errors: end the run.
    fn checkpoint(&mut self, _session: &Session<T>, _progress: &Progress) -> Result<()> {
        Ok(())
    }

    /// Whether to stop after this step: Ctrl-C.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Where in its epoch a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepOf {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Epochs there will be.
    pub epochs: u64,
    /// Which of the epoch's steps, counted from 1.
    pub index: u64,
    /// Steps of the epoch.
    pub steps: u64,
    /// Time the epoch has spent waiting for data so far.
    pub waited: Duration,
}

/// An observer that looks away.
pub struct Quiet;

impl<T: Task> Observer<T> for Quiet {}

/// Trains: shows every picture in each epoch, measures after it on the validation set, remembers the best epoch.
///
/// "Best" is by the validation metric, ties by the smaller loss; without a validation set, by the training loss.
///
/// Errors: if the loss becomes NaN, infinite or huge ([`Error::Diverged`]), the observer interrupts ([`Error::Interrupted`]), a
/// picture cannot be read any more, or the device is lost.
pub fn fit<T: Task>(
    session: &mut Session<T>,
    train: &Loader,
    val: Option<&Loader>,
    plan: &Plan,
    progress: &mut Progress,
    observer: &mut dyn Observer<T>,
) -> Result<Vec<EpochReport>> {
    let steps_per_epoch = train.batches() as u64;
    let steps = plan.steps(steps_per_epoch);
    let earlier = progress.seconds;
    let start = Instant::now();
    let spent = || earlier + start.elapsed().as_secs_f64();
    // Results come some steps later.
    let mut rates = VecDeque::new();
    let mut learning_rate = plan.rate(progress.step.max(1), steps_per_epoch, earlier);
    let mut reports = Vec::new();
    let in_time = || plan.max_time.is_none_or(|most| spent() < most.as_secs_f64());
    let idle = |p: &Progress| p.best.map_or(0, |best| p.epoch - best.epoch);
    let patient = |p: &Progress| plan.patience.is_none_or(|most| idle(p) < most);
    // An epoch may have had its last step, but not its end.
    let under_way = |p: &Progress| p.step < steps || p.sums.samples > 0;
    let epochs = plan.epochs.min(plan.until.unwrap_or(u64::MAX));
    // An epoch that has begun is ended, and there is one at least.
    let due = |p: &Progress| p.sums.samples > 0 || p.best.is_none() || in_time();
    while progress.epoch < epochs && under_way(progress) && patient(progress) && due(progress) {
        let epoch_start = Instant::now();
        let (epoch, first) = (progress.epoch, progress.begun_at(steps_per_epoch));
        let of = |step, waited| {
            let index = step - first;
            StepOf { epoch: epoch + 1, epochs: plan.epochs, index, steps: steps_per_epoch, waited }
        };
        let mut take = |progress: &mut Progress,
                        rates: &mut VecDeque<f64>,
                        results: Vec<StepResult>,
                        waited,
                        observer: &mut dyn Observer<T>| {
            for result in results {
                learning_rate = rates.pop_front().unwrap_or(learning_rate);
                let first = *progress.first_loss.get_or_insert(result.loss);
                expect_sane(&result, first, learning_rate)?;
                progress.sums.add(&result);
                observer.step(&result, learning_rate, of(result.step, waited))?;
            }
            Ok::<(), Error>(())
        };
        let before = progress.sums.samples;
        let mut batches = train.epoch_from(epoch, (progress.step - first) as usize);
        while progress.step < steps && (progress.step == first || in_time()) {
            let Some(batch) = batches.next() else { break };
            let rate = plan.rate(progress.step + 1, steps_per_epoch, spent());
            rates.push_back(rate);
            let results = session.train(&batch?, progress.step + 1, rate)?;
            progress.step += 1;
            take(progress, &mut rates, results, batches.waited(), observer)?;
            let interrupted = observer.interrupted();
            if interrupted || observer.wants_checkpoint() {
                take(progress, &mut rates, session.results(0)?, batches.waited(), observer)?;
                progress.seconds = spent();
                observer.checkpoint(session, progress)?;
            }
            if interrupted {
                return Err(Error::Interrupted);
            }
        }
        take(progress, &mut rates, session.results(0)?, batches.waited(), observer)?;
        let seconds = epoch_start.elapsed().as_secs_f64().max(1e-9);
        let waiting = batches.waited().as_secs_f64() / seconds;
        drop(batches);
        let samples = progress.sums.samples - before;
        let train_summary = std::mem::take(&mut progress.sums).summary();
        let val = val.map(|v| session.validate(v)).transpose()?.map(|e| T::summary(&e));
        progress.epoch += 1;
        progress.first = Some(progress.step);
        progress.seconds = spent();
        let (score, loss) = val.map_or((-train_summary.loss, train_summary.loss), |v| (v.metric, v.loss));
        let best = progress.best.is_none_or(|b| score > b.score || (score == b.score && loss < b.loss));
        if best {
            progress.best = Some(Best { epoch: progress.epoch, score, loss });
        }
        let report = EpochReport {
            epoch: progress.epoch,
            step: progress.step,
            seconds: progress.seconds,
            learning_rate,
            train: train_summary,
            val,
            images_per_s: samples as f64 / seconds,
            waiting,
            best,
        };
        observer.epoch(&report, session, progress)?;
        reports.push(report);
    }
    progress.seconds = spent();
    Ok(reports)
}

/// A loss so many times as large as the first is no loss to learn from.
const RUNAWAY: f32 = 1e4;

fn expect_sane(result: &StepResult, first: f32, learning_rate: f64) -> Result<()> {
    let &StepResult { step, loss, .. } = result;
    if loss.is_finite() && loss <= RUNAWAY * first.max(1.0) {
        return Ok(());
    }
    let advice = "try a smaller --lr or --grad-clip 1";
    let message = format!("the loss became {loss:.3e} at step {step} (learning rate {learning_rate}); {advice}");
    Err(Error::Diverged { step, message })
}

/// Running means over an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    loss: f64,
    #[serde(deserialize_with = "number")]
    metric: f64,
    samples: usize,
}

impl Sums {
    fn add(&mut self, result: &StepResult) {
        self.loss += f64::from(result.loss) * result.samples as f64;
        self.metric += f64::from(result.metric_sum);
        self.samples += result.samples;
    }

    fn summary(&self) -> Summary {
        let n = self.samples.max(1) as f64;
        Summary { loss: self.loss / n, metric: self.metric / n }
    }
}
