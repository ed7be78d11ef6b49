use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::sets::Sets;
use super::{Train, begin, canvas, loader_options, open_device, session, validation_part};
use crate::cli::{Common, catch_interrupts, interrupted, json, print, progress};
use crate::data::Loader;
use crate::error::{Error, Result};
use crate::report::chart::{self, Axis, Chart, Ink, Line, Unit};
use crate::tasks::{RunTask, with_task};
use crate::train::{RangeResult, RangeTest, Tried};

/// Takes the options of `train`, of which those that are about epochs, schedules and the run folder have no effect here.
#[derive(Args)]
pub(in crate::cli) struct FindLr {
    #[command(flatten)]
    train: Train,
    /// The first learning rate.
    #[arg(long, value_name = "RATE", default_value_t = 1e-6)]
    from: f64,
    /// The last learning rate.
    #[arg(long, value_name = "RATE", default_value_t = 10.0)]
    to: f64,
    /// Steps from the first to the last, each with a batch.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..))]
    steps: u64,
    /// Where to draw the losses.
    #[arg(long, value_name = "FILE", default_value = "lr.svg")]
    output: PathBuf,
}

#[derive(Serialize)]
struct Findings<'a> {
    suggestion: Option<f64>,
    plot: &'a PathBuf,
    tried: &'a [Tried],
}

impl FindLr {
    pub fn run(&self, common: &Common) -> Result<()> {
        catch_interrupts()?;
        let found = with_task!(self.train.task()?.as_str(), T => self.test::<T>(common))?;
        let svg = chart::file(&[plot(&found).svg()], chart::SIZE);
        fs::write(&self.output, svg).map_err(|e| Error::io("write", &self.output, e))?;
        let suggestion = found.suggestion();
        if common.json {
            return print(json(&Findings { suggestion, plot: &self.output, tried: &found.tried })?);
        }
        match suggestion {
            Some(suggestion) => print(format!("suggested  --lr {suggestion:.1e}"))?,
            None => print("the loss fell at no learning rate: try a wider range or more --steps")?,
        }
        print(format!("plot       {}", self.output.display()))
    }

    fn test<T: RunTask>(&self, common: &Common) -> Result<RangeResult> {
        let (settings, splits) = self.train.resolve::<T>(common)?;
        let device = open_device(&settings, common)?;
        // The pictures that training would see, and no others.
        let mut splits = validation_part::<T>(splits, &settings)?;
        splits.val.samples.clear();
        splits.test.samples.clear();
        let model = self.train.model::<T>(&settings, splits.train.classes.len())?;
        let canvas = canvas::<T>(&settings, &model, &splits.train.classes)?;
        let sets = Sets::load::<T>(splits, canvas, &settings, common)?;
        let kept = self.train.kept::<T>(settings, model, &sets, &device)?;
        let initial = self.train.initial(&kept, common)?;
        let (mut session, _) = session::<T>(&kept, &device, sets.train.len())?;
        begin(&session, &kept, &initial)?;
        let loader =
            Loader::new(sets.train.clone(), loader_options(&kept.settings, session.task().targets(&sets.train)?)?);
        let bar = progress::bar(common, self.steps, "step");
        let range = RangeTest { least: self.from, most: self.to, steps: self.steps };
        let found = range.run::<T>(&mut session, &loader, |tried| {
            bar.inc(1);
            bar.set_message(format!("rate {:.1e}  loss {:.4}, left", tried.lr, tried.smoothed));
            if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
        });
        bar.finish_and_clear();
        found
    }
}

fn plot(found: &RangeResult) -> Chart {
    let line = |name: &str, ink, value: &dyn Fn(&Tried) -> f64| Line {
        name: name.to_owned(),
        ink,
        points: found.tried.iter().map(|t| [t.lr.log10(), value(t)]).collect(),
    };
    // Single losses far above the rest would press it flat.
    let most = 1.25 * found.tried.iter().map(|t| t.smoothed).fold(0.0, f64::max);
    let single = |t: &Tried| if t.loss <= most { t.loss } else { f64::NAN };
    let mut lines = vec![line("loss", Ink::Faint, &single), line("smoothed loss", Ink::Color(0), &|t| t.smoothed)];
    if let Some(tried) = found.tried.iter().find(|t| Some(t.lr) == found.suggestion()) {
        let points = vec![[tried.lr.log10(), tried.smoothed]];
        lines.push(Line { name: "suggestion".into(), ink: Ink::Dots(1), points });
    }
    Chart {
        title: "loss by learning rate".into(),
        x: Axis::free("learning rate", Unit::Power),
        y: Axis::free("loss", Unit::Plain),
        lines,
    }
}
