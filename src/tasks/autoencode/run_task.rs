use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::noise::Noise;
use super::{Autoencoder, Evaluation, Options, Threshold, data, report};
use crate::data::{
    Augment, Batch, Dataset, Image, Images, Loader, Normalization, Normalize, Part, Probe, Splits, Targets,
};
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::report::Told;
use crate::tasks::{Answer, PredictOptions, RunTask};
use crate::train::{Kept, RunFolder, Schedule, Session, Settings};

impl RunTask for Autoencoder {
    const NAME: &'static str = "autoencode";

    fn open(path: &Path, options: &toml::Table) -> Result<Splits> {
        data::open(path, Options::read(options)?.normal.as_deref())
    }

    fn open_part(path: &Path, part: Part, _classes: &[String], options: &toml::Table) -> Result<Dataset> {
        data::open_part(path, part, Options::read(options)?.normal.as_deref())
    }

    /// Pictures from 0 to 1, as the network gives them, and unchanged. Anomalies are told best by a code that is a distribution: a
    /// plain one makes them again nearly as well as what it learned from.
    fn suggest(settings: &mut Settings, model: Option<&str>, _probe: Probe, pictures: usize) {
        const STEPS: u64 = 4000;
        settings.normalize = Normalize::Unit;
        settings.augment = Augment::default();
        settings.schedule = Schedule::Cosine;
        settings.epochs = (STEPS / pictures.div_ceil(settings.batch_size).max(1) as u64).clamp(5, 100);
        if model.is_none() {
            // Wrong options are told when they are read for good.
            let normal = Options::read(&settings.options).is_ok_and(|options| options.normal.is_some());
            settings.model = if normal { "vae" } else { "autoencoder" }.to_owned();
        }
    }

    fn of_run(kept: &Kept) -> Result<Self> {
        Self::new(kept.model.clone(), kept.normalization.clone(), Options::read(&kept.settings.options)?)
    }

    fn read_extras(&mut self, folder: &Path) -> Result<()> {
        self.threshold = Threshold::read(folder)?;
        Ok(())
    }

    /// Chooses the error from which pictures are called anomalies.
    fn after_training(
        session: &mut Session<Self>,
        val: Option<&Loader>,
        _kept: &Kept,
        folder: &RunFolder,
    ) -> Result<Vec<String>> {
        let Some(val) = val else { return Ok(Vec::new()) };
        let evaluation = session.evaluate(val)?;
        let normal = |&(i, _): &(usize, &f32)| evaluation.scores.answer(i).0 == 0;
        let errors: Vec<f32> = evaluation.errors.iter().enumerate().filter(normal).map(|(_, &e)| e).collect();
        let Some(threshold) = Threshold::fit(&errors) else { return Ok(Vec::new()) };
        session.task_mut().threshold = Some(threshold);
        let (name, text) = threshold.file();
        folder.write(name, text.as_bytes())?;
        let Threshold { error, images } = threshold;
        Ok(vec![format!("anomalies have errors above {error:.5}, below which 95 % of {images} validation images lie")])
    }

    fn model(&self) -> &Model {
        &self.model
    }

    fn targets(&self, _images: &Arc<Images>) -> Result<Option<Arc<dyn Targets>>> {
        let values = self.model.input.iter().product();
        Ok((self.options.denoise > 0.0).then(|| Arc::new(Noise { values }) as Arc<dyn Targets>))
    }

    fn balancing_weights(_train: &Dataset) -> Result<Vec<f32>> {
        Err(Error::config("--class-weights auto is not for --task autoencode: there are no classes in the loss"))
    }

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
        batch.labels.iter().map(|&label| if label == 0 { String::new() } else { self.classes[1].clone() }).collect()
    }

    fn lines(evaluation: &Evaluation) -> Vec<String> {
        let (m, percent) = (&evaluation.metrics, |x: f64| format!("{:.2} %", 100.0 * x));
        let mut lines = vec![
            format!("samples             {}", evaluation.samples),
            format!("loss                {:.5}", evaluation.loss),
            format!("explained variance  {}", percent(m.explained_variance)),
            format!("PSNR                {:.2} dB   mean squared error {:.5}", m.psnr, m.mse),
        ];
        if let (Some(area), Some(precision)) = (m.anomaly_auc, m.anomaly_average_precision) {
            let n = evaluation.anomalies;
            lines.push(format!(
                "anomalies           {n}   ROC-AUC {}   average precision {}",
                percent(area),
                percent(precision)
            ));
        }
        lines
    }

    fn told(_session: &mut Session<Self>, evaluation: &Evaluation, part: &str, images: &Images) -> Result<Told> {
        report::told(evaluation, part, images)
    }

    fn predict(session: &mut Session<Self>, images: Vec<Image>, options: &PredictOptions) -> Result<Vec<Answer>> {
        let shape = session.task().model.input;
        let fitted = images.into_iter().map(|image| image.fit(shape)).collect::<Result<Vec<_>>>()?;
        let outputs = session.infer(&Batch::of_images(&fitted))?;
        let (made, errors) = (outputs[1].f32(), outputs[2].f32());
        let threshold = options.threshold.map(f64::from).or(session.task().threshold.map(|t| t.error));
        let made = made.chunks_exact(made.len() / fitted.len());
        fitted
            .iter()
            .zip(made)
            .zip(errors)
            .map(|((image, made), &e)| answer(image, made, e, threshold, options.drawn))
            .collect()
    }
}

fn answer(image: &Image, made: &[f32], error: f32, threshold: Option<f64>, drawn: bool) -> Result<Answer> {
    let anomaly = threshold.map(|threshold| f64::from(error) > threshold);
    let word = anomaly.map_or("", |anomaly| if anomaly { "   anomaly" } else { "   normal" });
    let mut answer = Answer::new(json!({ "error": error, "anomaly": anomaly }), format!("error {error:.5}{word}"))?;
    if drawn {
        let pixels = made.iter().map(|v| (255.0 * v).round().clamp(0.0, 255.0) as u8).collect();
        let made = Image { pixels, ..image.clone() };
        answer.pictures.push(("difference", report::difference(image, &made)));
        answer.pictures.push(("reconstruction", made));
    }
    Ok(answer)
}
