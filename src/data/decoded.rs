use std::fmt;
use std::path::PathBuf;

use rayon::prelude::*;

use super::Source;
use super::cache::{Cache, CacheFile, CacheFolder, Contents, Unfinished};
use super::normalize::Moments;
use super::pool::Pool;
use super::workbench::{Form, Workbench};
use crate::error::{Error, Result};

/// Memory that [`Cache::Auto`] gives to decoded pictures.
const MOST_IN_MEMORY: usize = 1 << 30;

/// Where the pixels of decoded pictures are. Pictures are numbered in the order in which they were given.
#[derive(Debug)]
pub(super) enum Decoded {
    /// `[pictures, height, width, channels]`.
    Memory(Vec<u8>),
    /// In a file that is mapped into memory.
    Disk(CacheFile),
    /// Nowhere: each use decodes, with one of these.
    Nowhere(Pool<Workbench>),
}

/// What decoding a picture brought: sums over its pixels, or why it could not be read.
pub(super) type Outcome = Result<Moments>;

/// Called after each picture, from several threads; an error ends the pass.
pub(super) type Progress<'a> = dyn Fn() -> Result<()> + Sync + 'a;

/// Where pixels go while pictures are decoded.
enum Place {
    Memory(Vec<u8>),
    Disk(Unfinished),
    Nowhere,
}

/// Pictures to be brought to one form.
pub(super) struct Pictures<'a> {
    pub sources: Vec<&'a Source>,
    pub form: Form,
}

impl Pictures<'_> {
    /// Decodes each of them once, on all cores, unless the cache in `folder` has them already.
    ///
    /// Errors: if pictures cannot be kept where `cache` demands it, or `progress` says so.
    pub fn decode(
        &self,
        cache: Cache,
        folder: Option<&CacheFolder>,
        progress: &Progress,
    ) -> Result<(Decoded, Vec<Outcome>)> {
        let files = self.files().filter(|_| matches!(cache, Cache::Auto | Cache::Disk));
        if let (Cache::Disk, Some(_), None) = (cache, &files, folder) {
            return Err(Error::config(
                "could not keep decoded images on disk: OCELLUS_CACHE_DIR must name a folder for them",
            ));
        }
        let disk = files.zip(folder);
        let contents = disk.map(|(files, folder)| (Contents::of(&files, self.form), folder));
        if let Some((contents, folder)) = &contents
            && let Some(file) = CacheFile::open(contents, folder)
            && let Some(outcomes) = self.outcomes(&file)
        {
            return Ok((Decoded::Disk(file), outcomes));
        }
        let unfinished = contents.map(|(contents, folder)| {
            let file = Unfinished::create(&contents, folder);
            file.map_err(|e| Error::io("keep decoded images in", folder.path(), e))
        });
        let place = match (cache, unfinished) {
            (_, Some(Ok(file))) => Place::Disk(file),
            (Cache::Disk, Some(Err(error))) => return Err(error),
            (Cache::Auto, _) if self.bytes() > MOST_IN_MEMORY => Place::Nowhere,
            (Cache::None, _) => Place::Nowhere,
            _ => Place::Memory(self.memory()?),
        };
        self.decode_to(place, progress)
    }

    /// The pictures' files, if each has some of its own. Others are in memory already.
    fn files(&self) -> Option<Vec<&[PathBuf]>> {
        self.sources.iter().map(|source| source.files()).collect()
    }

    fn image_bytes(&self) -> usize {
        self.form.canvas.bytes()
    }

    fn bytes(&self) -> usize {
        self.sources.len().saturating_mul(self.image_bytes())
    }

    fn memory(&self) -> Result<Vec<u8>> {
        let mut pixels = Vec::new();
        let refused =
            |_| Error::config(format!("the decoded images take {} MiB, more than there is", self.bytes() >> 20));
        pixels.try_reserve_exact(self.bytes()).map_err(refused)?;
        pixels.resize(self.bytes(), 0);
        Ok(pixels)
    }

    /// What the pass that wrote `file` found. What could not be read then is tried again, so that the reason can be told;
    /// if it can be read now, the file is of no use.
    fn outcomes(&self, file: &CacheFile) -> Option<Vec<Outcome>> {
        let (mut workbench, mut pixels) = (Workbench::default(), vec![0; self.image_bytes()]);
        let mut again = |source: &Source| workbench.fit(source, self.form, &mut pixels).err().map(Err);
        let known = file.moments().zip(&self.sources);
        known.map(|(moments, source)| moments.map(Ok).or_else(|| again(source))).collect()
    }

    fn decode_to(&self, place: Place, progress: &Progress) -> Result<(Decoded, Vec<Outcome>)> {
        let sources = self.sources.par_iter();
        let workbenches = Pool::<Workbench>::default();
        let decode = |source: &Source, pixels: &mut [u8]| {
            let mut workbench = workbenches.take();
            let outcome = workbench.fit(source, self.form, pixels);
            workbenches.give_back(workbench);
            let outcome = outcome.map(|()| Moments::of(pixels, self.form.canvas.shape[2]));
            progress().map(|()| outcome)
        };
        let spare = Pool::<Vec<u8>>::default();
        let decode_and = |source: &Source, keep: &dyn Fn(&[u8])| {
            let mut pixels = spare.take();
            pixels.resize(self.image_bytes(), 0);
            let outcome = decode(source, &mut pixels)?;
            if outcome.is_ok() {
                keep(&pixels);
            }
            spare.give_back(pixels);
            Ok(outcome)
        };
        match place {
            Place::Memory(mut pixels) => {
                let slots = pixels.par_chunks_exact_mut(self.image_bytes());
                let outcomes = sources.zip(slots).map(|(source, slot)| decode(source, slot)).collect::<Result<_>>()?;
                Ok((Decoded::Memory(pixels), outcomes))
            }
            Place::Disk(file) => {
                let decoded =
                    sources.enumerate().map(|(i, source)| decode_and(source, &|pixels| file.write(i, pixels)));
                let outcomes = decoded.collect::<Result<Vec<_>>>()?;
                let moments = outcomes.iter().map(|outcome| outcome.as_ref().ok().copied());
                let file = file.finish(moments).inspect_err(|e| log::warn!("decoded images could not be kept: {e}"));
                Ok((file.map_or(Decoded::Nowhere(workbenches), Decoded::Disk), outcomes))
            }
            Place::Nowhere => {
                let outcomes = sources.map(|source| decode_and(source, &|_| ())).collect::<Result<_>>()?;
                Ok((Decoded::Nowhere(workbenches), outcomes))
            }
        }
    }
}

impl Decoded {
    /// Writes a picture that could be read, number `index` and from `source`, to `target` in the form that all have.
    ///
    /// Errors: as [`Workbench::fit`], if it is kept nowhere.
    pub fn read(&self, index: usize, source: &Source, form: Form, target: &mut [u8]) -> Result<()> {
        match self {
            Self::Memory(pixels) => target.copy_from_slice(&pixels[index * target.len()..][..target.len()]),
            Self::Disk(file) => target.copy_from_slice(file.pixels(index)),
            Self::Nowhere(workbenches) => {
                let mut workbench = workbenches.take();
                let outcome = workbench.fit(source, form, target);
                workbenches.give_back(workbench);
                return outcome;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Decoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(_) => f.write_str("in memory"),
            Self::Disk(file) => write!(f, "on disk, in {}", file.path().display()),
            Self::Nowhere(_) => f.write_str("nowhere: each epoch decodes them"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, SystemTime};

    use image::ImageFormat;

    use super::super::fixtures::{class_folders, encode, plain, write};
    use super::super::window::Window;
    use super::*;

    const SHAPE: [usize; 3] = [5, 3, 3];
    fn form() -> Form {
        Form { canvas: SHAPE.into(), window: Window::Auto }
    }

    /// Image files, two of them unreadable, and a folder for a cache.
    struct Setting {
        dir: tempfile::TempDir,
        sources: Vec<Source>,
    }

    impl Setting {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            class_folders(dir.path(), &[("cat", 3), ("dog", 4)]);
            write(dir.path(), "cat/001b.png", "no image");
            let mut paths = super::super::files::images_below(dir.path()).unwrap();
            paths.push(dir.path().join("missing.png"));
            Self { dir, sources: paths.into_iter().map(Source::File).collect() }
        }

        fn folder(&self) -> CacheFolder {
            CacheFolder::new(self.dir.path().join("cache"))
        }

        /// Decoded, and how many pictures it took to decode.
        fn decode(&self, cache: Cache) -> (Decoded, Vec<Outcome>, usize) {
            let pictures = Pictures { sources: self.sources.iter().collect(), form: form() };
            let count = AtomicUsize::new(0);
            let progress = || {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            let (decoded, outcomes) = pictures.decode(cache, Some(&self.folder()), &progress).unwrap();
            (decoded, outcomes, count.into_inner())
        }

        fn read(&self, decoded: &Decoded, index: usize) -> Vec<u8> {
            let mut pixels = vec![0; SHAPE.iter().product()];
            decoded.read(index, &self.sources[index], form(), &mut pixels).unwrap();
            pixels
        }

        /// How many pictures were decoded for a cache on disk, which is then checked against the pictures.
        fn decode_and_check(&self) -> usize {
            let (decoded, outcomes, count) = self.decode(Cache::Disk);
            assert!(matches!(decoded, Decoded::Disk(_)));
            for (index, (source, outcome)) in self.sources.iter().zip(&outcomes).enumerate() {
                match (source.image().and_then(|image| image.fit(SHAPE)), outcome) {
                    (Ok(image), Ok(moments)) => {
                        assert_eq!(self.read(&decoded, index), image.pixels, "{source}");
                        assert_eq!(*moments, Moments::of(&image.pixels, 3));
                    }
                    (Err(expected), Err(error)) => assert_eq!(error.to_string(), expected.to_string()),
                    (expected, outcome) => panic!("{source}: {expected:?} but {outcome:?}"),
                }
            }
            count
        }

        fn cache_files(&self) -> Vec<PathBuf> {
            fs::read_dir(self.folder().path()).unwrap().map(|entry| entry.unwrap().path()).collect()
        }
    }

    #[test]
    fn the_second_time_nothing_is_decoded_and_every_bit_is_the_same() {
        let setting = Setting::new();
        assert_eq!(setting.decode_and_check(), 9);
        assert_eq!(setting.decode_and_check(), 0);
        let (in_memory, _, count) = setting.decode(Cache::Ram);
        let (on_disk, _, _) = setting.decode(Cache::Auto);
        assert!(count == 9 && matches!((&in_memory, &on_disk), (Decoded::Memory(_), Decoded::Disk(_))));
        for readable in [0, 1, 3, 7] {
            assert_eq!(setting.read(&in_memory, readable), setting.read(&on_disk, readable));
        }
    }

    #[test]
    fn a_changed_picture_replaces_the_cache() {
        let setting = Setting::new();
        setting.decode_and_check();
        let path = setting.dir.path().join("dog/002.png");
        let bytes = fs::read(&path).unwrap();
        let other = encode(plain(4, 4, [10, 99, 0]), ImageFormat::Png);
        assert_eq!(other.len(), bytes.len(), "its size alone would not tell");
        fs::write(&path, other).unwrap();
        let later = SystemTime::now() + Duration::from_secs(3);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(setting.decode_and_check(), 9);
        assert_eq!(setting.decode_and_check(), 0);
        assert_eq!(setting.cache_files().len(), 1);
    }

    #[test]
    fn pictures_that_can_be_read_after_all_replace_the_cache() {
        let setting = Setting::new();
        setting.decode_and_check();
        write(setting.dir.path(), "missing.png", encode(plain(4, 4, [1; 3]), ImageFormat::Png));
        assert_eq!(setting.decode_and_check(), 9);
    }

    #[test]
    fn what_is_cut_short_damaged_or_foreign_is_made_anew() {
        let setting = Setting::new();
        setting.decode_and_check();
        let [path] = setting.cache_files().try_into().unwrap();
        let whole = fs::read(&path).unwrap();
        let altered = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        };
        let foreign = b"something else".repeat(whole.len());
        let wrong = [Vec::new(), whole[..40].to_vec(), whole[..whole.len() - 1].to_vec(), foreign];
        for bytes in wrong.into_iter().chain([0, 8, 20, 60, 100, 300].map(altered)) {
            fs::write(&path, bytes).unwrap();
            assert_eq!(setting.decode_and_check(), 9);
            assert_eq!(setting.decode_and_check(), 0);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn runs_side_by_side_do_not_disturb_each_other() {
        let setting = Setting::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| setting.decode_and_check());
            }
        });
        assert_eq!(setting.cache_files().len(), 1);
        assert_eq!(setting.decode_and_check(), 0);
    }

    #[test]
    fn a_pass_that_is_broken_off_leaves_nothing_behind() {
        let setting = Setting::new();
        let pictures = Pictures { sources: setting.sources.iter().collect(), form: form() };
        let interrupted = pictures.decode(Cache::Disk, Some(&setting.folder()), &|| Err(Error::Interrupted));
        assert!(matches!(interrupted, Err(Error::Interrupted)));
        assert!(setting.cache_files().is_empty());
    }

    #[test]
    fn without_a_usable_folder_pictures_are_kept_in_memory_unless_the_disk_was_demanded() {
        let setting = Setting::new();
        let folder = CacheFolder::new(write(setting.dir.path(), "file", "").join("cache"));
        let pictures = Pictures { sources: setting.sources.iter().collect(), form: form() };
        let (decoded, _) = pictures.decode(Cache::Auto, Some(&folder), &|| Ok(())).unwrap();
        assert!(matches!(decoded, Decoded::Memory(_)));
        for folder in [Some(&folder), None] {
            let error = pictures.decode(Cache::Disk, folder, &|| Ok(())).unwrap_err().to_string();
            assert!(error.contains("could not keep decoded images"), "{error}");
        }
    }
}
