use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::seed::Seed;

/// Settings to search: option names of `ocellus train` with what they may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space(BTreeMap<String, Choice>);

/// What an option may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Choice {
    /// One of some values.
    OneOf(Vec<toml::Value>),
    /// A number from a range.
    Between {
        /// The least.
        from: f64,
        /// The most.
        to: f64,
        /// Drawn evenly on a logarithmic scale, or a linear one.
        #[serde(default)]
        scale: Scale,
    },
}

/// How numbers of a range are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Evenly by their logarithms.
    #[default]
    Log,
    /// Evenly.
    Linear,
}

/// Options with their values, as text.
pub type Options = BTreeMap<String, String>;

impl Space {
    /// What is worth searching for most classifiers: learning rate, weight decay, batch, augmentation, label smoothing.
    pub fn usual() -> Self {
        let between = |from, to| Choice::Between { from, to, scale: Scale::Log };
        let one_of = |values: &[toml::Value]| Choice::OneOf(values.to_vec());
        let texts = |texts: &[&str]| Choice::OneOf(texts.iter().map(|&t| t.into()).collect());
        Self(BTreeMap::from([
            ("lr".into(), between(1e-4, 1e-2)),
            ("optimizer".into(), texts(&["adamw"])),
            ("weight-decay".into(), between(1e-4, 1e-1)),
            ("batch-size".into(), one_of(&[16.into(), 32.into(), 64.into()])),
            ("augment".into(), texts(&["none", "light", "standard"])),
            ("label-smoothing".into(), one_of(&[0.0.into(), 0.1.into()])),
        ]))
    }

    /// Reads one from a TOML file: `lr = { from = 1e-4, to = 1e-2 }`, `batch-size = [16, 32]`.
    ///
    /// Errors: if it cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let space: Self = toml::from_str(&text).map_err(|e| Error::format(path, e.to_string().trim_end()))?;
        for (name, choice) in &space.0 {
            choice.check().map_err(|message| Error::format(path, format!("{name}: {message}")))?;
        }
        Ok(space)
    }

    /// Without the options of these names.
    pub fn without(mut self, names: &[&str]) -> Self {
        self.0.retain(|name, _| !names.contains(&name.as_str()));
        self
    }

    /// The options, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Options drawn at random; they depend on nothing but the seed and the number.
    pub fn draw(&self, seed: Seed, trial: u64) -> Options {
        let mut rng = seed.generator("tune", &[trial]);
        let draw = |choice: &Choice, share: f64| match choice {
            Choice::OneOf(values) => text(&values[((share * values.len() as f64) as usize).min(values.len() - 1)]),
            Choice::Between { from, to, scale: Scale::Log } => rounded(from * (to / from).powf(share)),
            Choice::Between { from, to, scale: Scale::Linear } => rounded(from + (to - from) * share),
        };
        self.0.iter().map(|(name, choice)| (name.clone(), draw(choice, rng.random()))).collect()
    }

    /// All combinations.
    ///
    /// Errors: if an option is a range.
    pub fn grid(&self) -> Result<Vec<Options>> {
        let mut all = vec![Options::new()];
        for (name, choice) in &self.0 {
            let Choice::OneOf(values) = choice else {
                let message = format!("a grid cannot go over the range of {name}: give a list of values");
                return Err(Error::config(message));
            };
            let with = |options: &Options, value| {
                let mut options = options.clone();
                options.insert(name.clone(), text(value));
                options
            };
            all = all.iter().flat_map(|options| values.iter().map(move |value| with(options, value))).collect();
        }
        Ok(all)
    }
}

impl Choice {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::OneOf(values) if values.is_empty() => Err("there is nothing to choose from".into()),
            Self::Between { from, to, scale } => {
                let least = if *scale == Scale::Log { f64::MIN_POSITIVE } else { f64::MIN };
                let ok = from.is_finite() && to.is_finite() && from < to && *from >= least;
                ok.then_some(()).ok_or_else(|| format!("no numbers lie from {from} to {to} on a {scale:?} scale"))
            }
            Self::OneOf(_) => Ok(()),
        }
    }
}

fn text(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// To three digits, which a person can type.
fn rounded(value: f64) -> String {
    format!("{value:.2e}").parse::<f64>().map_or_else(|_| value.to_string(), |v| v.to_string())
}

/// What is known of a trial.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trial {
    /// The validation metric after each epoch.
    pub scores: Vec<f64>,
    /// Whether it cannot go on: its loss became infinite, or its settings cannot be.
    pub failed: bool,
}

impl Trial {
    /// The best metric of the first epochs.
    fn best(&self, epochs: u64) -> f64 {
        let scores = &self.scores[..self.scores.len().min(epochs as usize)];
        if self.failed { f64::NEG_INFINITY } else { scores.iter().copied().fold(f64::NEG_INFINITY, f64::max) }
    }

    fn epochs(&self) -> u64 {
        self.scores.len() as u64
    }
}

/// Which trial is trained next, and for how long: asynchronous successive halving. All trials are trained to the first
/// rung, of these the best third to the second, and so on; with one rung, all to the end.
///
/// Source: Li et al., A system for massively parallel hyperparameter tuning, 2020, <https://arxiv.org/abs/1810.05934>.
#[derive(Clone, Debug, PartialEq)]
pub struct Halving {
    /// Epochs, rising.
    rungs: Vec<u64>,
    trials: usize,
}

/// Of so many trials at a rung, one goes on.
const FACTOR: usize = 3;
/// More rungs would begin with too few epochs to tell anything.
const MOST_RUNGS: u32 = 3;

/// A trial to be trained until it has so many epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Which trial, counted from 0.
    pub trial: usize,
    /// Epochs it has then.
    pub epochs: u64,
}

impl Halving {
    /// Of so many trials, each trained for so many epochs at most.
    pub fn new(trials: usize, epochs: u64) -> Self {
        let mut rungs: Vec<u64> = (0..MOST_RUNGS).map(|k| epochs / (FACTOR as u64).pow(k)).filter(|&r| r > 0).collect();
        rungs.reverse();
        Self { rungs, trials }
    }

    /// Each trial is trained to the end.
    pub fn without_halving(trials: usize, epochs: u64) -> Self {
        Self { rungs: vec![epochs], trials }
    }

    /// The next job; `None` when all is done. It depends on nothing but what is known of the trials begun, so that a
    /// search can be taken up where it was left.
    pub fn next(&self, begun: &[Trial]) -> Option<Job> {
        let interrupted = begun.iter().position(|t| !t.failed && !self.rungs.contains(&t.epochs()));
        let next_rung = |epochs: u64| self.rungs.iter().copied().find(|&rung| rung > epochs);
        if let Some(trial) = interrupted
            && let Some(epochs) = next_rung(begun[trial].epochs())
        {
            return Some(Job { trial, epochs });
        }
        let steps = self.rungs.windows(2).rev();
        let promoted = steps.clone().find_map(|step| self.promoted(begun, [step[0], step[1]], false));
        let fresh = || (begun.len() < self.trials).then_some(Job { trial: begun.len(), epochs: self.rungs[0] });
        let finished = |t: &Trial| next_rung(t.epochs()).is_none();
        // Few trials may leave no third to go on: the best one is trained to the end in any case.
        let last = || match begun.iter().any(finished) {
            true => None,
            false => steps.clone().find_map(|step| self.promoted(begun, [step[0], step[1]], true)),
        };
        promoted.or_else(fresh).or_else(last)
    }

    /// A trial that goes on from one rung to the next: among the best third, or the best.
    fn promoted(&self, begun: &[Trial], [rung, next]: [u64; 2], best: bool) -> Option<Job> {
        let mut there: Vec<usize> =
            (0..begun.len()).filter(|&i| begun[i].failed || begun[i].epochs() >= rung).collect();
        there.sort_by(|&a, &b| begun[b].best(rung).total_cmp(&begun[a].best(rung)));
        let most = if best { 1 } else { there.len() / FACTOR };
        let waiting = |&&i: &&usize| !begun[i].failed && begun[i].epochs() == rung;
        there.iter().take(most).find(waiting).map(|&trial| Job { trial, epochs: next })
    }

    /// The trial that won: of those trained longest, the one with the best metric.
    pub fn winner(&self, begun: &[Trial]) -> Option<usize> {
        let able = (0..begun.len()).filter(|&i| !begun[i].failed && !begun[i].scores.is_empty());
        let key = |i: usize| (begun[i].epochs(), begun[i].best(u64::MAX));
        able.reduce(|best, i| if key(i) > key(best) { i } else { best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs all jobs; `curve` gives a trial's metric after an epoch, or `None` where it fails.
    fn run(halving: &Halving, curve: impl Fn(usize, u64) -> Option<f64>) -> (Vec<Job>, Vec<Trial>) {
        let (mut jobs, mut trials) = (Vec::new(), Vec::<Trial>::new());
        while let Some(job) = halving.next(&trials) {
            assert!(jobs.len() < 1000, "{jobs:?}");
            trials.resize(trials.len().max(job.trial + 1), Trial::default());
            let trial = &mut trials[job.trial];
            while trial.epochs() < job.epochs && !trial.failed {
                match curve(job.trial, trial.epochs() + 1) {
                    Some(score) => trial.scores.push(score),
                    None => trial.failed = true,
                }
            }
            jobs.push(job);
        }
        (jobs, trials)
    }

    #[test]
    fn the_best_third_goes_on() {
        let halving = Halving::new(9, 18);
        assert_eq!(halving.rungs, [2, 6, 18]);
        let (_, trials) = run(&halving, |trial, _| Some(-(trial as f64)));
        let reached = |epochs: u64| trials.iter().filter(|t| t.epochs() >= epochs).count();
        assert_eq!((reached(2), reached(6), reached(18)), (9, 3, 1));
        assert!(trials[0].epochs() == 18 && halving.winner(&trials) == Some(0));
        let epochs: u64 = trials.iter().map(Trial::epochs).sum();
        assert_eq!(epochs, 9 * 2 + 3 * 4 + 12, "instead of 9 times 18");
    }

    #[test]
    fn without_halving_all_are_trained_to_the_end() {
        let (jobs, trials) = run(&Halving::without_halving(4, 5), |trial, _| Some(-(trial as f64)));
        assert_eq!(jobs.len(), 4);
        assert!(trials.iter().all(|t| t.epochs() == 5));
    }

    #[test]
    fn few_trials_and_failing_ones_still_have_a_winner() {
        for trials in 1..4 {
            let halving = Halving::new(trials, 9);
            let (_, done) = run(&halving, |trial, _| (trial == 0).then_some(0.5));
            assert_eq!((done[0].epochs(), halving.winner(&done)), (9, Some(0)), "{trials}");
        }
        let halving = Halving::new(3, 9);
        let (jobs, done) = run(&halving, |_, _| None);
        assert_eq!((jobs.len(), halving.winner(&done)), (3, None));
    }

    #[test]
    fn a_search_is_taken_up_where_it_was_left() {
        let halving = Halving::new(9, 9);
        let score = |trial: usize, epoch: u64| ((trial * 7 + 3) % 9) as f64 + epoch as f64 / 100.0;
        let (whole, _) = run(&halving, |trial, epoch| Some(score(trial, epoch)));
        let mut trials: Vec<Trial> = Vec::new();
        for (i, job) in whole.iter().enumerate() {
            assert_eq!(halving.next(&trials), Some(*job), "job {i}");
            trials.resize(trials.len().max(job.trial + 1), Trial::default());
            let from = trials[job.trial].epochs();
            for epoch in from + 1..=job.epochs {
                trials[job.trial].scores.push(score(job.trial, epoch));
                if epoch < job.epochs {
                    assert_eq!(halving.next(&trials), Some(*job), "within job {i}");
                }
            }
        }
    }

    #[test]
    fn draws_repeat_and_stay_in_range() {
        let space = Space::usual();
        assert_eq!(space.draw(Seed(1), 5), space.draw(Seed(1), 5));
        assert_ne!(space.draw(Seed(1), 5), space.draw(Seed(1), 6));
        let rates: Vec<f64> = (0..300).map(|i| space.draw(Seed(0), i)["lr"].parse().unwrap()).collect();
        assert!(rates.iter().all(|rate| (1e-4..=1e-2).contains(rate)));
        let low = rates.iter().filter(|&&rate| rate < 1e-3).count();
        assert!((120..180).contains(&low), "evenly by logarithm: {low} of 300");
        let batches: Vec<String> = (0..50).map(|i| space.draw(Seed(0), i)["batch-size"].clone()).collect();
        assert!(["16", "32", "64"].iter().all(|size| batches.iter().any(|batch| batch == size)));
    }

    #[test]
    fn a_grid_has_every_combination_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("space.toml");
        fs::write(&path, "batch-size = [16, 32]\naugment = [\"none\", \"light\", \"strong\"]\nnesterov = [true]\n")
            .unwrap();
        let grid = Space::open(&path).unwrap().grid().unwrap();
        let distinct: std::collections::BTreeSet<_> = grid.iter().collect();
        assert_eq!((grid.len(), distinct.len()), (6, 6));
        assert_eq!(grid[0]["nesterov"], "true");
        assert!(Space::usual().grid().unwrap_err().to_string().contains("lr"));
    }

    #[test]
    fn bad_spaces_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("space.toml");
        for (text, part) in [
            ("lr = { from = 0.0, to = 1.0 }", "lr: no numbers"),
            ("lr = { from = 1.0, to = 0.1, scale = \"linear\" }", "lr: no numbers"),
            ("lr = []", "lr: there is nothing"),
            ("lr = 3", "space.toml"),
        ] {
            fs::write(&path, text).unwrap();
            let message = Space::open(&path).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
