use std::path::{Path, PathBuf};

use clap::Args;
use rayon::prelude::*;
use serde::Serialize;

use super::Common;
use super::trained::{Trained, task_of};
use crate::data::{Canvas, Image, Source, list_images, list_sequences};
use crate::error::{Error, Result};
use crate::tasks::detect::CocoResults;
use crate::tasks::{Answer, PredictOptions, RunTask, with_task};

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
    /// Least score of what is told: of things found, boxes or pixels.
    #[arg(long, value_name = "P", value_parser = probability, conflicts_with = "reject_below")]
    threshold: Option<f32>,
    /// A folder for pictures that show the answers: masks, overlays, boxes.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A file for all boxes found, as COCO's evaluation reads them.
    #[arg(long, value_name = "FILE")]
    coco: Option<PathBuf>,
    /// Average the answers over several views of each image: as it is and closer, both also mirrored where training mirrored.
    #[arg(long)]
    tta: bool,
    /// Where text is read: follow so many readings in search of the most probable one; 1 takes the best symbol of each step.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    beam: u16,
    /// Pictures at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    batch_size: u16,
}

#[derive(Serialize)]
struct Unreadable {
    path: String,
    error: String,
}

impl Predict {
    pub fn run(&self, common: &Common) -> Result<()> {
        with_task!(task_of(&self.run)?.as_str(), T => self.run_as::<T>(common))
    }

    fn run_as<T: RunTask>(&self, common: &Common) -> Result<()> {
        let trained = Trained::<T>::open(&self.run, common)?;
        let named = sources(&self.paths, trained.session.task().canvas())?;
        let mut trained = if self.tta { trained.with_views()? } else { trained };
        if let Some(out) = &self.out {
            std::fs::create_dir_all(out).map_err(|e| Error::io("create", out, e))?;
        }
        super::catch_interrupts()?;
        let (mut failed, mut found) = (0, self.coco.is_some().then(CocoResults::default));
        for named in named.chunks(usize::from(self.batch_size)) {
            failed += self.batch(named, &mut trained, found.as_mut(), common)?;
            if super::interrupted() {
                return Err(Error::Interrupted);
            }
        }
        if let Some((file, found)) = self.coco.as_ref().zip(found) {
            found.save(file)?;
        }
        match failed {
            0 => Ok(()),
            n => Err(Error::config(format!("{n} of {} images could not be read", named.len()))),
        }
    }

    /// Predicts some pictures and prints a line for each, in order; returns how many could not be read.
    fn batch<T: RunTask>(
        &self,
        named: &[(PathBuf, Source)],
        trained: &mut Trained<T>,
        mut found: Option<&mut CocoResults>,
        common: &Common,
    ) -> Result<usize> {
        let window = trained.kept.settings.window;
        let images: Vec<Result<Image>> = named.par_iter().map(|(_, source)| source.image_with(window)).collect();
        let read: Vec<Image> = images.iter().filter_map(|i| i.as_ref().ok().cloned()).collect();
        let answers = match read.is_empty() {
            true => Vec::new(),
            false => T::predict(&mut trained.session, read, &self.options())?,
        };
        let (mut failed, mut answers) = (0, answers.into_iter());
        for ((path, _), image) in named.iter().zip(&images) {
            if let Err(error) = image {
                failed += 1;
                print_unreadable(path.display().to_string(), error, common)?;
            } else if let Some(answer) = answers.next() {
                if let Some(found) = &mut found {
                    found.add(path, &answer.json, trained.session.task().classes())?;
                }
                self.tell(path, answer, common)?;
            }
        }
        Ok(failed)
    }

    fn options(&self) -> PredictOptions {
        let threshold = self.reject_below.or(self.threshold);
        PredictOptions { top: self.top.into(), threshold, drawn: self.out.is_some(), beam: self.beam.into() }
    }

    /// Prints an answer, and keeps the pictures that show it.
    fn tell(&self, path: &Path, answer: Answer, common: &Common) -> Result<()> {
        let mut files = Vec::new();
        for (ending, picture) in &answer.pictures {
            let Some(out) = &self.out else { break };
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let file = out.join(format!("{stem}-{ending}.png"));
            picture.save_png(&file)?;
            files.push((*ending, file.display().to_string()));
        }
        let shown = path.display();
        if !common.json {
            let files: String = files.iter().map(|(_, file)| format!("   {file}")).collect();
            return super::print(format!("{shown}  {}{files}", answer.line));
        }
        let mut json = serde_json::Map::from_iter([("path".to_owned(), shown.to_string().into())]);
        json.extend(answer.json);
        json.extend(files.into_iter().map(|(ending, file)| (ending.to_owned(), file.into())));
        super::print(super::json(&json)?)
    }
}

/// The images that arguments name: files, folders, patterns, or `-` for paths on standard input.
///
/// Errors: if there are none.
pub(super) fn list(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for path in given {
        match path == Path::new("-") {
            true => paths.extend(lines_of_stdin()?),
            false => paths.extend(list_images(path)?),
        }
    }
    match paths.is_empty() {
        true => Err(Error::config("there are no images in what was given")),
        false => Ok(paths),
    }
}

/// The images that arguments name, as [`list`] does, or the sequences where the network looks at those.
///
/// Errors: if there are none.
pub(super) fn sources(given: &[PathBuf], canvas: Canvas) -> Result<Vec<(PathBuf, Source)>> {
    let single = |path: PathBuf| (path.clone(), Source::File(path));
    if canvas.frames() == 1 {
        return Ok(list(given)?.into_iter().map(single).collect());
    }
    let mut named = Vec::new();
    for path in given {
        let paths = if path == Path::new("-") { lines_of_stdin()? } else { vec![path.clone()] };
        for path in paths {
            named.extend(list_sequences(path, canvas.frames())?);
        }
    }
    match named.is_empty() {
        true => Err(Error::config("there are no images in what was given")),
        false => Ok(named),
    }
}

fn lines_of_stdin() -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| Error::io("read", "standard input", e))?;
        if !line.trim().is_empty() {
            paths.push(PathBuf::from(line.trim_end_matches('\r')));
        }
    }
    Ok(paths)
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
