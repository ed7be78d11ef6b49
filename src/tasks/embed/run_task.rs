use std::path::Path;

use super::head::network;
use super::report::Judged;
use super::{Embedder, Evaluation, MetricLoss, Options, Pairs, Threshold};
use crate::data::{
    Augment, Batch, Dataset, Image, Images, Loader, Normalization, Part, Probe, Sampling, Seed, Splits, open_parts,
    read_labelled,
};
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::report::Told;
use crate::tasks::{Answer, PredictOptions, RunTask};
use crate::tensor::Tensor;
use crate::train::{Kept, RunFolder, Schedule, Session, Settings};

/// Numbers of a vector that a person is shown.
const SHOWN: usize = 4;

impl RunTask for Embedder {
    const NAME: &'static str = "embed";

    fn open(path: &Path, _options: &toml::Table) -> Result<Splits> {
        open_parts(path)
    }

    fn open_part(path: &Path, part: Part, _classes: &[String], _options: &toml::Table) -> Result<Dataset> {
        Ok(read_labelled(path)?.into_part_or_other(part))
    }

    /// Whole classes, where there are enough; else pictures of each.
    fn split(splits: Splits, settings: &Settings) -> Result<Splits> {
        let parts = !splits.val.is_empty() || !splits.test.is_empty();
        match Options::read(&settings.options)?.held_out(splits.train.classes.len(), parts) {
            0 => splits.split(settings.val_fraction, Seed(settings.seed)),
            _ if settings.val_fraction == 0.0 => Ok(splits),
            classes => splits.hold_out_classes(classes),
        }
    }

    fn labelled(dataset: Dataset, _classes: &[String]) -> Result<Dataset> {
        Ok(dataset)
    }

    fn network(make: &dyn Fn(usize) -> Result<Model>, classes: usize, options: &toml::Table) -> Result<Model> {
        network(&make(classes)?, classes, &Options::read(options)?)
    }

    /// Batches of groups for triplets, and enough steps.
    fn suggest(settings: &mut Settings, model: Option<&str>, probe: Probe, pictures: usize) {
        const STEPS: u64 = 1500;
        // Wrong options are told when they are read for good.
        if Options::read(&settings.options).is_ok_and(|o| o.loss == MetricLoss::Triplet) {
            settings.sampling = Sampling::GROUPS;
        }
        if model.is_some() {
            return;
        }
        let steps_per_epoch = pictures.div_ceil(settings.batch_size).max(1) as u64;
        settings.epochs = (STEPS / steps_per_epoch).clamp(10, 60);
        settings.schedule = Schedule::Cosine;
        settings.augment = Augment::suiting(probe.channels);
    }

    fn of_run(kept: &Kept) -> Result<Self> {
        let Settings { options, sampling, batch_size, label_smoothing, class_weights, .. } = &kept.settings;
        if *label_smoothing > 0.0 || class_weights.is_some() {
            return Err(Error::config("--label-smoothing and --class-weights are not for --task embed"));
        }
        let options = Options::read(options)?;
        let embedder = Self::new(kept.model.clone(), kept.normalization.clone())?;
        let (classes, sampling, batch_size) = (kept.classes.clone(), *sampling, *batch_size);
        Ok(Self { classes, options, sampling, batch_size, ..embedder })
    }

    fn read_extras(&mut self, folder: &Path) -> Result<()> {
        self.threshold = Threshold::read(folder)?;
        Ok(())
    }

    /// Chooses the threshold from which on two pictures are taken for the same, and keeps it.
    fn after_training(
        session: &mut Session<Self>,
        val: Option<&Loader>,
        _kept: &Kept,
        folder: &RunFolder,
    ) -> Result<Vec<String>> {
        let Some(val) = val else { return Ok(Vec::new()) };
        let embeddings = session.evaluate(val)?.embeddings;
        let Some(threshold) = Threshold::of(&Pairs::of(&embeddings)) else {
            return Ok(vec![
                "no threshold: on the validation images none tells pairs of one class from pairs of two".to_owned(),
            ]);
        };
        let (name, text) = threshold.file()?;
        folder.write(name, text.as_bytes())?;
        let line = format!(
            "threshold {:.3}: right for {:.2} % of validation pairs, if as many are of one class as of two",
            threshold.chosen.threshold,
            100.0 * threshold.chosen.accuracy()
        );
        session.task_mut().threshold = Some(threshold);
        Ok(vec![line])
    }

    fn model(&self) -> &Model {
        &self.model
    }

    fn balancing_weights(_train: &Dataset) -> Result<Vec<f32>> {
        Err(Error::config("--class-weights is not for --task embed: --sampling balanced shows classes equally often"))
    }

    fn exported_values(&self, outputs: &[Tensor]) -> Vec<f32> {
        outputs[0].f32().to_vec()
    }

    fn normalization(&self) -> &Normalization {
        &self.normalization
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn captions(&self, batch: &Batch) -> Vec<String> {
        batch.labels.iter().map(|&label| self.classes.get(label as usize).cloned().unwrap_or_default()).collect()
    }

    fn lines(evaluation: &Evaluation) -> Vec<String> {
        lines(evaluation)
    }

    fn told(session: &mut Session<Self>, evaluation: &Evaluation, part: &str, images: &Images) -> Result<Told> {
        Judged { part, images, evaluation, trained: &session.task().classes }.told()
    }

    fn predict(session: &mut Session<Self>, images: Vec<Image>, _options: &PredictOptions) -> Result<Vec<Answer>> {
        let vectors = embed(session, images)?;
        vectors
            .iter()
            .map(|vector| {
                let first: Vec<String> = vector.iter().take(SHOWN).map(|x| format!("{x:.4}")).collect();
                let more = if vector.len() > SHOWN { " …" } else { "" };
                let line = format!("{} numbers: {}{more}", vector.len(), first.join(" "));
                Answer::new(serde_json::json!({ "embedding": vector }), line)
            })
            .collect()
    }
}

/// The vector of each picture, given in its own size.
///
/// Errors: if the device fails.
pub(crate) fn embed(session: &mut Session<Embedder>, images: Vec<Image>) -> Result<Vec<Vec<f32>>> {
    let shape = session.task().model.input;
    let fitted = images.into_iter().map(|image| image.fit(shape)).collect::<Result<Vec<_>>>()?;
    let outputs = session.infer(&Batch::of_images(&fitted))?;
    let vectors = outputs.first().ok_or_else(|| Error::device("the network gave no results"))?;
    Ok(vectors.f32().chunks_exact(vectors.shape().last()).map(<[f32]>::to_vec).collect())
}

fn lines(evaluation: &Evaluation) -> Vec<String> {
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let m = &evaluation.metrics;
    let mut lines = vec![
        format!("samples    {}   of which {} have companions", evaluation.samples, m.queries),
        format!("loss       {:.4}", evaluation.loss),
        format!(
            "recall@1   {}   @5 {}   @10 {}   mAP {}",
            percent(m.recall_at_1),
            percent(m.recall_at_5),
            percent(m.recall_at_10),
            percent(m.mean_average_precision)
        ),
    ];
    let Some(v) = &evaluation.verification else { return lines };
    lines.push(format!("\npairs      {} of one class, {} of two", v.same_pairs, v.different_pairs));
    lines.push(format!("ROC-AUC    {}   equal error rate {}", percent(v.roc_auc), percent(v.equal_error_rate)));
    for accepted in &v.tar_at_far {
        let (tar, limit) = (percent(accepted.tar), accepted.limit());
        lines.push(format!("accepted   {tar} of those of one class, with {limit} of the others"));
    }
    let chosen = if v.calibrated { "chosen on validation images" } else { "the best for these" };
    let point = &v.at_threshold;
    lines.push(format!(
        "accuracy   {} at threshold {:.3}, {chosen}: {} falsely accepted, {} falsely rejected",
        percent(v.accuracy),
        point.threshold,
        percent(point.false_accept_rate),
        percent(point.false_reject_rate)
    ));
    lines
}
