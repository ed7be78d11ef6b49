use rayon::prelude::*;

use super::image::check_shape;
use super::normalize::Moments;
use super::{Dataset, Image, Normalization, Normalize};
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
            let outcome = sample.source.image().and_then(|image| image.fit(shape)).map(|image| {
                if let Some(slot) = slot {
                    slot.copy_from_slice(&image.pixels);
                }
                Moments::of(&image.pixels, image.channels)
            });
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
