use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::report::Judged;
use super::targets::BoxTargets;
use super::{Detection, Detector, Evaluation, grid};
use crate::data::{
    Augment, Batch, BoundingBox, Dataset, Image, Images, Loader, Normalization, Part, Probe, Splits, Targets,
    open_boxes, open_labelled_boxes,
};
use crate::error::{Error, Result};
use crate::explain::Score;
use crate::graph::{Graph, Value};
use crate::nn::{Model, zoo};
use crate::report::{Outline, Told, outlined};
use crate::tasks::{Answer, PredictOptions, RunTask};
use crate::train::{Kept, RunFolder, Schedule, Session, Settings};

/// What the run keeps of its scores.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scores {
    /// Least score of what is told: where F1 is highest on the validation pictures.
    threshold: f32,
}

impl Scores {
    const FILE: &str = "scores.toml";
}

/// A box as it is told: `[left, top, width, height]` in pixels.
#[derive(Serialize)]
struct Placed<'a> {
    label: &'a str,
    score: f32,
    r#box: [f32; 4],
}

impl RunTask for Detector {
    const NAME: &'static str = "detect";

    fn open(path: &Path, _options: &toml::Table) -> Result<Splits> {
        open_boxes(path)
    }

    fn open_part(path: &Path, part: Part, classes: &[String], _options: &toml::Table) -> Result<Dataset> {
        open_labelled_boxes(path, part, classes)
    }

    /// A network that gives a detector's map is one; others become its backbone.
    fn network(make: &dyn Fn(usize) -> Result<Model>, classes: usize, _options: &toml::Table) -> Result<Model> {
        let model = make(4 + classes)?;
        if grid(&model, classes)?.is_some() { Ok(model) } else { zoo::detector(&model, classes) }
    }

    /// Sides that the map's places divide, no longer than what small sets can be learned on in minutes without a GPU; as many
    /// steps; changes that keep boxes upright.
    fn suggest(settings: &mut Settings, model: Option<&str>, probe: Probe, pictures: usize) {
        const LONGEST: usize = 320;
        const MULTIPLE: usize = 32;
        const FEW: usize = 2000;
        if model.is_none_or(|name| zoo::default_size(name).is_ok()) {
            let size = probe.size.unwrap_or([256, 256]);
            let longest = size[0].max(size[1]);
            let fitted = size.map(|extent| (extent * longest.min(LONGEST)) as f64 / longest as f64 / MULTIPLE as f64);
            settings.image_size = fitted.map(|multiples| (multiples.round() as usize).max(1) * MULTIPLE);
        }
        if model.is_none() {
            settings.model = "resnet18".into();
            if pictures < FEW {
                settings.width = Some(0.25);
                settings.learning_rate = 0.003;
            }
        }
        let (batch_size, steps) = if pictures < FEW { (8, 750) } else { (16, 1500) };
        settings.batch_size = batch_size;
        let steps_per_epoch = pictures.div_ceil(batch_size).max(1) as u64;
        settings.epochs = (steps / steps_per_epoch).clamp(10, 100);
        settings.schedule = Schedule::Cosine;
        settings.warmup = 1.0;
        let colour = if probe.channels == 3 { Augment::standard() } else { Augment::light() };
        settings.augment = Augment { rotate: 0.0, scale: [0.8, 1.25], flip_horizontal: true, ..colour };
    }

    fn of_run(kept: &Kept) -> Result<Self> {
        if kept.settings.label_smoothing > 0.0 {
            return Err(Error::config("--label-smoothing is not for --task detect"));
        }
        Self::new(kept.model.clone(), kept.classes.clone(), kept.normalization.clone())
    }

    fn read_extras(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(Scores::FILE);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let scores: Scores = toml::from_str(&text).map_err(|e| Error::format(&path, e.to_string()))?;
                self.threshold = Some(scores.threshold);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("read", &path, e)),
        }
    }

    /// Keeps the score from which on the best weights do best on the validation pictures.
    fn after_training(
        session: &mut Session<Self>,
        val: Option<&Loader>,
        _kept: &Kept,
        folder: &RunFolder,
    ) -> Result<Vec<String>> {
        let Some(val) = val else { return Ok(Vec::new()) };
        session.task_mut().threshold = None;
        let threshold = session.evaluate(val)?.metrics.threshold as f32;
        if threshold == 0.0 {
            return Ok(vec!["nothing is found on the validation pictures: train longer, or at another --lr".into()]);
        }
        let text =
            toml::to_string(&Scores { threshold }).map_err(|e| Error::config(format!("{}: {e}", Scores::FILE)))?;
        folder.write(Scores::FILE, text.as_bytes())?;
        session.task_mut().threshold = Some(threshold);
        Ok(vec![format!("boxes are told from score {threshold:.2} on, where F1 is highest on the validation pictures")])
    }

    fn model(&self) -> &Model {
        &self.model
    }

    fn targets(&self, images: &Arc<Images>) -> Result<Option<Arc<dyn Targets>>> {
        Ok(Some(Arc::new(BoxTargets::new(images, self.grid, self.classes.len()))))
    }

    fn balancing_weights(_train: &Dataset) -> Result<Vec<f32>> {
        Err(Error::config("--class-weights is not for --task detect"))
    }

    /// Corners as shares of the picture, and probabilities.
    fn exported(&self, graph: &mut Graph, output: Value) -> Result<Value> {
        super::loss::decoded(graph, output)
    }

    /// Of whole pictures there are no classes.
    fn class_counts(_dataset: &Dataset) -> Vec<usize> {
        Vec::new()
    }

    fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn captions(&self, batch: &Batch) -> Vec<String> {
        let caption = |boxes: Vec<BoundingBox>| format!("{} boxes", boxes.len());
        super::targets::truth(batch).into_iter().map(caption).collect()
    }

    fn lines(evaluation: &Evaluation) -> Vec<String> {
        super::lines::lines(evaluation)
    }

    fn told(session: &mut Session<Self>, evaluation: &Evaluation, part: &str, images: &Images) -> Result<Told> {
        let Self { classes, threshold, .. } = session.task();
        let threshold = threshold.unwrap_or(Self::THRESHOLD);
        Judged { part, images, evaluation, classes, threshold }.told()
    }

    fn likelihoods(&self, graph: &mut Graph, output: Value) -> Result<Value> {
        crate::ops::sigmoid(graph, output)
    }

    /// The logit of the surest place of a class, or of all.
    fn subject(&self, probabilities: &[f32], class: Option<usize>) -> Result<(String, Score)> {
        let channels = 4 + self.classes.len();
        let of_class = |at: &usize| (at % channels).checked_sub(4).is_some_and(|own| class.is_none_or(|c| c == own));
        let places = (0..probabilities.len()).filter(of_class);
        let surest = places.reduce(|best, at| if probabilities[at] > probabilities[best] { at } else { best });
        let at = surest.ok_or_else(|| Error::config("the network gives no scores"))?;
        Ok((self.classes[at % channels - 4].clone(), Score::output(at, probabilities.len())))
    }

    fn predict(session: &mut Session<Self>, images: Vec<Image>, options: &PredictOptions) -> Result<Vec<Answer>> {
        let shape = session.task().model.input;
        let fitted = images.iter().map(|image| image.clone().fit(shape)).collect::<Result<Vec<_>>>()?;
        let outputs = session.infer(&Batch::of_images(&fitted))?;
        let task = session.task();
        let found = task.found(&outputs[1]);
        found.iter().zip(images).map(|(found, image)| task.answer(found, image, options)).collect()
    }
}

impl Detector {
    fn answer(&self, found: &[Detection], image: Image, options: &PredictOptions) -> Result<Answer> {
        let threshold = options.threshold.or(self.threshold).unwrap_or(Self::THRESHOLD);
        let told: Vec<&Detection> = found.iter().filter(|found| found.score >= threshold).collect();
        let [height, width] = image.size.map(|extent| extent as f32);
        let boxes: Vec<Placed<'_>> = told
            .iter()
            .map(|found| {
                let [left, top, right, bottom] = found.corners;
                let r#box = [left * width, top * height, (right - left) * width, (bottom - top) * height];
                Placed { label: &self.classes[found.class], score: found.score, r#box }
            })
            .collect();
        let words: Vec<String> = boxes
            .iter()
            .map(|Placed { label, score, r#box }| {
                let [left, top, width, height] = r#box.map(f32::round);
                format!("{label} {score:.2} [{left}, {top}, {width}, {height}]")
            })
            .collect();
        let line = if words.is_empty() { "nothing".to_owned() } else { words.join("   ") };
        let mut answer = Answer::new(serde_json::json!({ "boxes": boxes }), line)?;
        if options.drawn {
            let outlines: Vec<Outline> = told.iter().map(|found| found.outline(&self.classes)).collect();
            answer.pictures.push(("overlay", outlined(image, None, &outlines)));
        }
        Ok(answer)
    }
}
