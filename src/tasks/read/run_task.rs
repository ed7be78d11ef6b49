use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::texts::{Texts, steps_of};
use super::{Evaluation, Options, Reader, report};
use crate::data::{
    Augment, Batch, Canvas, Dataset, Image, Images, Normalization, Part, Probe, Splits, Targets, open_labelled_texts,
    open_texts,
};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::nn::{Model, zoo};
use crate::ops;
use crate::report::Told;
use crate::tasks::{Answer, PredictOptions, RunTask};
use crate::tensor::Tensor;
use crate::train::{Kept, Schedule, Session, Settings};

#[derive(Serialize)]
struct Alternative {
    text: String,
    score: f64,
}

impl RunTask for Reader {
    const NAME: &'static str = "read";

    fn open(path: &Path, options: &toml::Table) -> Result<Splits> {
        open_texts(path, Options::read(options)?.text_from)
    }

    fn open_part(path: &Path, part: Part, classes: &[String], options: &toml::Table) -> Result<Dataset> {
        open_labelled_texts(path, part, classes, Options::read(options)?.text_from)
    }

    /// With an output for the blank.
    fn network(make: &dyn Fn(usize) -> Result<Model>, classes: usize, _options: &toml::Table) -> Result<Model> {
        make(classes + 1)
    }

    /// Networks of the zoo read lines 32 pixels high, here as wide as the longest; where the network is ours to choose, it is one
    /// that learns in minutes, and lines are slanted, turned a little and made smaller, so that they stay in the picture.
    fn suggest(settings: &mut Settings, model: Option<&str>, probe: Probe, pictures: usize) {
        const HEIGHT: usize = 32;
        const WIDTHS: [usize; 2] = [32, 512];
        const STEPS: u64 = 2500;
        if model.is_none_or(|name| zoo::default_size(name).is_ok()) {
            let [height, width] = probe.widest;
            let width = (width * HEIGHT).div_ceil(height.max(1)).next_multiple_of(16);
            settings.image_size = [HEIGHT, width.clamp(WIDTHS[0], WIDTHS[1])];
        }
        if model.is_some() {
            return;
        }
        settings.model = "crnn-small".to_owned();
        settings.epochs = (STEPS / pictures.div_ceil(settings.batch_size).max(1) as u64).clamp(8, 100);
        settings.schedule = Schedule::Cosine;
        settings.learning_rate = 0.003;
        settings.augment = Augment {
            rotate: 1.0,
            shear: 10.0,
            scale: [0.85, 1.0],
            brightness: 0.05,
            contrast: 0.2,
            ..Augment::default()
        };
    }

    fn of_run(kept: &Kept) -> Result<Self> {
        let Settings { augment, label_smoothing, class_weights, .. } = &kept.settings;
        let refuse = |what: &str| Err(Error::config(format!("{what} --task {}", Self::NAME)));
        if augment.flip_horizontal || augment.flip_vertical {
            return refuse(
                "mirrored text cannot be read: choose another --augment than standard, strong or randaugment for",
            );
        }
        if *label_smoothing > 0.0 {
            return refuse("--label-smoothing is not for");
        }
        if class_weights.is_some() {
            return refuse("--class-weights are not for");
        }
        Self::new(kept.model.clone(), kept.classes.clone(), kept.normalization.clone())
    }

    fn model(&self) -> &Model {
        &self.model
    }

    fn canvas(&self) -> Canvas {
        self.canvas()
    }

    fn targets(&self, images: &Arc<Images>) -> Result<Option<Arc<dyn Targets>>> {
        Ok(Some(Arc::new(Texts::new(self, images)?)))
    }

    fn balancing_weights(_train: &Dataset) -> Result<Vec<f32>> {
        Err(Error::config("--class-weights are not for --task read"))
    }

    fn exported(&self, graph: &mut Graph, output: Value) -> Result<Value> {
        if self.model.ends_in_probabilities() { Ok(output) } else { ops::softmax(graph, output) }
    }

    fn exported_values(&self, outputs: &[Tensor]) -> Vec<f32> {
        outputs[1].f32().chunks(self.symbols.len() + 1).flat_map(softmax).collect()
    }

    fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    fn classes(&self) -> &[String] {
        &self.symbols
    }

    fn captions(&self, batch: &Batch) -> Vec<String> {
        let texts = self.texts_of(batch).unwrap_or_default();
        let mut captions: Vec<String> = texts.iter().map(|(text, _)| self.spell(text)).collect();
        captions.resize(batch.len(), String::new());
        captions
    }

    fn lines(evaluation: &Evaluation) -> Vec<String> {
        report::lines(evaluation)
    }

    fn told(_session: &mut Session<Self>, evaluation: &Evaluation, part: &str, images: &Images) -> Result<Told> {
        report::told(evaluation, part, images)
    }

    fn predict(session: &mut Session<Self>, images: Vec<Image>, options: &PredictOptions) -> Result<Vec<Answer>> {
        let (canvas, steps) = (session.task().canvas(), session.task().steps());
        let lengths: Vec<usize> =
            images.iter().map(|image| steps_of(canvas.covered(image.size), canvas, steps)).collect();
        let fitted = images.into_iter().map(|image| image.fit(canvas)).collect::<Result<Vec<_>>>()?;
        let outputs = session.infer(&Batch::of_images(&fitted))?;
        let (task, each) = (session.task(), session.task().symbols.len() + 1);
        let pictures = outputs[1].f32().chunks(steps * each).zip(lengths);
        pictures.map(|(logits, length)| task.answer(&logits[..length * each], options)).collect()
    }
}

impl Reader {
    fn answer(&self, logits: &[f32], options: &PredictOptions) -> Result<Answer> {
        let readings = self.readings(logits, options.beam);
        let told = readings.iter().take(options.top.max(1));
        let top: Vec<Alternative> =
            told.map(|(text, score)| Alternative { text: self.spell(text), score: *score }).collect();
        let Alternative { text, score } = &top[0];
        let sure = !options.threshold.is_some_and(|least| *score < f64::from(least));
        let others: Vec<String> = top[1..].iter().map(|other| format!("{} {:.3}", other.text, other.score)).collect();
        let others = if others.is_empty() { String::new() } else { format!("   ({})", others.join(", ")) };
        let line = format!("{}  {score:.3}{others}", if sure { text } else { "?" });
        let mut answer = json!({ "text": sure.then_some(text), "score": score });
        if options.beam > 1 {
            answer["top"] = json!(top);
        }
        Answer::new(answer, line)
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let powers: Vec<f32> = logits.iter().map(|x| (x - largest).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}
