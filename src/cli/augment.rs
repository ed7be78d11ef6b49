use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::train::{image_size, open_data, suggested};
use super::{Common, catch_interrupts, interrupted, print};
use crate::atomic;
use crate::data::{self, Annotation, Batch, Cache, Dataset, Images, Loader, LoaderOptions, Mixes, Seed};
use crate::error::{Error, Result};
use crate::ops::{AugmentRow, MixRow};
use crate::report;
use crate::tasks::{Classifier, RunTask, recognise, with_task};

/// Draws images as training would show them: each row has one as it is, and then changed anew seven times.
#[derive(Args)]
pub(super) struct Augment {
    /// What `train` takes; without it, the sample set of handwritten digits.
    data: Option<PathBuf>,
    /// What to train for: classify, segment, detect, embed, autoencode or read; without it, what the data is for.
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// none, light, standard, strong, randaugment, or a TOML file; without it, what `train` takes for such images.
    #[arg(long, value_name = "PRESET|FILE")]
    augment: Option<data::Augment>,
    /// Mix images in pairs, in shares from Beta(ALPHA, ALPHA).
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f32>,
    /// Paste a part of one image into another, with shares of the area from Beta(ALPHA, ALPHA).
    #[arg(long, value_name = "ALPHA")]
    cutmix: Option<f32>,
    /// Height and width to which images are resized: N or HxW.
    #[arg(long, value_name = "N|HxW")]
    image_size: Option<String>,
    /// The PNG to write.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_value = "augment.png", default_missing_value = "augment.png")]
    preview: PathBuf,
}

/// Images shown, and how often each.
const IMAGES: usize = 4;
const SHOWINGS: usize = 8;

impl Augment {
    pub fn run(&self, common: &Common) -> Result<()> {
        catch_interrupts()?;
        let known = self.data.as_deref().map_or(Ok(Classifier::NAME), recognise)?;
        with_task!(self.task.as_deref().unwrap_or(known), T => self.draw::<T>(common))
    }

    fn draw<T: RunTask>(&self, common: &Common) -> Result<()> {
        let train = open_data::<T>(self.data.as_deref(), &toml::Table::new())?.train;
        let probe = train.probe()?;
        let size = self.image_size.as_deref().map(image_size).transpose()?;
        let [height, width] = size.or(probe.size).unwrap_or([224, 224]);
        let mut augment = match &self.augment {
            Some(augment) => augment.clone(),
            None => suggested::<T>(probe, train.len())?.augment,
        };
        augment.mixup = self.mixup.unwrap_or(augment.mixup);
        augment.cutmix = self.cutmix.unwrap_or(augment.cutmix);
        augment.check()?;
        let classes = if whole(&train) { train.classes.clone() } else { Vec::new() };
        let shape = [height, width, probe.channels];
        let images = Images::load(spread(train), shape, Cache::Ram, &stop_if_interrupted)?;
        let batch = showings(images, &augment, Seed(common.seed.unwrap_or(0)), [height, width])?;
        let captions: Vec<String> = {
            let class = |&label: &i32| classes.get(label as usize).cloned().unwrap_or_default();
            batch.labels.iter().map(class).collect()
        };
        let (png, _) = report::contact_sheet(&batch, shape, &captions)?;
        atomic::write(&self.preview, &png).map_err(|e| Error::io("write", &self.preview, e))?;
        print(format!("{}: each row an image as it is, then changed", self.preview.display()))
    }
}

fn stop_if_interrupted() -> Result<()> {
    if interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Whether classes are of whole images.
fn whole(dataset: &Dataset) -> bool {
    dataset.samples.iter().all(|sample| sample.annotation == Annotation::None)
}

/// A few images, as far from each other as they come.
fn spread(mut dataset: Dataset) -> Dataset {
    let (n, shown) = (dataset.len(), dataset.len().min(IMAGES));
    dataset.samples = (0..shown).map(|i| dataset.samples[i * n / shown].clone()).collect();
    dataset
}

/// Each image as it is, and then as in the first epochs.
fn showings(images: Images, augment: &data::Augment, seed: Seed, size: [usize; 2]) -> Result<Batch> {
    let images = Arc::new(images);
    let loader = Loader::new(images.clone(), LoaderOptions::default());
    let plain = loader.epoch(0).next().unwrap_or_else(|| Err(Error::config("there are no images")))?;
    let (n, bytes) = (plain.len(), plain.images.len() / plain.len());
    let (mut pixels, mut labels, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut mixes = Mixes { rows: Vec::new(), labels: Vec::new(), shares: Vec::new() };
    for image in 0..n {
        // Mixed with the image in the next row of the sheet, and that of the last row with the first.
        let partner = if image + 1 < n { SHOWINGS as f32 } else { -((n - 1) as f32 * SHOWINGS as f32) };
        for showing in 0..SHOWINGS {
            pixels.extend_from_slice(&plain.images[image * bytes..][..bytes]);
            labels.push(plain.labels[image]);
            let (epoch, changed) = (showing as u64, showing > 0);
            let row = || augment.row(seed, epoch, image, size);
            rows.push(if changed { row() } else { AugmentRow::STILL });
            let mix = augment.mixes(seed, epoch, &[image, image + n], &[0, 0], size).filter(|_| changed);
            mixes.rows.push(mix.as_ref().map_or(MixRow::ALONE, |mix| MixRow { partner, ..mix.rows[0] }));
            mixes.shares.push(mix.map_or(1.0, |mix| mix.shares[0]));
            mixes.labels.push(plain.labels[(image + 1) % n]);
        }
    }
    let indices = (0..labels.len()).collect();
    let mixes = augment.mixes_images().then_some(mixes);
    Ok(Batch { images: pixels.into(), labels, rows, mixes, targets: Vec::new(), indices })
}
