use std::path::{Path, PathBuf};

use clap::Args;
use rayon::prelude::*;
use serde::Serialize;

use super::Common;
use super::trained::Trained;
use crate::data::{Batch, Image, list_images};
use crate::error::{Error, Result};
use crate::ops::AugmentRow;
use crate::tasks::Prediction;

#[derive(Args)]
pub(super) struct Predict {
    /// A run folder, or a weights file in one.
    run: PathBuf,
    /// Images, folders, globs; `-` reads paths from standard input, one a line.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// How many classes to name for each picture.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    top: u16,
    /// Give no answer that is less probable than this, from 0 to 1.
    #[arg(long, value_name = "P", value_parser = probability)]
    reject_below: Option<f32>,
    /// Average the answers over several views of each image: as it is and closer, both also mirrored where training mirrored.
    #[arg(long)]
    tta: bool,
    /// Pictures at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    batch_size: u16,
}

#[derive(Serialize)]
struct Answer<'a> {
    path: String,
    /// `None` if it was rejected.
    label: Option<&'a str>,
    score: f32,
    top: Vec<Scored<'a>>,
}

#[derive(Clone, Copy, Serialize)]
struct Scored<'a> {
    label: &'a str,
    score: f32,
}

#[derive(Serialize)]
struct Unreadable {
    path: String,
    error: String,
}

impl Predict {
    pub fn run(&self, common: &Common) -> Result<()> {
        let paths = self.list()?;
        let trained = Trained::open(&self.run, common)?;
        let mut trained = if self.tta { trained.with_views() } else { trained };
        super::catch_interrupts()?;
        let mut failed = 0;
        for paths in paths.chunks(usize::from(self.batch_size)) {
            failed += self.batch(paths, &mut trained, common)?;
            if super::interrupted() {
                return Err(Error::Interrupted);
            }
        }
        match failed {
            0 => Ok(()),
            n => Err(Error::config(format!("{n} of {} images could not be read", paths.len()))),
        }
    }

    fn list(&self) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for path in &self.paths {
            if path == Path::new("-") {
                for line in std::io::stdin().lines() {
                    let line = line.map_err(|e| Error::io("read", "standard input", e))?;
                    if !line.trim().is_empty() {
                        paths.push(PathBuf::from(line.trim_end_matches('\r')));
                    }
                }
            } else {
                paths.extend(list_images(path)?);
            }
        }
        if paths.is_empty() {
            return Err(Error::config("there are no images in what was given"));
        }
        Ok(paths)
    }

    /// Predicts some pictures and prints a line for each, in order; returns how many could not be read.
    fn batch(&self, paths: &[PathBuf], trained: &mut Trained, common: &Common) -> Result<usize> {
        let shape = trained.session.task().input();
        let images: Vec<Result<Image>> = paths.par_iter().map(|p| Image::open(p).and_then(|i| i.fit(shape))).collect();
        let read: Vec<&Image> = images.iter().filter_map(|i| i.as_ref().ok()).collect();
        let mut predictions = match read.is_empty() {
            true => Vec::new(),
            false => {
                let outputs = trained.session.infer(&batch(&read))?;
                trained.session.task().predictions(&outputs[1])
            }
        }
        .into_iter();
        let mut failed = 0;
        for (path, image) in paths.iter().zip(&images) {
            let path = path.display().to_string();
            if let Err(error) = image {
                failed += 1;
                print_unreadable(path, error, common)?;
            } else if let Some(prediction) = predictions.next() {
                self.print(path, &prediction, &trained.kept.classes, common)?;
            }
        }
        Ok(failed)
    }

    fn print(&self, path: String, prediction: &Prediction, classes: &[String], common: &Common) -> Result<()> {
        let ranking = prediction.ranking();
        let scored = |&c: &usize| Scored { label: &classes[c], score: prediction.probabilities[c] };
        let top: Vec<Scored<'_>> = ranking.iter().take(usize::from(self.top)).map(scored).collect();
        let Scored { label, score } = top[0];
        let label = (!self.reject_below.is_some_and(|least| score < least)).then_some(label);
        if common.json {
            return super::print(super::json(&Answer { path, label, score, top })?);
        }
        let others = &top[usize::from(label.is_some())..];
        let others: Vec<String> = others.iter().map(|s| format!("{} {:.3}", s.label, s.score)).collect();
        let others = if others.is_empty() { String::new() } else { format!("   ({})", others.join(", ")) };
        super::print(format!("{path}  {}  {score:.3}{others}", label.unwrap_or("?")))
    }
}

fn probability(text: &str) -> Result<f32, String> {
    let number = text.parse::<f32>().ok().filter(|p| (0.0..=1.0).contains(p));
    number.ok_or_else(|| "give a probability from 0 to 1".to_owned())
}

pub(super) fn print_unreadable(path: String, error: &Error, common: &Common) -> Result<()> {
    if common.json {
        return super::print(super::json(&Unreadable { path, error: error.to_string() })?);
    }
    super::tell(format!("error: {error}"));
    Ok(())
}

/// Pictures that fit the network, as they are.
pub(super) fn batch(images: &[&Image]) -> Batch {
    Batch {
        images: images.iter().flat_map(|i| i.pixels.iter().copied()).collect(),
        labels: vec![0; images.len()],
        rows: vec![AugmentRow::STILL; images.len()],
        mixes: None,
        indices: (0..images.len()).collect(),
    }
}
