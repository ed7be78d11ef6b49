use serde::Serialize;

use super::{Session, Task};
use crate::data::Loader;
use crate::error::{Error, Result};

/// The learning-rate range test: a short training whose rate rises evenly on a logarithmic scale, until the loss runs away.
///
/// Source: Smith 2017, <https://arxiv.org/abs/1506.01186>.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RangeTest {
    /// The first rate.
    pub least: f64,
    /// The last rate.
    pub most: f64,
    /// Steps from one to the other, at least 2.
    pub steps: u64,
}

/// A step of the test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Learning rate.
    pub lr: f64,
    /// Loss before the step.
    pub loss: f64,
    /// Mean of the losses so far, in which each counts 0.98 times as much as the next.
    pub smoothed: f64,
}

/// What the test brought: its steps, as far as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeResult {
    /// In order; all values are finite.
    pub tried: Vec<Tried>,
    mean: f64,
}

/// How much of the mean stays with each step.
const SMOOTHING: f64 = 0.98;
/// The smoothed loss has run away when it is so many times the least.
const RUNAWAY: f64 = 4.0;

impl RangeTest {
    fn rate(&self, step: u64) -> f64 {
        self.least * (self.most / self.least).powf((step - 1) as f64 / (self.steps - 1) as f64)
    }

    /// Trains a network, which is of no use afterwards; `observe` is told each step.
    ///
    /// Errors: if the rates or steps cannot be, a picture can no longer be read, or the device is lost; those of `observe`.
    pub fn run<T: Task>(
        &self,
        session: &mut Session<T>,
        loader: &Loader,
        mut observe: impl FnMut(&Tried) -> Result<()>,
    ) -> Result<RangeResult> {
        let rising = self.least > 0.0 && self.most > self.least && self.most.is_finite();
        if !rising || self.steps < 2 {
            let Self { least, most, steps } = self;
            return Err(Error::config(format!(
                "no learning rates can be tried from {least} to {most} in {steps} steps"
            )));
        }
        let mut batches = (0..).flat_map(|epoch| loader.epoch(epoch));
        let mut found = RangeResult::default();
        for step in 1..=self.steps {
            let batch = batches.next().ok_or_else(|| Error::config("there are no training images"))??;
            let mut results = session.train(&batch, step, self.rate(step))?;
            if step == self.steps {
                results.extend(session.results(0)?);
            }
            for result in results {
                if !found.add(self.rate(result.step), f64::from(result.loss)) {
                    return Ok(found);
                }
                found.tried.last().map_or(Ok(()), &mut observe)?;
            }
        }
        Ok(found)
    }
}

impl RangeResult {
    /// Whether to go on.
    fn add(&mut self, lr: f64, loss: f64) -> bool {
        if !loss.is_finite() {
            return false;
        }
        self.mean = SMOOTHING * self.mean + (1.0 - SMOOTHING) * loss;
        let smoothed = self.mean / (1.0 - SMOOTHING.powi(self.tried.len() as i32 + 1));
        self.tried.push(Tried { lr, loss, smoothed });
        let least = self.tried.iter().map(|t| t.smoothed).fold(f64::INFINITY, f64::min);
        smoothed <= RUNAWAY * least
    }

    /// The rate at the middle of the longest fall of the smoothed loss; `None` if it never fell.
    ///
    /// Source: the "valley" of fastai's learning-rate finder, which has it from ESRI's arcgis.
    pub fn suggestion(&self) -> Option<f64> {
        let [first, last] = self.longest_fall()?;
        Some(self.tried[usize::midpoint(first, last)].lr)
    }

    /// First and last of the most steps, not all of them next to each other, each lower than the one before.
    fn longest_fall(&self) -> Option<[usize; 2]> {
        let height = |i: usize| self.tried[i].smoothed;
        let mut falls: Vec<(usize, usize)> = Vec::with_capacity(self.tried.len());
        for i in 0..self.tried.len() {
            let before = (0..i).filter(|&j| height(i) < height(j)).map(|j| falls[j]).max_by_key(|fall| fall.0);
            falls.push(before.map_or((1, i), |(length, first)| (length + 1, first)));
        }
        let (last, &(length, first)) = falls.iter().enumerate().max_by_key(|(_, fall)| fall.0)?;
        (length > 1).then_some([first, last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Losses that are as they are, not smoothed.
    fn result(losses: &[f64]) -> RangeResult {
        let tried = losses.iter().enumerate();
        let tried = tried.map(|(i, &loss)| Tried { lr: 10_f64.powi(i as i32), loss, smoothed: loss }).collect();
        RangeResult { tried, mean: 0.0 }
    }

    #[test]
    fn rates_rise_by_a_factor() {
        let test = RangeTest { least: 1e-4, most: 1.0, steps: 5 };
        let rates: Vec<f64> = (1..=5).map(|step| test.rate(step)).collect();
        assert!(rates.iter().zip([1e-4, 1e-3, 1e-2, 1e-1, 1.0]).all(|(a, b)| (a / b - 1.0).abs() < 1e-12), "{rates:?}");
    }

    #[test]
    fn the_suggestion_lies_in_the_longest_fall() {
        let found = result(&[5.0, 5.1, 4.0, 4.2, 3.0, 1.0, 0.9, 7.0]);
        assert_eq!(found.longest_fall(), Some([1, 6]));
        assert_eq!(found.suggestion(), Some(1e3));
    }

    #[test]
    fn where_nothing_fell_nothing_is_suggested() {
        for losses in [&[][..], &[1.0], &[1.0, 1.0, 2.0]] {
            assert_eq!(result(losses).suggestion(), None, "{losses:?}");
        }
    }

    #[test]
    fn the_mean_is_not_drawn_to_zero_and_runaways_end_it() {
        let mut found = RangeResult::default();
        assert!(found.add(0.1, 2.0) && found.add(0.2, 2.0));
        assert!(found.tried.iter().all(|t| (t.smoothed - 2.0).abs() < 1e-12));
        assert!(!found.add(0.3, 1000.0));
        assert_eq!(found.tried.len(), 3);
        assert!(!found.add(0.4, f64::NAN));
        assert_eq!(found.tried.len(), 3);
    }
}
