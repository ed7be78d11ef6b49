use std::time::Duration;

use serde::Serialize;

use super::Bench;
use super::costs::{Costs, StepCosts};
use super::network::{Ready, ready};
use crate::error::Result;

/// Where the time of a run goes.
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// `profile`.
    pub suite: &'static str,
    /// What was run.
    pub name: String,
    /// Where.
    pub device: String,
    /// Time of all steps together.
    pub ms: f64,
    /// Each step, the longest first.
    pub steps: Vec<StepTime>,
}

/// One step of a [`Profile`].
#[derive(Clone, Debug, Serialize)]
pub struct StepTime {
    /// The op, or `update` for the optimizer.
    pub op: &'static str,
    /// The layer it belongs to.
    pub layer: String,
    /// The kernel; `cpu` on the CPU.
    pub kernel: String,
    /// The result's extents.
    pub shape: Vec<usize>,
    /// Its time.
    pub ms: f64,
    /// 10^9 floating-point operations a second.
    pub gflops: f64,
    /// 10^9 bytes a second.
    pub gbytes_per_s: f64,
    /// The time that its operations take at the device's peak, or its bytes at the device's bandwidth, whichever is
    /// longer, as a share of the time it took (the roofline of Williams, Waterman & Patterson 2009,
    /// <https://doi.org/10.1145/1498765.1498785>). Above 1 where a kernel needs fewer operations than the op's
    /// definition, or finds its inputs in a cache.
    pub share_of_roofline: f64,
}

/// Runs of which the fastest counts, for each step.
const RUNS: usize = 10;

impl Bench {
    /// Takes the time of each step of a training step, or of a forward pass, of W1, W2 or W3.
    ///
    /// Errors: if the device fails, or there is no such network.
    pub fn profile(&self, name: &str, training: bool) -> Result<Profile> {
        let Ready { mut program, costs, scalars, .. } = ready(&self.device, name, training.then_some(self.precision))?;
        let times = program.profile(RUNS, &scalars)?;
        let mut steps: Vec<StepTime> = costs.steps.iter().zip(&times).map(|(s, &t)| self.step_time(s, t)).collect();
        if let (true, Some(&time)) = (training, times.get(costs.steps.len())) {
            steps.push(self.step_time(&update(&costs), time));
        }
        let ms = steps.iter().map(|s| s.ms).sum();
        steps.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        Ok(Profile { suite: "profile", name: name.to_owned(), device: self.device.name(), ms, steps })
    }

    fn step_time(&self, costs: &StepCosts, time: Duration) -> StepTime {
        let StepCosts { op, layer, kernel, shape, bytes, flops, .. } = costs.clone();
        let seconds = time.as_secs_f64().max(1e-9);
        let (gflops, gbytes_per_s) = (flops as f64 / seconds / 1e9, bytes as f64 / seconds / 1e9);
        let share_of_roofline = (gflops / self.peak.gflops).max(gbytes_per_s / self.peak.gbytes_per_s);
        StepTime { op, layer, kernel, shape, ms: seconds * 1e3, gflops, gbytes_per_s, share_of_roofline }
    }
}

/// The optimizer as a step: the traffic that no other accounts for.
fn update(costs: &Costs) -> StepCosts {
    let of_steps: u64 = costs.steps.iter().map(|s| s.bytes).sum();
    StepCosts { op: "update", bytes: costs.bytes_moved - of_steps, ..StepCosts::default() }
}
