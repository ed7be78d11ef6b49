use std::sync::Arc;

use super::cache::{Cache, CacheFolder};
use super::decoded::{Decoded, Outcome, Pictures, Progress};
use super::normalize::Moments;
use super::workbench::Form;
use super::{Canvas, Dataset, Image, Normalization, Normalize, Source, Splits};
use crate::error::{Error, Result};

/// A data set's pictures on one canvas, all known to be readable.
///
/// Every picture is decoded once before the first batch, on all cores. So what cannot be read is known and left out from
/// the start: every epoch has the same batches, and no run stops in its seventh hour over a file that was broken from the
/// beginning. The same pass sums up the pixels for [`Normalization`], and keeps them where [`Cache`] says: then no picture
/// is decoded twice, and with a cache on disk not even by the next run. When they are kept nowhere, the pass costs one
/// epoch's decoding, once.
#[derive(Debug)]
pub struct Images {
    dataset: Dataset,
    canvas: Canvas,
    /// Of this data set, and of others that were loaded with it.
    decoded: Arc<Decoded>,
    /// Each sample's number among the decoded.
    numbers: Vec<usize>,
    moments: Moments,
    skipped: Vec<Error>,
}

impl Images {
    /// Brings every picture to `canvas` (or to a shape, `[height, width, channels]`; see [`Image::fit`]).
    ///
    /// `progress` is called after each picture that is decoded, from several threads; an error of its own ends the pass.
    ///
    /// Errors: if the canvas cannot be, not one picture can be read, or the pictures cannot be kept where `cache` demands.
    pub fn load(
        dataset: Dataset,
        canvas: impl Into<Canvas>,
        cache: Cache,
        progress: &(dyn Fn() -> Result<()> + Sync),
    ) -> Result<Self> {
        Self::load_with(dataset, canvas.into(), cache, CacheFolder::of_user().as_ref(), progress)
    }

    fn load_with(
        dataset: Dataset,
        canvas: Canvas,
        cache: Cache,
        folder: Option<&CacheFolder>,
        progress: &Progress,
    ) -> Result<Self> {
        let [images] = Self::load_parts([dataset], canvas, cache, folder, progress)?;
        if images.is_empty() { Err(images.nothing_readable()) } else { Ok(images) }
    }

    /// The training, validation and test part of a data set on one canvas, each `None` if it is empty. They share a cache,
    /// however they were split.
    ///
    /// Errors: as [`Images::load`].
    pub fn load_splits(
        splits: Splits,
        canvas: impl Into<Canvas>,
        cache: Cache,
        progress: &(dyn Fn() -> Result<()> + Sync),
    ) -> Result<[Option<Self>; 3]> {
        let parts = [splits.train, splits.val, splits.test];
        let folder = CacheFolder::of_user();
        let [train, val, test] = Self::load_parts(parts, canvas.into(), cache, folder.as_ref(), progress)?;
        let filled = |images: Self| match (images.is_empty(), images.skipped.is_empty()) {
            (true, true) => Ok(None),
            (true, false) => Err(images.nothing_readable()),
            (false, _) => Ok(Some(images)),
        };
        Ok([filled(train)?, filled(val)?, filled(test)?])
    }

    fn load_parts<const N: usize>(
        parts: [Dataset; N],
        canvas: Canvas,
        cache: Cache,
        folder: Option<&CacheFolder>,
        progress: &Progress,
    ) -> Result<[Self; N]> {
        canvas.check()?;
        let form = Form { canvas, window: parts.first().map_or_else(Default::default, |part| part.window) };
        let mut samples: Vec<(usize, &Source)> = Vec::new();
        for (part, dataset) in parts.iter().enumerate() {
            samples.extend(dataset.samples.iter().map(|sample| (part, &sample.source)));
        }
        // An order that does not depend on the split: then neither does the cache.
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.sort_by_key(|&at| samples[at].1.key());
        let pictures = Pictures { sources: order.iter().map(|&at| samples[at].1).collect(), form };
        let (decoded, outcomes) = pictures.decode(cache, folder, progress)?;
        let mut found: Vec<(usize, Outcome)> = outcomes.into_iter().enumerate().collect();
        found.sort_by_key(|&(number, _)| order[number]);
        let (decoded, mut found) = (Arc::new(decoded), found.into_iter());
        Ok(parts.map(|dataset| {
            let outcomes = found.by_ref().take(dataset.len()).collect();
            Self::new(dataset, canvas, decoded.clone(), outcomes)
        }))
    }

    /// `outcomes`: for each sample its number among the decoded, and what decoding brought.
    fn new(mut dataset: Dataset, canvas: Canvas, decoded: Arc<Decoded>, outcomes: Vec<(usize, Outcome)>) -> Self {
        let mut readable = outcomes.iter().map(|(_, outcome)| outcome.is_ok()).collect::<Vec<_>>().into_iter();
        dataset.samples.retain(|_| readable.next() == Some(true));
        let (mut numbers, mut moments, mut skipped) = (Vec::new(), Moments::default(), Vec::new());
        for (number, outcome) in outcomes {
            match outcome {
                Ok(of_picture) => {
                    numbers.push(number);
                    moments = moments.plus(of_picture);
                }
                Err(error) => skipped.push(error),
            }
        }
        Self { dataset, canvas, decoded, numbers, moments, skipped }
    }

    fn nothing_readable(mut self) -> Error {
        let count = self.skipped.len();
        let first = self.skipped.drain(..).next().map_or_else(String::new, |e| format!("; the first: {e}"));
        Error::format(self.dataset.root, format!("none of its {count} images could be read{first}"))
    }

    /// How many pictures.
    pub fn len(&self) -> usize {
        self.dataset.len()
    }

    /// Whether there are none; never after [`Images::load`].
    pub fn is_empty(&self) -> bool {
        self.dataset.is_empty()
    }

    /// `[height, width, channels]`.
    pub fn shape(&self) -> [usize; 3] {
        self.canvas.shape
    }

    /// What they were brought to.
    pub fn canvas(&self) -> Canvas {
        self.canvas
    }

    /// The samples that could be read; their positions are those in [`Batch::indices`](super::Batch::indices).
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Why each picture that was left out could not be read, in file order.
    pub fn skipped(&self) -> &[Error] {
        &self.skipped
    }

    /// What `mode` means for these pictures.
    pub fn normalization(&self, mode: Normalize) -> Normalization {
        Normalization::new(mode, self.canvas.shape[2], &self.moments)
    }

    /// Whether looking at a picture again costs no decoding.
    pub fn is_kept(&self) -> bool {
        !matches!(*self.decoded, Decoded::Nowhere(_))
    }

    /// Where the decoded pictures are kept, in words.
    pub fn kept(&self) -> String {
        self.decoded.to_string()
    }

    /// One picture.
    ///
    /// Errors: if it is kept nowhere and its file can no longer be read.
    pub fn image(&self, index: usize) -> Result<Image> {
        let [height, width, channels] = self.canvas.shape;
        let mut pixels = vec![0; height * width * channels];
        self.read(index, &mut pixels)?;
        Ok(Image { size: [height, width], channels, pixels })
    }

    /// Writes the pixels of one picture to `target`.
    ///
    /// Errors: as [`Images::image`].
    pub(super) fn read(&self, index: usize, target: &mut [u8]) -> Result<()> {
        let form = Form { canvas: self.canvas, window: self.dataset.window };
        self.decoded.read(self.numbers[index], &self.dataset.samples[index].source, form, target)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::fixtures::{class_folders, write};
    use super::super::folder;
    use super::*;

    const SHAPE: [usize; 3] = [4, 4, 3];

    fn quiet() -> Result<()> {
        Ok(())
    }

    /// Three cats and two dogs, with a file that is no image before, between and after the cats.
    fn with_bad_files() -> (tempfile::TempDir, Dataset) {
        let dir = tempfile::tempdir().unwrap();
        class_folders(dir.path(), &[("cat", 3), ("dog", 2)]);
        for name in ["cat/0.png", "cat/001b.png", "cat/a.png"] {
            write(dir.path(), name, "not an image");
        }
        let data = folder::read(dir.path()).unwrap().unwrap().train;
        (dir, data)
    }

    #[test]
    fn what_cannot_be_read_is_left_out_with_the_reason() {
        let (_dir, data) = with_bad_files();
        for cache in [Cache::Ram, Cache::None] {
            let images = Images::load(data.clone(), SHAPE, cache, &quiet).unwrap();
            assert_eq!((images.len(), images.dataset().class_counts()), (5, vec![3, 2]));
            let skipped = images.skipped().iter().map(Error::to_string).collect::<Vec<_>>();
            assert!(skipped[1].contains("001b.png: not a JPEG"), "{skipped:?}");
            assert_eq!(skipped.len(), 3);
            for (index, first) in [[0, 0, 0], [0, 1, 0], [0, 2, 0], [10, 0, 0], [10, 1, 0]].into_iter().enumerate() {
                assert_eq!(images.image(index).unwrap().pixels[..3], first, "image {index}");
            }
        }
    }

    #[test]
    fn normalization_is_over_what_can_be_read() {
        let (_dir, data) = with_bad_files();
        let images = Images::load(data, SHAPE, Cache::None, &quiet).unwrap();
        let found = images.normalization(Normalize::Dataset);
        assert_eq!(found.mean, [4.0 / 255.0, 0.8 / 255.0, 0.0]);
        assert!((f64::from(found.std[0]) * 255.0 - 24f64.sqrt()).abs() < 1e-5 && found.std[2] == 1.0);
    }

    #[test]
    fn nothing_readable_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "cat/1.png", "");
        write(dir.path(), "dog/2.png", "");
        let data = folder::read(dir.path()).unwrap().unwrap().train;
        let message = Images::load(data, SHAPE, Cache::None, &quiet).unwrap_err().to_string();
        assert!(message.contains("none of its 2 images could be read; the first: "), "{message}");
        assert!(message.ends_with("1.png: the file is empty"), "{message}");
    }

    #[test]
    fn progress_counts_every_picture_and_can_stop() {
        let (_dir, data) = with_bad_files();
        let count = AtomicUsize::new(0);
        let progress = || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        Images::load(data.clone(), SHAPE, Cache::None, &progress).unwrap();
        assert_eq!(count.into_inner(), 8);
        let stopped = Images::load(data.clone(), SHAPE, Cache::None, &|| Err(Error::Interrupted));
        assert!(matches!(stopped, Err(Error::Interrupted)));
        assert!(Images::load(data, [4, 0, 3], Cache::None, &quiet).is_err());
    }

    #[test]
    fn however_a_set_is_split_its_parts_share_one_cache() {
        let (dir, data) = with_bad_files();
        let folder = CacheFolder::new(dir.path().join("cache"));
        let count = AtomicUsize::new(0);
        let progress = || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        for (val, skipped) in [(vec![0, 6], [2, 1]), (vec![7, 3, 4], [2, 1])] {
            let train: Vec<usize> = (0..8).filter(|index| !val.contains(index)).collect();
            let parts = [data.subset(&train), data.subset(&val)];
            let found = Images::load_parts(parts, SHAPE.into(), Cache::Disk, Some(&folder), &progress).unwrap();
            assert_eq!(found.each_ref().map(|images| images.skipped().len()), skipped);
            for images in &found {
                let alone = Images::load(images.dataset().clone(), SHAPE, Cache::None, &quiet).unwrap();
                for index in 0..images.len() {
                    assert_eq!(images.image(index).unwrap(), alone.image(index).unwrap());
                }
                let mode = Normalize::Dataset;
                assert_eq!(images.normalization(mode), alone.normalization(mode));
            }
        }
        assert_eq!(count.into_inner(), 8, "only the first time");
    }
}
