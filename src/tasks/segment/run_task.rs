use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::masks::{self, Masks};
use super::tiles::probabilities;
use super::{EVEN, Evaluation, Options, Segmenter, drawing, report};
use crate::data::{Augment, Batch, Dataset, Image, Images, Normalization, Part, Probe, Splits, Targets, open_masks};
use crate::error::{Error, Result};
use crate::explain::Score;
use crate::graph::{Graph, Value};
use crate::nn::Model;
use crate::report::Told;
use crate::tasks::{Answer, PredictOptions, RunTask};
use crate::train::{Kept, Schedule, Session, Settings};

impl RunTask for Segmenter {
    const NAME: &'static str = "segment";

    fn open(path: &Path, options: &toml::Table) -> Result<Splits> {
        let splits = open_masks(path, &Options::read(options)?.reading()?, None)?;
        match splits.train.is_empty() {
            true => Err(Error::format(path, "there are no training images")),
            false => Ok(splits),
        }
    }

    fn open_part(path: &Path, part: Part, classes: &[String], options: &toml::Table) -> Result<Dataset> {
        let splits = open_masks(path, &Options::read(options)?.reading()?, Some(classes))?;
        Ok(splits.into_part_or_other(part))
    }

    /// A light network, and pictures in about their size, in multiples of 32 pixels.
    fn suggest(settings: &mut Settings, model: Option<&str>, probe: Probe, pictures: usize) {
        const STEPS: u64 = 2000;
        const BATCH: usize = 8;
        const SIDES: [usize; 2] = [32, 256];
        settings.batch_size = BATCH;
        settings.epochs = (STEPS / pictures.div_ceil(BATCH).max(1) as u64).clamp(10, 100);
        settings.schedule = Schedule::Cosine;
        settings.augment = Augment::suiting(probe.channels);
        let side = |n: usize| ((n + 16) / 32 * 32).clamp(SIDES[0], SIDES[1]);
        settings.image_size = probe.size.map_or([SIDES[1]; 2], |size| size.map(side));
        if model.is_none() {
            settings.model = "linknet".to_owned();
        }
    }

    fn of_run(kept: &Kept) -> Result<Self> {
        let options = Options::read(&kept.settings.options)?;
        let Settings { label_smoothing, class_weights, .. } = kept.settings.clone();
        let ignored = options.ignored(&kept.classes)?;
        let own = Self::new(kept.model.clone(), kept.classes.clone(), kept.normalization.clone())?;
        Ok(Self { loss: options.loss, label_smoothing, class_weights, ignored, tiles: options.tile.is_some(), ..own })
    }

    fn model(&self) -> &Model {
        &self.model
    }

    fn targets(&self, images: &Arc<Images>) -> Result<Option<Arc<dyn Targets>>> {
        Ok(Some(Masks::load(images, self.classes.len(), self.ignored)?))
    }

    fn balancing_weights(train: &Dataset) -> Result<Vec<f32>> {
        let mut counts = vec![0_u64; train.classes.len()];
        for index in 0..train.len() {
            let unknown = |class| Error::config(format!("a mask has class {class}, which has no name"));
            let own = masks::read(train, index, None)?.counts(counts.len()).map_err(unknown)?;
            counts.iter_mut().zip(own).for_each(|(sum, n)| *sum += n);
        }
        let (total, present) = (counts.iter().sum::<u64>() as f32, counts.iter().filter(|&&n| n > 0).count() as f32);
        // The square root keeps rare classes from drowning the others.
        let weight = |&n: &u64| if n == 0 { 0.0 } else { (total / (present * n as f32)).sqrt() };
        Ok(counts.iter().map(weight).collect())
    }

    fn class_counts(_dataset: &Dataset) -> Vec<usize> {
        Vec::new()
    }

    fn exported(&self, graph: &mut Graph, output: Value) -> Result<Value> {
        self.probabilities(graph, output)
    }

    fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn captions(&self, batch: &Batch) -> Vec<String> {
        vec![String::new(); batch.len()]
    }

    fn lines(evaluation: &Evaluation) -> Vec<String> {
        let percent = |x: f64| format!("{:.2} %", 100.0 * x);
        let maybe = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), percent);
        let m = &evaluation.metrics;
        let mut lines = vec![
            format!("samples         {}", evaluation.samples),
            format!("loss            {:.4}", evaluation.loss),
            format!("mean IoU        {}   mean Dice {}", percent(m.mean_iou), percent(m.dice)),
            format!("pixel accuracy  {}   mean over classes {}", percent(m.pixel_accuracy), percent(m.mean_accuracy)),
        ];
        let width = evaluation.per_class.keys().map(|k| k.chars().count()).max().unwrap_or(5).max(5);
        lines.push(format!("\n{:<width$}  {:>9}  {:>9}  {:>9}  {:>9}", "class", "IoU", "Dice", "precision", "recall"));
        for (name, c) in &evaluation.per_class {
            let (iou, dice, p, r) = (maybe(c.iou), maybe(c.dice), percent(c.precision), percent(c.recall));
            lines.push(format!("{name:<width$}  {iou:>9}  {dice:>9}  {p:>9}  {r:>9}"));
        }
        lines
    }

    fn told(session: &mut Session<Self>, evaluation: &Evaluation, part: &str, images: &Images) -> Result<Told> {
        report::told(session.task(), evaluation, part, images)
    }

    /// The mean logit of a class over the pixels that are said to be of it: without one, over the largest but the first of two.
    fn subject(&self, probabilities: &[f32], class: Option<usize>) -> Result<(String, Score)> {
        let answers = self.answers(probabilities, EVEN);
        let size = |class: usize| answers.iter().filter(|&&answer| usize::from(answer) == class).count();
        let classes = usize::from(self.classes.len() == 2)..self.classes.len();
        let class = class.or_else(|| classes.max_by_key(|&class| size(class))).unwrap_or(0);
        let places: Vec<bool> = answers.iter().map(|&answer| usize::from(answer) == class).collect();
        if !places.contains(&true) {
            let message = format!("no pixel is said to be {}: name another --class", self.classes[class]);
            return Err(Error::config(message));
        }
        Ok((self.classes[class].clone(), Score::places(&places, class, probabilities.len() / places.len())))
    }

    fn predict(session: &mut Session<Self>, images: Vec<Image>, options: &PredictOptions) -> Result<Vec<Answer>> {
        images.into_iter().map(|image| predict(session, image, options)).collect()
    }
}

fn predict(session: &mut Session<Segmenter>, image: Image, options: &PredictOptions) -> Result<Answer> {
    let map = probabilities(session, image.clone())?;
    let task = session.task();
    let threshold = options.threshold.unwrap_or(EVEN);
    let answers: Vec<u8> =
        map.values.chunks_exact(map.channels).map(|row| task.most_probable(row, threshold)).collect();
    let mut counts = vec![0_usize; task.classes.len()];
    answers.iter().for_each(|&class| counts[usize::from(class)] += 1);
    let share = |count: usize| count as f64 / answers.len() as f64;
    let shares: Map<String, Json> = task.classes.iter().cloned().zip(counts.iter().map(|&n| share(n).into())).collect();
    let mut largest: Vec<usize> = (0..counts.len()).filter(|&class| counts[class] > 0).collect();
    largest.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
    let told = largest.iter().take(options.top.max(1));
    let line: Vec<String> =
        told.map(|&class| format!("{} {:.1} %", task.classes[class], 100.0 * share(counts[class]))).collect();
    let mut answer = Answer::new(json!({ "size": map.size, "classes": shares }), line.join(", "))?;
    if options.drawn {
        let overlay = drawing::overlay(&image, &answers, task.classes.len() == 2);
        answer.pictures.push(("mask", drawing::mask(map.size, &answers, &task.classes)));
        answer.pictures.push(("overlay", overlay));
    }
    Ok(answer)
}
