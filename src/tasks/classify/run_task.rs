use std::path::Path;

use serde::Serialize;

use super::options::Options;
use super::report::{Judged, with_intervals};
use super::{Calibration, Classifier, Evaluation, Prediction, Weighting};
use crate::data::{
    self, Augment, Batch, Canvas, Dataset, Image, Images, Loader, Normalization, Part, Probe, Splits, open_labelled,
    open_labelled_sequences, open_sequences,
};
use crate::error::{Error, Result};
use crate::explain::Score;
use crate::graph::{Graph, Value};
use crate::nn::{Model, over_frames};
use crate::report::Told;
use crate::tasks::{Answer, PredictOptions, Refinement, RunTask};
use crate::tensor::Tensor;
use crate::train::{Kept, RunFolder, Schedule, Session, Settings};

/// Sets drawn for confidence intervals.
const RESAMPLES: u64 = 1000;
/// Values that the LSTM keeps that reads a sequence's frames.
const UNITS: usize = 64;

#[derive(Serialize)]
struct Scored<'a> {
    label: &'a str,
    score: f32,
}

impl RunTask for Classifier {
    const NAME: &'static str = "classify";
    const AVERAGES: bool = true;

    fn open(path: &Path, options: &toml::Table) -> Result<Splits> {
        match Options::read(options)?.frames {
            Some(frames) => open_sequences(path, frames),
            None => data::open(path),
        }
    }

    fn open_part(path: &Path, part: Part, classes: &[String], options: &toml::Table) -> Result<Dataset> {
        match Options::read(options)?.frames {
            Some(frames) => open_labelled_sequences(path, part, classes, frames),
            None => open_labelled(path, part, classes),
        }
    }

    /// Of a network for one frame, one for sequences.
    fn network(make: &dyn Fn(usize) -> Result<Model>, classes: usize, options: &toml::Table) -> Result<Model> {
        match Options::read(options)?.frames {
            Some(frames) => over_frames(&make(classes)?, frames, UNITS, classes),
            None => make(classes),
        }
    }

    /// What suits most pictures: where the network is ours to choose, so is how it is trained. Few pictures are shown more
    /// often; colour ones, which are photographs as a rule, are mirrored too, but not sequences: what moves to the left would
    /// move to the right.
    fn suggest(settings: &mut Settings, model: Option<&str>, probe: Probe, pictures: usize) {
        const STEPS: u64 = 6000;
        if model.is_some() {
            return;
        }
        let steps_per_epoch = pictures.div_ceil(settings.batch_size).max(1) as u64;
        settings.epochs = (STEPS / steps_per_epoch).clamp(10, 60);
        settings.schedule = Schedule::Cosine;
        let sequences = settings.options.contains_key("frames");
        settings.augment = if sequences { Augment::light() } else { Augment::suiting(probe.channels) };
        if sequences {
            settings.model = "frame-cnn".to_owned();
        }
    }

    fn of_run(kept: &Kept) -> Result<Self> {
        let mut classifier = Self::new(kept.model.clone(), kept.classes.clone(), kept.normalization.clone())?;
        let Settings { augment, label_smoothing, class_weights, .. } = &kept.settings;
        if classifier.canvas().frames() > 1 && augment.cutmix > 0.0 {
            return Err(Error::config("--cutmix is not for sequences: a part of another would be in some frames only"));
        }
        classifier.mixes = augment.mixes_images();
        classifier.weighting = Weighting { label_smoothing: *label_smoothing, class_weights: class_weights.clone() };
        Ok(classifier)
    }

    fn read_extras(&mut self, folder: &Path) -> Result<()> {
        self.calibration = Calibration::read(folder)?;
        Ok(())
    }

    /// Fits a temperature to the best weights, and keeps it.
    fn after_training(
        session: &mut Session<Self>,
        val: Option<&Loader>,
        kept: &Kept,
        folder: &RunFolder,
    ) -> Result<Vec<String>> {
        let Some(val) = val.filter(|_| kept.settings.calibrate) else { return Ok(Vec::new()) };
        let before = session.evaluate(val)?;
        let calibration = Calibration::fit(&before.scores);
        session.task_mut().calibration = Some(calibration);
        let after = session.evaluate(val)?;
        let (name, text) = calibration.file();
        folder.write(name, text.as_bytes())?;
        let [before, after] = [before, after].map(|e| 100.0 * e.metrics.calibration_error);
        let Calibration { temperature, images } = calibration;
        Ok(vec![format!(
            "calibrated by temperature {temperature:.2}: error on {images} validation images {before:.2} % before, \
             {after:.2} % after"
        )])
    }

    fn model(&self) -> &Model {
        &self.model
    }

    fn canvas(&self) -> Canvas {
        self.canvas()
    }

    fn balancing_weights(train: &Dataset) -> Result<Vec<f32>> {
        let counts = train.class_counts();
        let present = counts.iter().filter(|&&n| n > 0).count();
        Ok(counts.iter().map(|&n| train.len() as f32 / (present * n.max(1)) as f32).collect())
    }

    fn exported(&self, graph: &mut Graph, output: Value) -> Result<Value> {
        match self.model.ends_in_probabilities() || graph.shape(output).last() == 1 {
            true => Ok(output),
            false => crate::ops::softmax(graph, output),
        }
    }

    fn exported_values(&self, outputs: &[Tensor]) -> Vec<f32> {
        self.predictions(&outputs[1]).into_iter().flat_map(|p| p.probabilities).collect()
    }

    fn temperature(&self) -> f64 {
        self.calibration.map_or(1.0, |c| c.temperature)
    }

    fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn captions(&self, batch: &Batch) -> Vec<String> {
        let class = |label: i32| self.classes[label as usize].as_str();
        let caption = |i: usize| {
            let own = class(batch.labels[i]);
            match batch.mixes.as_ref().map(|mix| (mix.shares[i], class(mix.labels[i]))) {
                Some((share, other)) if share < 1.0 && other != own => format!("{own} {:.0} % {other}", 100.0 * share),
                _ => own.to_owned(),
            }
        };
        (0..batch.len()).map(caption).collect()
    }

    fn in_groups(mut evaluation: Evaluation, groups: Vec<usize>) -> Evaluation {
        evaluation.scores.groups = Some(groups);
        evaluation
    }

    fn refine(evaluation: Evaluation, how: Refinement) -> Evaluation {
        match how {
            Refinement::Quick => with_intervals(evaluation),
            Refinement::Thorough(seed) => evaluation.with_intervals(RESAMPLES, seed),
        }
    }

    fn lines(evaluation: &Evaluation) -> Vec<String> {
        super::lines::lines(evaluation)
    }

    fn told(session: &mut Session<Self>, evaluation: &Evaluation, part: &str, images: &Images) -> Result<Told> {
        Judged { part, images, evaluation, classes: &session.task().classes }.told(session)
    }

    fn subject(&self, probabilities: &[f32], class: Option<usize>) -> Result<(String, Score)> {
        let outputs = probabilities.len();
        let said = match probabilities {
            [second] => usize::from(*second > 0.5),
            several => super::most_probable(several),
        };
        let class = class.unwrap_or(said);
        Ok((self.classes[class].clone(), Score::class(class, outputs)))
    }

    fn predict(session: &mut Session<Self>, images: Vec<Image>, options: &PredictOptions) -> Result<Vec<Answer>> {
        let canvas = session.task().canvas();
        let fitted = images.into_iter().map(|image| image.fit(canvas)).collect::<Result<Vec<_>>>()?;
        let outputs = session.infer(&Batch::of_images(&fitted))?;
        let task = session.task();
        task.predictions(&outputs[1]).iter().map(|prediction| task.answer(prediction, options)).collect()
    }
}

impl Classifier {
    fn answer(&self, prediction: &Prediction, options: &PredictOptions) -> Result<Answer> {
        let ranking = prediction.ranking();
        let scored = |&c: &usize| Scored { label: &self.classes[c], score: prediction.probabilities[c] };
        let top: Vec<Scored<'_>> = ranking.iter().take(options.top.max(1)).map(scored).collect();
        let Scored { label, score } = top[0];
        let label = (!options.threshold.is_some_and(|least| score < least)).then_some(label);
        let others = &top[usize::from(label.is_some())..];
        let others: Vec<String> = others.iter().map(|s| format!("{} {:.3}", s.label, s.score)).collect();
        let others = if others.is_empty() { String::new() } else { format!("   ({})", others.join(", ")) };
        let line = format!("{}  {score:.3}{others}", label.unwrap_or("?"));
        Answer::new(serde_json::json!({ "label": label, "score": score, "top": top }), line)
    }
}
