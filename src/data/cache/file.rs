use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{self, Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytemuck::{Pod, Zeroable, bytes_of, cast_slice, cast_slice_mut};
use fs4::FileExt;
use memmap2::Mmap;
use rayon::prelude::*;
use tempfile::NamedTempFile;

use super::super::normalize::Moments;
use super::super::workbench::Form;
use super::folder::{CacheFolder, FINISHED, UNFINISHED};

/// To be raised when this layout changes, or the pixels that a file is decoded to.
const VERSION: u64 = 3;

/// Pixels begin at a multiple of this: the largest page size in use.
const PAGE: u64 = 1 << 16;

/// The start of a cache file. Numbers are in the order of bytes of the machine, for which alone it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
struct Header {
    magic: [u8; 8],
    version: u64,
    /// `[images, height, width, channels]`.
    shape: [u64; 4],
    /// How pictures of other sizes are brought to it.
    fit: u64,
    /// Of the window, and of path, size and time of last change of every image file.
    files: [u8; 32],
}

/// The pictures that a cache file is for.
#[derive(Clone, Debug)]
pub struct Contents {
    header: Header,
    /// Of the paths and the form alone: when a picture changes, its file in the cache is replaced.
    name: String,
}

impl Contents {
    /// Of pictures, given by the files of each, brought to a form.
    pub fn of(pictures: &[&[PathBuf]], form: Form) -> Self {
        let canvas = form.canvas;
        let [height, width, channels] = canvas.shape.map(|extent| extent as u64);
        let (shape, fit) = ([pictures.len() as u64, height, width, channels], canvas.fit_code());
        let states: Vec<_> =
            pictures.par_iter().flat_map_iter(|files| files.iter().map(|path| (whole(path), state(path)))).collect();
        let (mut names, mut files) = (blake3::Hasher::new(), blake3::Hasher::new());
        names.update(cast_slice(&shape)).update(bytes_of(&fit));
        let window = format!("{}\0", form.window);
        for hasher in [&mut names, &mut files] {
            hasher.update(window.as_bytes());
        }
        for (path, state) in &states {
            let name = path.as_os_str().as_encoded_bytes();
            for hasher in [&mut names, &mut files] {
                hasher.update(&(name.len() as u64).to_ne_bytes()).update(name);
            }
            files.update(cast_slice(state));
        }
        let header = Header { magic: *b"ocellus\0", version: VERSION, shape, fit, files: *files.finalize().as_bytes() };
        Self { header, name: names.finalize().to_hex()[..32].to_owned() }
    }

    fn images(&self) -> usize {
        self.header.shape[0] as usize
    }

    fn image_bytes(&self) -> usize {
        self.header.shape[1..].iter().product::<u64>() as usize
    }

    fn pixels_start(&self) -> u64 {
        let before = size_of::<Header>() + self.images() * size_of::<Moments>() + CHECKSUM;
        (before as u64).next_multiple_of(PAGE)
    }

    /// Length of the whole file.
    fn bytes(&self) -> u64 {
        self.pixels_start() + (self.images() * self.image_bytes()) as u64
    }

    fn path(&self, folder: &CacheFolder) -> PathBuf {
        folder.path().join(&self.name).with_extension(FINISHED)
    }
}

fn whole(path: &Path) -> PathBuf {
    path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// `[size, seconds, nanoseconds]`: size, and time of last change since 1970. A file that is not there is in no other
/// file's state.
fn state(path: &Path) -> [u64; 3] {
    let found = path.metadata().and_then(|metadata| Ok((metadata.len(), metadata.modified()?)));
    let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    found.map_or([u64::MAX; 3], |(size, changed)| {
        let changed = since_1970(changed);
        [size, changed.as_secs(), changed.subsec_nanos().into()]
    })
}

/// Length of the checksum that follows the moments.
const CHECKSUM: usize = 32;

/// Over what stands in front of the pixels.
fn checksum(header: &Header, moments: &[Moments]) -> [u8; CHECKSUM] {
    *blake3::Hasher::new().update(bytes_of(header)).update(cast_slice(moments)).finalize().as_bytes()
}

/// Decoded pictures in a file of the cache, mapped into memory.
#[derive(Debug)]
pub struct CacheFile {
    map: Mmap,
    /// Locked while it is in use, so that no run removes it to make room.
    _file: File,
    path: PathBuf,
    contents: Contents,
    moments: Vec<Moments>,
}

impl CacheFile {
    /// The file of these contents in `folder`, if there is one that is whole and up to date.
    pub fn open(contents: &Contents, folder: &CacheFolder) -> Option<Self> {
        let path = contents.path(folder);
        let mut file = File::open(&path).ok()?;
        file.lock_shared().ok()?;
        let found =
            Self::read(&mut file, contents).and_then(|moments| Self::map(file, path.clone(), contents, moments));
        found.inspect_err(|error| log::info!("{}: {error}; it is made anew", path.display())).ok()
    }

    /// The moments, if all that can be checked is as it should be.
    fn read(file: &mut File, contents: &Contents) -> io::Result<Vec<Moments>> {
        let differs = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if file.metadata()?.len() != contents.bytes() {
            return differs("not of the expected length");
        }
        let mut header = Header::zeroed();
        file.read_exact(bytemuck::bytes_of_mut(&mut header))?;
        if header != contents.header {
            return differs("the images have changed");
        }
        let mut moments = vec![Moments::default(); contents.images()];
        file.read_exact(cast_slice_mut(&mut moments))?;
        let mut expected = [0; CHECKSUM];
        file.read_exact(&mut expected)?;
        if checksum(&header, &moments) != expected {
            return differs("damaged");
        }
        // The last use decides what is removed first. Where it cannot be noted, that is the last writing.
        let _ = file.set_modified(SystemTime::now());
        Ok(moments)
    }

    fn map(file: File, path: PathBuf, contents: &Contents, moments: Vec<Moments>) -> io::Result<Self> {
        // SAFETY: the file must not change while it is mapped. Ocellus writes a cache file once, under another name, and
        // only replaces or removes it as a whole, which leaves a mapping as it is. Nothing can keep another program from
        // writing to it or cutting it short. New bytes would be other pixels, nothing worse: bytes have no invalid
        // values, and every read copies them. After cutting it short, reading ends the process (SIGBUS on Unix), as with
        // every mapped file; hence the files lie in a folder of their own among the user's caches.
        let map = unsafe { Mmap::map(&file)? };
        if map.len() as u64 != contents.bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "cut short while it was opened"));
        }
        Ok(Self { map, _file: file, path, contents: contents.clone(), moments })
    }

    /// Sums over each picture's pixels; `None` for those that could not be read.
    pub fn moments(&self) -> impl Iterator<Item = Option<Moments>> {
        self.moments.iter().map(|moments| (*moments != Moments::default()).then_some(*moments))
    }

    /// `[height, width, channels]` of a picture that could be read.
    pub fn pixels(&self, index: usize) -> &[u8] {
        let bytes = self.contents.image_bytes();
        &self.map[self.contents.pixels_start() as usize + index * bytes..][..bytes]
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A new file which no other run takes for one that was left behind.
fn locked(folder: &CacheFolder) -> io::Result<NamedTempFile> {
    let suffix = format!(".{UNFINISHED}");
    loop {
        let file = tempfile::Builder::new().prefix("").suffix(&suffix).tempfile_in(folder.path())?;
        file.as_file().lock()?;
        // Before it was locked, it may have been removed.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// A file of the cache in the making; dropped, it is removed.
#[derive(Debug)]
pub struct Unfinished {
    /// Written, not mapped: when the disk is full, writing is an error, but a store to a map the end of the process. After
    /// the first error nothing more is written.
    file: Mutex<io::Result<NamedTempFile>>,
    path: PathBuf,
    contents: Contents,
}

impl Unfinished {
    /// Begins the file of these contents in `folder`, in place of an older one; all the room that it will take is
    /// reserved.
    ///
    /// Errors: if there is no room, or the folder cannot be written to.
    pub fn create(contents: &Contents, folder: &CacheFolder) -> io::Result<Self> {
        let path = contents.path(folder);
        let _ = fs::remove_file(&path);
        folder.make_room(contents.bytes())?;
        let file = locked(folder)?;
        file.as_file().allocate(contents.bytes())?;
        Ok(Self { file: Mutex::new(Ok(file)), path, contents: contents.clone() })
    }

    /// Writes a picture's pixels to their place; from any thread. Whether it worked, [`Unfinished::finish`] tells.
    pub fn write(&self, index: usize, pixels: &[u8]) {
        let start = self.contents.pixels_start() + (index * self.contents.image_bytes()) as u64;
        let mut state = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(file) = state.as_mut() else { return };
        if let Err(error) = file.seek(SeekFrom::Start(start)).and_then(|_| file.write_all(pixels)) {
            *state = Err(error);
        }
    }

    /// Completes the file with every picture's moments (`None` for those that could not be read) and gives it its name.
    ///
    /// Errors: if any of the writing failed.
    pub fn finish(self, moments: impl Iterator<Item = Option<Moments>>) -> io::Result<CacheFile> {
        let Self { file, path, contents } = self;
        let mut file = file.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        let moments: Vec<Moments> = moments.map(Option::unwrap_or_default).collect();
        file.rewind()?;
        file.write_all(bytes_of(&contents.header))?;
        file.write_all(cast_slice(&moments))?;
        file.write_all(&checksum(&contents.header, &moments))?;
        // Else, after a power failure, a file of the right name and length might hold nothing.
        file.as_file().sync_all()?;
        let file = file.persist(&path).map_err(|failure| failure.error)?;
        file.unlock()?;
        file.lock_shared()?;
        CacheFile::map(file, path, &contents, moments)
    }
}
