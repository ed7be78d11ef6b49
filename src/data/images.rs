use rayon::prelude::*;

use super::image::check_shape;
use super::normalize::Moments;
use super::{Dataset, Image, Normalization, Normalize, Source};
use crate::error::{Error, Result};

/// A data set's pictures at one shape, all known to be readable.
///
/// Every picture is decoded once before the first batch, on all cores. So what cannot be read is known and left out from
/// the start: every epoch has the same batches, and no run stops in its seventh hour over a file that was broken from the
/// beginning. The same pass sums up the pixels for [`Normalization`], and keeps them when they fit in memory: then no
/// picture is decoded twice. When they do not fit, the pass costs one epoch's decoding, once.
#[derive(Debug)]
pub struct Images {
    dataset: Dataset,
    shape: [usize; 3],
    /// `[images, height, width, channels]`, if it fits.
    cache: Option<Vec<u8>>,
    moments: Moments,
    skipped: Vec<Error>,
}

impl Images {
    /// Memory that is given to decoded pictures unless told otherwise.
    pub const CACHE_BYTES: usize = 1 << 30;

    /// Decodes every picture to `shape` (`[height, width, channels]`, 1 or 3 channels; see [`Image::fit`]) and keeps them
    /// if they take at most `cache_bytes`.
    ///
    /// `progress` is called after each picture, from several threads; an error of its own ends the pass.
    ///
    /// Errors: if the shape cannot be, or not one picture can be read.
    pub fn load(
        mut dataset: Dataset,
        shape: [usize; 3],
        cache_bytes: usize,
        progress: &(dyn Fn() -> Result<()> + Sync),
    ) -> Result<Self> {
        check_shape(shape)?;
        let image_bytes: usize = shape.iter().product();
        let fits = dataset.len().checked_mul(image_bytes).is_some_and(|bytes| bytes <= cache_bytes);
        let mut cache = vec![0; if fits { dataset.len() * image_bytes } else { 0 }];
        let slots = cache.chunks_exact_mut(image_bytes).map(Some).chain(std::iter::repeat_with(|| None));
        let tasks: Vec<_> = dataset.samples.iter().zip(slots).collect();
        let outcomes = tasks.into_par_iter().map(|(sample, slot)| {
            let outcome = decode(&sample.source, shape, slot);
            progress().map(|()| outcome)
        });
        let outcomes = outcomes.collect::<Result<Vec<_>>>()?;

        let readable: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
        if fits {
            close_gaps(&mut cache, image_bytes, &readable);
        }
        let mut readable = readable.into_iter();
        dataset.samples.retain(|_| readable.next() == Some(true));
        let (moments, skipped) = tally(outcomes);
        let images = Self { dataset, shape, cache: fits.then_some(cache), moments, skipped };
        if images.is_empty() { Err(images.nothing_readable()) } else { Ok(images) }
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
        self.shape
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
        Normalization::new(mode, self.shape[2], &self.moments)
    }

    /// One picture.
    ///
    /// Errors: if it is not kept in memory and its file can no longer be read.
    pub fn image(&self, index: usize) -> Result<Image> {
        let [height, width, channels] = self.shape;
        match &self.cache {
            Some(cache) => {
                let bytes = height * width * channels;
                Ok(Image { size: [height, width], channels, pixels: cache[index * bytes..][..bytes].to_vec() })
            }
            None => self.dataset.samples[index].source.image()?.fit(self.shape),
        }
    }

    /// Appends the pixels of one picture to `batch`.
    ///
    /// Errors: as [`Images::image`].
    pub(super) fn append(&self, index: usize, batch: &mut Vec<u8>) -> Result<()> {
        match &self.cache {
            Some(cache) => {
                let bytes: usize = self.shape.iter().product();
                batch.extend_from_slice(&cache[index * bytes..][..bytes]);
            }
            None => batch.extend_from_slice(&self.image(index)?.pixels),
        }
        Ok(())
    }
}

/// Sums over a picture's pixels, which are kept in `slot` if there is one.
fn decode(source: &Source, shape: [usize; 3], slot: Option<&mut [u8]>) -> Result<Moments> {
    let image = source.image()?.fit(shape)?;
    if let Some(slot) = slot {
        slot.copy_from_slice(&image.pixels);
    }
    Ok(Moments::of(&image.pixels, image.channels))
}

/// Moves the blocks that are kept together at the front, in order, and drops the rest.
fn close_gaps(blocks: &mut Vec<u8>, block: usize, keep: &[bool]) {
    let mut kept = 0;
    for (index, _) in keep.iter().enumerate().filter(|&(_, &keep)| keep) {
        blocks.copy_within(index * block..(index + 1) * block, kept * block);
        kept += 1;
    }
    blocks.truncate(kept * block);
}

fn tally(outcomes: Vec<Result<Moments>>) -> (Moments, Vec<Error>) {
    let mut skipped = Vec::new();
    let moments = outcomes.into_iter().fold(Moments::default(), |sum, outcome| match outcome {
        Ok(moments) => sum.plus(moments),
        Err(error) => {
            skipped.push(error);
            sum
        }
    });
    (moments, skipped)
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
        for cache_bytes in [Images::CACHE_BYTES, 0] {
            let images = Images::load(data.clone(), SHAPE, cache_bytes, &quiet).unwrap();
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
        let images = Images::load(data, SHAPE, 0, &quiet).unwrap();
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
        let message = Images::load(data, SHAPE, 0, &quiet).unwrap_err().to_string();
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
        Images::load(data.clone(), SHAPE, 0, &progress).unwrap();
        assert_eq!(count.into_inner(), 8);
        let stopped = Images::load(data.clone(), SHAPE, 0, &|| Err(Error::Interrupted));
        assert!(matches!(stopped, Err(Error::Interrupted)));
        assert!(Images::load(data, [4, 0, 3], 0, &quiet).is_err());
    }
}
