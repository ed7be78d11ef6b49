use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::pool::{Pixels, Pool};
use super::{Augment, Image, Images, Mixes, Sampling, Seed, Target, Targets, targets};
use crate::error::Result;
use crate::ops::AugmentRow;

/// Some images with all that a training step needs to know of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[n, height, width, channels]`.
    pub images: Pixels,
    /// `[n]`, indices into the data set's classes.
    pub labels: Vec<i32>,
    /// `[n]`, how each image is changed.
    pub rows: Vec<AugmentRow>,
    /// How they are mixed, if they are.
    pub mixes: Option<Mixes>,
    /// What the network is to answer, where that is more than labels.
    pub targets: Vec<Target>,
    /// `[n]`, which of the data set's samples they are.
    pub indices: Vec<usize>,
}

impl Batch {
    /// Images of one size as they are, of no known class.
    pub fn of_images(images: &[Image]) -> Self {
        Self {
            images: images.iter().flat_map(|i| i.pixels.iter().copied()).collect(),
            labels: vec![0; images.len()],
            rows: vec![AugmentRow::STILL; images.len()],
            mixes: None,
            targets: Vec::new(),
            indices: (0..images.len()).collect(),
        }
    }

    /// How many images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The same images, each changed as `row` says and unmixed.
    pub fn seen_as(&self, row: AugmentRow) -> Self {
        Self { rows: vec![row; self.len()], mixes: None, ..self.clone() }
    }

    /// Whether there are none; never, as a [`Loader`] yields it.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// How a [`Loader`] makes batches. The default suits evaluation: in order, unchanged.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Images in a batch; the last of an epoch may be smaller.
    pub batch_size: NonZero<usize>,
    /// Another order in each epoch, instead of file order.
    pub shuffle: bool,
    /// How often which images are shown.
    pub sampling: Sampling,
    /// How images are changed, anew in each epoch.
    pub augment: Augment,
    /// What the network is to answer, where that is more than labels.
    pub targets: Option<Arc<dyn Targets>>,
    /// Decides the order and the changes.
    pub seed: Seed,
    /// Threads that decode, at most 64; `None` for one a core.
    pub workers: Option<NonZero<usize>>,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        const BATCH_SIZE: NonZero<usize> = NonZero::new(32).unwrap();
        Self {
            batch_size: BATCH_SIZE,
            shuffle: false,
            sampling: Sampling::Natural,
            augment: Augment::default(),
            targets: None,
            seed: Seed(0),
            workers: None,
        }
    }
}

/// Makes batches of images on threads of its own, ahead of whoever uses them.
///
/// What is in a batch depends on the options, the epoch and the images alone, never on the threads. These share the images
/// of a batch, each decoded to its place there, and go on to the next batch when none is left: so they are busy whatever
/// the batch size, and the batches in the making take no more memory on many cores than on few.
#[derive(Clone, Debug)]
pub struct Loader {
    images: Arc<Images>,
    options: LoaderOptions,
    /// Memory of batches that were used.
    spare: Arc<Pool<Vec<u8>>>,
}

impl Loader {
    /// A loader of `images`.
    pub fn new(images: Arc<Images>, options: LoaderOptions) -> Self {
        Self { images, options, spare: Arc::default() }
    }

    /// The images it loads.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        self.images.len().div_ceil(self.options.batch_size.get())
    }

    /// Starts loading an epoch: the batches which show each image once, or as [`Sampling`] has it.
    ///
    /// Its threads begin at once and stay a few batches ahead. They end with it, whether or not it was used up.
    pub fn epoch(&self, number: u64) -> Epoch {
        self.epoch_from(number, 0)
    }

    /// As [`Loader::epoch`], without the `first` batches, which are not read.
    pub fn epoch_from(&self, number: u64, first: usize) -> Epoch {
        let LoaderOptions { sampling, shuffle, seed, .. } = self.options;
        let order = sampling.order(self.images.dataset(), shuffle, seed, number);
        let size = self.options.batch_size.get();
        let waiting = order.chunks(size).skip(first).map(<[usize]>::to_vec).collect();
        let threads = self.options.workers.map_or_else(cores, NonZero::get).min(order.len()).min(MOST_WORKERS);
        let mut epoch = Epoch {
            loader: self.clone(),
            number,
            waiting,
            answers: VecDeque::new(),
            threads: workers(threads),
            cancelled: Arc::default(),
            waited: Duration::ZERO,
        };
        // Two ready, and in the making one more than gives every thread an image.
        let ahead = 3 + threads / size;
        (0..ahead).for_each(|_| epoch.hand_out());
        epoch
    }

    /// Stops early, with images left as they were, when `cancelled` is set.
    fn batch(&self, epoch: u64, showings: Vec<usize>, cancelled: &AtomicBool) -> Result<Batch> {
        let [height, width, channels] = self.images.shape();
        let bytes = height * width * channels;
        let indices: Vec<usize> = showings.iter().map(|showing| showing % self.images.len()).collect();
        let mut images = Pixels::from_pool(&self.spare, indices.len() * bytes);
        let read = |(index, slot): (&usize, &mut [u8])| match cancelled.load(Ordering::Relaxed) {
            false => self.images.read(*index, slot),
            true => Ok(()),
        };
        let slots = images.as_mut().par_chunks_exact_mut(bytes);
        // All are waited for: which error is told must not depend on which thread was first.
        let outcomes: Vec<Result<()>> = indices.par_iter().zip(slots).with_max_len(1).map(read).collect();
        outcomes.into_iter().collect::<Result<()>>()?;
        let LoaderOptions { augment, seed, targets, .. } = &self.options;
        let label = |&index: &usize| self.images.dataset().samples[index].label as i32;
        let labels: Vec<i32> = indices.iter().map(label).collect();
        let frame = self.images.canvas().frame_size();
        let row = |&showing: &usize| augment.row(*seed, epoch, showing, frame);
        let rows: Vec<AugmentRow> = showings.iter().map(row).collect();
        let targets = targets.as_ref().map(|t| targets::make(t.as_ref(), &indices, &rows)).transpose()?;
        let mixes = augment.mixes(*seed, epoch, &showings, &labels, [height, width]);
        Ok(Batch { images, labels, rows, mixes, targets: targets.unwrap_or_default(), indices })
    }
}

/// More would only wait for each other, or not start at all.
const MOST_WORKERS: usize = 64;

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn workers(threads: usize) -> ThreadPool {
    // Should a job panic, it has said so, and whoever waits for its batch finds that there is none.
    let builder = ThreadPoolBuilder::new().num_threads(threads).panic_handler(|_| ());
    builder.thread_name(|i| format!("loader {i}")).build().expect("threads can be started")
}

/// The batches of an epoch, in order. After an error there are no more.
#[derive(Debug)]
pub struct Epoch {
    loader: Loader,
    number: u64,
    /// Batches that were not handed out yet, as [`Sampling::order`] gives them.
    waiting: VecDeque<Vec<usize>>,
    /// The answers to come, in the order in which batches are handed out.
    answers: VecDeque<Receiver<Result<Batch>>>,
    threads: ThreadPool,
    cancelled: Arc<AtomicBool>,
    waited: Duration,
}

impl Epoch {
    fn hand_out(&mut self) {
        let Some(indices) = self.waiting.pop_front() else { return };
        let (answer, receiver) = sync_channel(1);
        let (loader, number, cancelled) = (self.loader.clone(), self.number, self.cancelled.clone());
        self.threads.spawn(move || {
            let batch = loader.batch(number, indices, &cancelled);
            // Before the answer: with the last one, all that the epoch's threads hold is let go.
            drop(loader);
            // If the epoch was given up, nobody waits for it any more.
            let _ = answer.send(batch);
        });
        self.answers.push_back(receiver);
    }

    /// Ends the work that was handed out, and waits for its end.
    fn give_up(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.waiting.clear();
        for answer in self.answers.drain(..) {
            // A worker that panicked has said so.
            let _ = answer.recv();
        }
    }

    /// How long its user has waited for batches that were not ready.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        let answer = self.answers.pop_front()?;
        let start = Instant::now();
        let batch = answer.recv().expect("a worker answers every job");
        self.waited += start.elapsed();
        match batch {
            Ok(_) => self.hand_out(),
            Err(_) => self.give_up(),
        }
        Some(batch)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.answers.len() + self.waiting.len();
        (left, Some(left))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::class_folders;
    use super::super::{Cache, folder};
    use super::*;

    /// 7 cats, whose pixels begin with 0, and 4 dogs, whose begin with 10; kept in memory or read each time.
    fn images(folder: &std::path::Path, cache: Cache) -> Arc<Images> {
        class_folders(folder, &[("cat", 7), ("dog", 4)]);
        let data = folder::read(folder).unwrap().unwrap().train;
        Arc::new(Images::load(data, [4, 4, 3], cache, &|| Ok(())).unwrap())
    }

    fn options(workers: usize) -> LoaderOptions {
        LoaderOptions {
            batch_size: NonZero::new(4).unwrap(),
            workers: NonZero::new(workers),
            shuffle: true,
            sampling: Sampling::Natural,
            augment: Augment::standard(),
            targets: None,
            seed: Seed(5),
        }
    }

    fn batches(loader: &Loader, epoch: u64) -> Vec<Batch> {
        loader.epoch(epoch).collect::<Result<_>>().unwrap()
    }

    #[test]
    fn an_epoch_shows_each_image_once_in_file_order() {
        let dir = tempfile::tempdir().unwrap();
        let options = LoaderOptions { batch_size: NonZero::new(4).unwrap(), ..LoaderOptions::default() };
        let loader = Loader::new(images(dir.path(), Cache::Ram), options);
        let batches = batches(&loader, 0);
        assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [4, 4, 3]);
        assert_eq!(loader.batches(), 3);
        assert_eq!(batches.iter().flat_map(|b| b.indices.clone()).collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
        assert_eq!(batches[1].labels, [0, 0, 0, 1]);
        assert_eq!(batches[1].images.len(), 4 * 48);
        assert_eq!(batches[1].images[3 * 48..][..3], [10, 0, 0]);
        assert_eq!(batches[2].rows[1], AugmentRow::STILL);
        assert_eq!(batches[2].mixes, None);
    }

    #[test]
    fn batches_do_not_depend_on_threads_or_memory() {
        let dir = tempfile::tempdir().unwrap();
        let expected = batches(&Loader::new(images(dir.path(), Cache::Ram), options(1)), 3);
        for cache in [Cache::None, Cache::Ram] {
            let images = images(dir.path(), cache);
            for workers in [0, 1, 2, 7] {
                assert_eq!(batches(&Loader::new(images.clone(), options(workers)), 3), expected);
            }
        }
    }

    #[test]
    fn an_epoch_can_be_taken_up_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let loader = Loader::new(images(dir.path(), Cache::Ram), options(2));
        for first in 0..4 {
            let rest: Vec<Batch> = loader.epoch_from(3, first).collect::<Result<_>>().unwrap();
            assert_eq!(rest, batches(&loader, 3)[first..]);
        }
    }

    #[test]
    fn each_epoch_and_seed_has_its_own_order() {
        let dir = tempfile::tempdir().unwrap();
        let images = images(dir.path(), Cache::Ram);
        let order = |seed, epoch| -> Vec<usize> {
            let loader = Loader::new(images.clone(), LoaderOptions { seed: Seed(seed), ..options(2) });
            batches(&loader, epoch).into_iter().flat_map(|batch| batch.indices).collect()
        };
        assert_ne!(order(0, 0), order(0, 1));
        assert_ne!(order(0, 0), order(1, 0));
        let mut sorted = order(0, 1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..11).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_that_goes_away_is_an_error_and_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let images = images(dir.path(), Cache::None);
        std::fs::remove_file(dir.path().join("cat/005.png")).unwrap();
        let loader = Loader::new(images, LoaderOptions { shuffle: false, ..options(3) });
        let mut epoch = loader.epoch(0);
        assert!(epoch.next().unwrap().is_ok());
        assert!(epoch.next().unwrap().unwrap_err().to_string().contains("005.png"));
        assert!(epoch.next().is_none());
    }

    #[test]
    fn giving_up_an_epoch_ends_its_threads() {
        let dir = tempfile::tempdir().unwrap();
        let images = images(dir.path(), Cache::None);
        for taken in 0..3 {
            let mut epoch = Loader::new(images.clone(), options(3)).epoch(0);
            assert_eq!(epoch.size_hint(), (3, Some(3)));
            epoch.by_ref().take(taken).for_each(|batch| assert!(batch.is_ok()));
            assert_eq!(epoch.size_hint(), (3 - taken, Some(3 - taken)));
            drop(epoch);
            assert_eq!(Arc::strong_count(&images), 1, "every worker has let go of the images");
        }
    }
}
