use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

/// Seconds of work in one submit. Windows and macOS take a GPU for hung, and reset it, if one submit keeps it busy for
/// about two seconds; and the longer a submit, the longer the screen stands still.
pub(super) const SUBMIT: f64 = 0.05;

/// How the dispatches of a run are divided into submits.
///
/// What each dispatch costs is guessed from its operations and bytes; how fast the device is, is measured run by run. A
/// single dispatch is never divided. Results do not depend on any of this.
pub(super) struct Pace {
    /// Seconds of each dispatch on an imagined device.
    costs: Vec<f64>,
    /// Seconds that a second of the imagined device takes here.
    factor: f64,
    measured: bool,
    slices: Vec<Slice>,
    started: VecDeque<Instant>,
    finished: Option<Instant>,
}

/// Dispatches which go into one submit, and their seconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slice {
    pub dispatches: Range<usize>,
    pub seconds: f64,
}

impl Pace {
    pub fn new(costs: Vec<f64>) -> Self {
        let slices = slices(&costs, 1.0);
        Self { costs, factor: 1.0, measured: false, slices, started: VecDeque::new(), finished: None }
    }

    /// Seconds of a dispatch on the imagined device: slower than a GPU, so that the first run does not take too much into
    /// a submit.
    pub fn cost(flops: u64, bytes: u64) -> f64 {
        10e-6 + flops as f64 / 100e9 + bytes as f64 / 20e9
    }

    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Notes that a run was submitted.
    pub fn start(&mut self) {
        self.started.push_back(Instant::now());
    }

    /// Notes that the results of the oldest run are here.
    pub fn finish(&mut self) {
        let now = Instant::now();
        if let Some(started) = self.started.pop_front() {
            let since = self.finished.map_or(started, |finished| finished.max(started));
            self.measure(now.duration_since(since).as_secs_f64());
        }
        self.finished = Some(now);
    }

    /// The fastest run counts: others wait for the driver's compiler, or for the host.
    fn measure(&mut self, seconds: f64) {
        let factor = seconds / self.costs.iter().sum::<f64>().max(1e-9);
        if !self.measured || factor < self.factor {
            self.measured = true;
            self.factor = factor;
            self.slices = slices(&self.costs, factor);
        }
    }
}

fn slices(costs: &[f64], factor: f64) -> Vec<Slice> {
    let mut slices: Vec<Slice> = Vec::new();
    for (i, cost) in costs.iter().enumerate() {
        let seconds = cost * factor;
        match slices.last_mut() {
            Some(slice) if slice.seconds + seconds <= SUBMIT => {
                slice.dispatches.end = i + 1;
                slice.seconds += seconds;
            }
            _ => slices.push(Slice { dispatches: i..i + 1, seconds }),
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(pace: &Pace) -> Vec<[usize; 2]> {
        pace.slices().iter().map(|s| [s.dispatches.start, s.dispatches.end]).collect()
    }

    #[test]
    fn submits_are_as_long_as_allowed() {
        let mut pace = Pace::new(vec![0.02, 0.02, 0.02, 0.3, 0.01]);
        assert_eq!(ranges(&pace), [[0, 2], [2, 3], [3, 4], [4, 5]]);
        pace.measure(3.7);
        assert_eq!(ranges(&pace), [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]);
        pace.measure(0.037);
        assert_eq!(ranges(&pace), [[0, 5]]);
        // A run that was held up says nothing about the device.
        pace.measure(1.0);
        assert_eq!(ranges(&pace), [[0, 5]]);
        assert!(Pace::new(Vec::new()).slices().is_empty());
    }
}
