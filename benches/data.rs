//! How fast pictures come: `OCELLUS_CACHE_DIR=$(mktemp -d) cargo bench --bench data -- FOLDER [SIZE]`, for a folder of
//! class folders with JPEGs.
//!
//! The yardstick is a plain loop that reads and decodes the same files with the same decoder on all cores, and does nothing
//! else. Against it stand epochs of the loader (shuffled, resized, with augmentation rows, put together in batches) that
//! decode each picture anew, and epochs from the cache on disk; medians over rounds that take turns. Then, how long it
//! takes to begin, without a cache on disk and with one. Last, on Linux, the most memory that was in use until a tenth of
//! one long epoch without a cache had passed, and until its end: the same pictures over and over, [`STREAM`] in all.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use ocellus::data::{self, Augment, Cache, Dataset, Images, Loader, LoaderOptions, Source};
use ocellus::error::{Error, Result};
use rayon::prelude::*;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;

const ROUNDS: u64 = 9;
const STREAM: usize = 20_000;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let usage = || Error::config("usage: cargo bench --bench data -- FOLDER [SIZE]");
    let dataset = data::open(args.next().ok_or_else(usage)?)?.train;
    let size = args.next().map_or(Ok(224), |size| size.parse().map_err(|_| usage()))?;
    let load = |cache| Images::load(dataset.clone(), [size, size, 3], cache, &|| Ok(()));
    let (first, written) = seconds(|| load(Cache::Disk));
    let (second, cached) = seconds(|| load(Cache::Disk));
    drop(written?);
    let (fresh, cached) = (loader(load(Cache::None)?), loader(cached?));

    let mut rates = [const { Vec::new() }; 3];
    for epoch in 0..ROUNDS {
        let times = [
            seconds(|| decode_all(&dataset)),
            seconds(|| load_all(&fresh, epoch)),
            seconds(|| load_all(&cached, epoch)),
        ];
        for (rates, (seconds, result)) in rates.iter_mut().zip(times) {
            result?;
            rates.push(dataset.len() as f64 / seconds);
        }
    }
    let [plain, fresh, cached] = rates.map(median);
    println!("{} images to {size}x{size}", dataset.len());
    println!("plain decoding      {plain:>8.0} images/s");
    println!("loader, no cache    {fresh:>8.0} images/s   {:.0} % of it", 100.0 * fresh / plain);
    println!("loader, disk cache  {cached:>8.0} images/s   {:.0} % of it", 100.0 * cached / plain);
    println!("to begin: {:.0} ms without a cache on disk, {:.0} ms with one", 1e3 * first, 1e3 * second);
    stream(dataset, [size, size, 3])
}

fn stream(mut dataset: Dataset, shape: [usize; 3]) -> Result<()> {
    dataset.samples = dataset.samples.iter().cycle().take(STREAM).cloned().collect();
    let loader = loader(Images::load(dataset, shape, Cache::None, &|| Ok(()))?);
    let mut epoch = loader.epoch(0);
    epoch.by_ref().take(loader.batches() / 10).try_for_each(|batch| batch.map(drop))?;
    let early = peak_memory();
    epoch.try_for_each(|batch| batch.map(drop))?;
    if let (Some(early), Some(late)) = (early, peak_memory()) {
        println!("most memory: {early} MiB after {} images, {late} MiB after {STREAM}", STREAM / 10);
    }
    Ok(())
}

/// In MiB, of this process so far.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? >> 10)
}

fn loader(images: Images) -> Loader {
    let options = LoaderOptions { shuffle: true, augment: Augment::standard(), ..LoaderOptions::default() };
    Loader::new(Arc::new(images), options)
}

fn load_all(loader: &Loader, epoch: u64) -> Result<()> {
    loader.epoch(epoch).try_for_each(|batch| batch.map(|batch| drop(black_box(batch))))
}

fn decode_all(dataset: &Dataset) -> Result<()> {
    dataset.samples.par_iter().try_for_each(|sample| {
        let Source::File(path) = &sample.source else {
            return Err(Error::config("the data are not image files"));
        };
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        let options = DecoderOptions::default().set_strict_mode(false);
        let picture = JpegDecoder::new_with_options(ZCursor::new(&bytes), options).decode();
        black_box(picture.map_err(|e| Error::format(path, e.to_string()))?);
        Ok(())
    })
}

fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
