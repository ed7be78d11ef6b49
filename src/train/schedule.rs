use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the learning rate changes over a run, as a factor of the one set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// A tenth after half of the run, a hundredth after three quarters (He et al. 2016,
    /// <https://arxiv.org/abs/1512.03385>).
    Step,
    /// Falls evenly on a logarithmic scale, to a hundredth.
    Exponential,
    /// Falls to 0 along half a cosine (Loshchilov & Hutter 2017, <https://arxiv.org/abs/1608.03983>).
    Cosine,
    /// Rises from 1/25 over the first 30 %, then falls to 0, both along half a cosine (Smith & Topin 2018,
    /// <https://arxiv.org/abs/1708.07120>).
    OneCycle,
}

impl Schedule {
    const ALL: [Self; 5] = [Self::Constant, Self::Step, Self::Exponential, Self::Cosine, Self::OneCycle];

    /// The factor at `step`, counted from 0, of `steps`; over the first `warmup` steps it rises linearly from near 0. Where more
    /// than that share of the time has been `spent`, the schedule goes by it, so that it comes to its end in time.
    ///
    /// Source: Li, Yumer & Ramanan, Budgeted Training, 2020, <https://arxiv.org/abs/1905.04753>.
    pub fn factor(self, step: u64, steps: u64, warmup: u64, spent: f64) -> f64 {
        if step < warmup {
            return (step + 1) as f64 / (warmup + 1) as f64;
        }
        let done = ((step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64).max(spent);
        match self {
            Self::Constant => 1.0,
            Self::Step if done < 0.5 => 1.0,
            Self::Step if done < 0.75 => 0.1,
            Self::Step => 0.01,
            Self::Exponential => 0.01_f64.powf(done),
            Self::Cosine => falling(done),
            Self::OneCycle if done < 0.3 => 1.0 / 25.0 + (1.0 - 1.0 / 25.0) * (1.0 - falling(done / 0.3)),
            Self::OneCycle => falling((done - 0.3) / 0.7),
        }
    }
}

/// From 1 at 0 to 0 at 1 along half a cosine.
fn falling(x: f64) -> f64 {
    0.5 * (1.0 + (PI * x.clamp(0.0, 1.0)).cos())
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Constant => "constant",
            Self::Step => "step",
            Self::Exponential => "exponential",
            Self::Cosine => "cosine",
            Self::OneCycle => "one-cycle",
        })
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = Self::ALL.map(|s| s.to_string()).join(", ");
        let unknown = || Error::config(format!("no schedule \"{name}\": there are {names}"));
        Self::ALL.into_iter().find(|s| s.to_string() == name).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_pass_through_their_known_points() {
        let at = |s: Schedule, step| s.factor(step, 1000, 0, 0.0);
        assert_eq!(at(Schedule::Constant, 999), 1.0);
        assert_eq!([0, 500, 750].map(|i| at(Schedule::Step, i)), [1.0, 0.1, 0.01]);
        assert!((at(Schedule::Exponential, 500) - 0.1).abs() < 1e-12);
        assert!((at(Schedule::Cosine, 500) - 0.5).abs() < 1e-12);
        assert!((at(Schedule::OneCycle, 0) - 0.04).abs() < 1e-12);
        assert!((at(Schedule::OneCycle, 300) - 1.0).abs() < 1e-12);
        assert!(at(Schedule::OneCycle, 999) < 1e-4);
    }

    #[test]
    fn a_schedule_goes_by_the_time_where_that_is_shorter() {
        let at = |step, spent| Schedule::Cosine.factor(step, 1000, 0, spent);
        assert_eq!(at(100, 0.5), at(500, 0.0));
        assert_eq!(at(100, 0.05), at(100, 0.0));
        assert_eq!(at(100, 1.0), 0.0);
    }

    #[test]
    fn warm_up_rises_to_the_schedule() {
        let factors: Vec<f64> = (0..5).map(|i| Schedule::Constant.factor(i, 100, 4, 0.0)).collect();
        assert_eq!(factors, [0.2, 0.4, 0.6, 0.8, 1.0]);
    }
}
