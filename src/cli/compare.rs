use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Common;
use crate::error::Result;
use crate::report::{Epoch, History, flatten};
use crate::train::RunFolder;

#[derive(Args)]
pub(super) struct Compare {
    /// Run folders.
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<PathBuf>,
}

/// What runs have in common is left out.
#[derive(Serialize)]
struct Comparison {
    runs: Vec<Outcome>,
    /// Settings that differ: one value a run, `null` where a run has no such setting.
    settings: Vec<Difference>,
    /// Position of the best run.
    best: Option<usize>,
}

#[derive(Serialize)]
struct Outcome {
    run: PathBuf,
    epochs: usize,
    seconds: Option<f64>,
    best_epoch: Option<u64>,
    metric: String,
    train_loss: Option<f64>,
    train_metric: Option<f64>,
    val_loss: Option<f64>,
    val_metric: Option<f64>,
    images_per_s: Option<f64>,
}

#[derive(Serialize)]
struct Difference {
    name: String,
    values: Vec<Option<String>>,
}

impl Compare {
    pub fn run(&self, common: &Common) -> Result<()> {
        let runs = self.runs.iter().map(outcome).collect::<Result<Vec<_>>>()?;
        let settings = self.runs.iter().map(settings).collect::<Result<Vec<_>>>()?;
        let comparison = Comparison { best: best(&runs), settings: differences(&settings), runs };
        if common.json { super::print(super::json(&comparison)?) } else { print(&comparison) }
    }
}

fn settings(run: &PathBuf) -> Result<Vec<(String, String)>> {
    flatten(&RunFolder::open(run)?.read()?.settings)
}

/// A run's best epoch.
fn outcome(run: &PathBuf) -> Result<Outcome> {
    let history = History::read(RunFolder::open(run)?.path())?;
    let best = history.best();
    let last = history.epochs.last();
    let of = |value: fn(&Epoch) -> f64| best.map(value);
    Ok(Outcome {
        run: run.clone(),
        epochs: history.epochs.len(),
        seconds: last.map(|e| e.seconds),
        best_epoch: best.map(|e| e.epoch),
        train_loss: of(|e| e.train_loss),
        train_metric: best.and_then(|e| e.train_metric),
        val_loss: best.and_then(|e| e.val_loss),
        val_metric: best.and_then(|e| e.val_metric),
        images_per_s: last.map(|e| e.images_per_s),
        metric: history.metric,
    })
}

/// By the validation metric, ties by the smaller loss; `None` unless all runs have them.
fn best(runs: &[Outcome]) -> Option<usize> {
    let keys = runs.iter().map(|r| Some((r.val_metric?, -r.val_loss?))).collect::<Option<Vec<_>>>()?;
    (0..keys.len()).reduce(|best, i| if keys[i] > keys[best] { i } else { best })
}

fn differences(runs: &[Vec<(String, String)>]) -> Vec<Difference> {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in runs.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let value = |run: &Vec<(String, String)>, name: &String| run.iter().find(|(n, _)| n == name).map(|r| r.1.clone());
    let all = names.into_iter().map(|name| {
        let values: Vec<_> = runs.iter().map(|run| value(run, name)).collect();
        Difference { name: name.clone(), values }
    });
    all.filter(|d| d.values.iter().any(|v| v != &d.values[0])).collect()
}

fn print(c: &Comparison) -> Result<()> {
    let text = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let loss = |x: Option<f64>| text(x.map(|x| format!("{x:.4}")));
    let percent = |x: Option<f64>| text(x.map(|x| format!("{:.2} %", 100.0 * x)));
    let column = |value: &dyn Fn(&Outcome) -> String| c.runs.iter().map(value).collect::<Vec<_>>();
    let name =
        |(i, run): (usize, &Outcome)| format!("{}{}", run.run.display(), if c.best == Some(i) { " *" } else { "" });
    let metric = c.runs.first().map_or("", |r| r.metric.as_str());
    let mut rows = vec![(String::new(), c.runs.iter().enumerate().map(name).collect())];
    rows.extend(c.settings.iter().map(|d| (d.name.clone(), d.values.iter().cloned().map(text).collect())));
    rows.push((String::new(), Vec::new()));
    rows.push((format!("validation {metric}"), column(&|r| percent(r.val_metric))));
    rows.push(("validation loss".into(), column(&|r| loss(r.val_loss))));
    rows.push((format!("training {metric}"), column(&|r| percent(r.train_metric))));
    rows.push(("training loss".into(), column(&|r| loss(r.train_loss))));
    rows.push(("best epoch".into(), column(&|r| text(r.best_epoch.map(|e| format!("{e} of {}", r.epochs))))));
    rows.push(("seconds".into(), column(&|r| text(r.seconds.map(|s| format!("{s:.1}"))))));
    rows.push(("images/s".into(), column(&|r| text(r.images_per_s.map(|s| format!("{s:.0}"))))));
    let width = |texts: &mut dyn Iterator<Item = &String>| texts.map(|t| t.chars().count()).max().unwrap_or(0);
    let first = width(&mut rows.iter().map(|r| &r.0));
    let widths: Vec<usize> = (0..c.runs.len()).map(|i| width(&mut rows.iter().filter_map(|r| r.1.get(i)))).collect();
    for (name, values) in &rows {
        let cells: String = values.iter().zip(&widths).map(|(v, w)| format!("  {v:>w$}")).collect();
        super::print(format!("{name:<first$}{cells}").trim_end())?;
    }
    Ok(())
}
