use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Parser, ValueEnum};
use serde::Serialize;

use super::Train;
use super::running::Running;
use crate::atomic;
use crate::cli::{Cli, Command, Common, catch_interrupts, interrupted, json, print};
use crate::data::Seed;
use crate::error::{Error, Result};
use crate::report::parallel::{Column, parallel};
use crate::report::{History, chart, metric_name};
use crate::tasks::{RunTask, with_task};
use crate::train::{Halving, Job, Lock, Options, RunFolder, Space, Trial};

/// Takes the options of `train`; those that are given are not searched. What is best on the validation images ends in the
/// folder's `best`, which is a run like any other.
#[derive(Args)]
pub(in crate::cli) struct Tune {
    #[command(flatten)]
    train: Train,
    /// How many settings to try; with a grid, all there are.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    trials: u16,
    /// asha (many for a few epochs, the best third of them for longer), random or grid.
    #[arg(long, value_name = "METHOD", default_value = "asha")]
    method: Method,
    /// A TOML file of `train`'s options with what they may be: `lr = { from = 1e-4, to = 1e-2 }`, `batch-size = [16, 32]`.
    #[arg(long, value_name = "FILE")]
    space: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Method {
    Asha,
    Random,
    Grid,
}

/// `train`'s options by themselves.
#[derive(Parser)]
#[command(no_binary_name = true, args_override_self = true)]
struct Given {
    #[command(flatten)]
    train: Train,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    trial: usize,
    options: &'a Options,
    epochs: usize,
    /// The best on the validation images, by its name.
    #[serde(flatten)]
    metric: BTreeMap<&'static str, Option<f64>>,
    failed: Option<String>,
}

/// A search under way.
struct Search<'a> {
    tune: &'a Tune,
    folder: PathBuf,
    halving: Halving,
    /// Of every trial there can be.
    options: Vec<Options>,
    begun: Vec<Trial>,
    common: &'a Common,
}

const ARGUMENTS: &str = "tune.txt";

impl Tune {
    pub fn run(&self, common: &Common) -> Result<()> {
        catch_interrupts()?;
        match &self.train.resume {
            Some(folder) => self.take_up(folder),
            None => self.search_for(self.begin()?, common),
        }
    }

    /// Makes the folder, with the command line, by which a search is taken up.
    fn begin(&self) -> Result<PathBuf> {
        let name = self.train.name.clone().unwrap_or_else(|| "tune".into());
        let folder = self.train.out.clone().unwrap_or_else(|| RunFolder::next_free(Path::new("runs"), &name));
        RunFolder::expect_new(&folder)?;
        fs::create_dir_all(folder.join("trials")).map_err(|e| Error::io("create", &folder, e))?;
        let arguments: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
        write(&folder.join(ARGUMENTS), &(arguments.join("\n") + "\n"))?;
        Ok(folder)
    }

    fn take_up(&self, folder: &Path) -> Result<()> {
        let path = folder.join(ARGUMENTS);
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        let cli = Cli::try_parse_from(text.lines()).map_err(|e| Error::format(&path, e.to_string()))?;
        match cli.command {
            Command::Tune(tune) => tune.search_for(folder.to_owned(), &cli.common),
            _ => Err(Error::format(&path, "is not of a search")),
        }
    }

    fn search_for(&self, folder: PathBuf, common: &Common) -> Result<()> {
        with_task!(self.train.task()?.as_str(), T => self.search::<T>(folder, common))
    }

    fn search<T: RunTask>(&self, folder: PathBuf, common: &Common) -> Result<()> {
        let seed = Seed(common.seed.unwrap_or(0));
        let space = self.space.as_deref().map_or_else(|| Ok(Space::usual().without(&self.fixed())), Space::open)?;
        let options = match self.method {
            Method::Grid => space.grid()?,
            _ => (0..u64::from(self.trials)).map(|trial| space.draw(seed, trial)).collect(),
        };
        let epochs = self.epochs::<T>(&options[0], common)?;
        let halving = match self.method {
            Method::Asha => Halving::new(options.len(), epochs),
            _ => Halving::without_halving(options.len(), epochs),
        };
        let _lock = Lock::hold(&folder)?;
        let mut search = Search { tune: self, folder, halving, options, begun: Vec::new(), common };
        search.read()?;
        search.run::<T>()?;
        search.conclude::<T>(&space)
    }

    /// Options of the usual space that the command line has already.
    fn fixed(&self) -> Vec<&'static str> {
        let t = &self.train;
        let given = [
            ("lr", t.lr.is_some()),
            ("optimizer", t.optimizer.is_some()),
            ("weight-decay", t.weight_decay.is_some() || t.optimizer.is_some()),
            ("batch-size", t.batch_size.is_some()),
            ("augment", t.augment.is_some()),
            ("label-smoothing", t.label_smoothing.is_some()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
    }

    /// Epochs to the end.
    fn epochs<T: RunTask>(&self, options: &Options, common: &Common) -> Result<u64> {
        let (settings, splits) = self.with(options, Path::new(""))?.resolve::<T>(common)?;
        if super::validation_part::<T>(splits, &settings)?.val.is_empty() {
            return Err(Error::config("a search needs validation images: do without --val 0"));
        }
        Ok(settings.epochs)
    }

    /// `train`'s options with those of a trial.
    fn with(&self, options: &Options, out: &Path) -> Result<Train> {
        let mut arguments: Vec<String> = Vec::new();
        for (name, value) in options {
            match value.as_str() {
                "true" => arguments.push(format!("--{name}")),
                "false" => {}
                value => arguments.push(format!("--{name}={value}")),
            }
        }
        let base = &self.train;
        let mut given = Given { train: base.clone() };
        given.try_update_from(arguments).map_err(|e| Error::config(e.to_string().trim_end().to_owned()))?;
        let mut train = given.train;
        // Flags that are not among the arguments are set back.
        train.remat |= base.remat;
        train.nesterov |= base.nesterov;
        train.no_shuffle |= base.no_shuffle;
        train.log_steps |= base.log_steps;
        train.calibrate |= base.calibrate;
        (train.out, train.name, train.resume, train.patience) = (Some(out.to_owned()), None, None, None);
        // It is the search's.
        train.max_time = None;
        Ok(train)
    }
}

impl Search<'_> {
    fn trial_folder(&self, trial: usize) -> PathBuf {
        self.folder.join("trials").join(format!("{trial:03}"))
    }

    fn failure(&self, trial: usize) -> PathBuf {
        self.folder.join("trials").join(format!("{trial:03}.failed.txt"))
    }

    /// What an interrupted search has left.
    fn read(&mut self) -> Result<()> {
        for trial in 0..self.options.len() {
            let (folder, failed) = (self.trial_folder(trial), self.failure(trial).exists());
            if !folder.exists() && !failed {
                break;
            }
            self.begun.push(Trial { scores: scores(&folder)?, failed });
        }
        Ok(())
    }

    fn run<T: RunTask>(&mut self) -> Result<()> {
        let start = Instant::now();
        while let Some(job) = self.halving.next(&self.begun) {
            if self.tune.train.max_time.is_some_and(|most| start.elapsed() >= most) {
                self.common.say("the time is up");
                break;
            }
            self.begun.resize(self.begun.len().max(job.trial + 1), Trial::default());
            let outcome = self.train::<T>(job);
            if let Err(Error::Interrupted) = outcome {
                let at = self.folder.display();
                self.common.say(format!("interrupted; go on with ocellus tune --resume {at}"));
                return Err(Error::Interrupted);
            }
            let failure = match outcome {
                Ok(()) => None,
                Err(e @ (Error::Diverged { .. } | Error::Config(_) | Error::Memory(_) | Error::Shape { .. })) => {
                    Some(e)
                }
                // Nothing to do with the settings.
                Err(error) => return Err(error),
            };
            self.tell::<T>(job, failure)?;
            if interrupted() {
                return Err(Error::Interrupted);
            }
        }
        Ok(())
    }

    /// Begins a trial or goes on with it.
    fn train<T: RunTask>(&mut self, job: Job) -> Result<()> {
        let quiet = Common { quiet: true, json: false, ..self.common.clone() };
        let folder = self.trial_folder(job.trial);
        let train = self.tune.with(&self.options[job.trial], &folder)?;
        let mut running = self.running::<T>(&train, &folder, &quiet)?;
        let outcome = running.learn(Some(job.epochs), false, &quiet);
        self.begun[job.trial].scores = scores(&folder)?;
        outcome
    }

    fn running<T: RunTask>(&self, train: &Train, folder: &Path, quiet: &Common) -> Result<Running<T>> {
        let mut running = if folder.exists() { train.resume(folder, quiet) } else { train.start(quiet) }?;
        // One from --config is no trial's either.
        running.kept.settings.max_time = None;
        Ok(running)
    }

    /// What a job brought, as a line, in the table and the plot.
    fn tell<T: RunTask>(&mut self, job: Job, error: Option<Error>) -> Result<()> {
        let failed = error.map(|e| e.to_string());
        if let Some(reason) = &failed {
            self.begun[job.trial].failed = true;
            write(&self.failure(job.trial), reason)?;
        }
        let (options, scores) = (&self.options[job.trial], &self.begun[job.trial].scores);
        let best = best(scores);
        if self.common.json {
            let line =
                Line { trial: job.trial, options, epochs: scores.len(), metric: [(T::METRIC, best)].into(), failed };
            print(json(&line)?)?;
        } else {
            let result = match (&failed, best) {
                (Some(reason), _) => format!("failed: {reason}"),
                (None, best) => {
                    let name = metric_name(T::METRIC);
                    format!("best validation {name} {:.2} %", 100.0 * best.unwrap_or(f64::NAN))
                }
            };
            self.common.say(format!(
                "trial {:>3}   {:>3} epochs   {result}   {}",
                job.trial,
                scores.len(),
                text(options)
            ));
        }
        self.write_table(T::METRIC)
    }

    fn write_table(&self, metric: &str) -> Result<()> {
        let wrong = |e: csv::Error| Error::config(format!("trials.csv: {e}"));
        let names: Vec<&String> = self.options[0].keys().collect();
        let best_metric = format!("best_val_{metric}");
        let mut table = csv::Writer::from_writer(Vec::new());
        let header = ["trial", "epochs", best_metric.as_str()].into_iter().chain(names.iter().map(|n| n.as_str()));
        table.write_record(header).map_err(wrong)?;
        for (i, trial) in self.begun.iter().enumerate() {
            let result = best(&trial.scores).map_or(String::new(), |score| score.to_string());
            let row = [i.to_string(), trial.scores.len().to_string(), result];
            table.write_record(row.iter().chain(self.options[i].values())).map_err(wrong)?;
        }
        let table = table.into_inner().map_err(|e| Error::config(format!("trials.csv: {e}")))?;
        write(&self.folder.join("trials.csv"), &String::from_utf8_lossy(&table))?;
        let column = |name: &str, values: Vec<Option<String>>| Column { name: name.to_owned(), values };
        let begun = || self.options.iter().zip(&self.begun);
        let setting = |name: &&String| column(name, begun().map(|(options, _)| options.get(*name).cloned()).collect());
        let mut columns: Vec<Column> = names.iter().map(setting).collect();
        let result = |(_, trial): (_, &Trial)| best(&trial.scores).filter(|_| !trial.failed).map(|s| format!("{s:.4}"));
        columns.push(column(metric, begun().map(result).collect()));
        let (plot, size) = parallel(&columns);
        write(&self.folder.join("trials.svg"), &chart::file(&[plot], size))
    }

    /// Trains the winner to the end, if it is not, judges it, and gives it a name.
    fn conclude<T: RunTask>(&self, space: &Space) -> Result<()> {
        let winner = self.halving.winner(&self.begun);
        let winner = winner.ok_or_else(|| Error::config("no trial came to the end of an epoch"))?;
        let (folder, options) = (self.trial_folder(winner), &self.options[winner]);
        let quiet = Common { quiet: true, ..self.common.clone() };
        let mut running = self.running::<T>(&self.tune.with(options, &folder)?, &folder, &quiet)?;
        running.learn(None, false, &Common { json: false, ..quiet.clone() })?;
        running.conclude(&quiet)?;
        let best = self.folder.join("best");
        copy_run(&folder, &best)?;
        let searched: Vec<&str> = space.names().collect();
        self.common.say(format!("\nSearched {}; best of {}: trial {winner}", searched.join(", "), self.begun.len()));
        self.common.say(format!("Settings: {}", text(options)));
        self.common.say(format!("Run: {}   table: trials.csv   plot: trials.svg", best.display()));
        Ok(())
    }
}

fn text(options: &Options) -> String {
    options.iter().map(|(name, value)| format!("--{name} {value}")).collect::<Vec<_>>().join(" ")
}

/// The validation metric after each epoch of a run; none if it was not begun.
fn scores(folder: &Path) -> Result<Vec<f64>> {
    if !folder.join("metrics.csv").exists() {
        return Ok(Vec::new());
    }
    Ok(History::read(folder)?.epochs.iter().map(|e| e.val_metric.unwrap_or(f64::NEG_INFINITY)).collect())
}

fn best(scores: &[f64]) -> Option<f64> {
    scores.iter().copied().reduce(f64::max)
}

fn write(path: &Path, text: &str) -> Result<()> {
    atomic::write(path, text.as_bytes()).map_err(|e| Error::io("write", path, e))
}

/// Copies a run folder, in place of an earlier copy.
fn copy_run(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        let folder = atomic::begin_folder(to)?;
        copy_files(from, folder.path())?;
        atomic::finish_folder(folder, to)
    };
    copy().map_err(|e| Error::io("write", to, e))
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let (entry, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        if entry.is_dir() {
            fs::create_dir(&to)?;
            copy_files(&entry, &to)?;
        } else {
            fs::copy(&entry, &to)?;
        }
    }
    Ok(())
}
