use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Annotation;
use super::image::{Header, Image};
use super::window::Window;
use crate::error::{Error, Result};

/// Pictures with a class each, not yet decoded. A clone shares the pixels.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// The folder or file it was read from, for messages.
    pub root: PathBuf,
    /// Class names; a label is an index into them.
    pub classes: Vec<String>,
    /// In file order: a CSV's lines, else sorted by path.
    pub samples: Vec<Sample>,
    /// How values of more than 8 bits become bytes.
    pub window: Window,
}

/// One picture and what is known of it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where its pixels come from.
    pub source: Source,
    /// Index into [`Dataset::classes`]; 0 where pictures have no class of their own.
    pub label: usize,
    /// What is known besides.
    pub annotation: Annotation,
    /// What it has in common with pictures that are no proof of it: the patient, for instance.
    pub group: Option<Arc<str>>,
}

impl Sample {
    /// A picture of which only the class is known.
    pub fn new(source: Source, label: usize) -> Self {
        Self { source, label, annotation: Annotation::None, group: None }
    }
}

/// Where a picture's pixels come from. Displayed, it is what a user would call it.
#[derive(Clone, Debug)]
pub enum Source {
    /// An image file.
    File(PathBuf),
    /// One picture of a file that holds many.
    Stacked {
        /// All of them.
        stack: Arc<Stack>,
        /// Which one, from 0.
        index: usize,
    },
    /// The image files of a sequence's frames, in order: a picture of them all, one below another.
    Frames(Arc<[PathBuf]>),
    /// A part of an image file.
    Tile {
        /// The file.
        path: PathBuf,
        /// Which part.
        region: Region,
    },
}

/// A part of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// `[top, left]`.
    pub at: [usize; 2],
    /// `[height, width]`; it may go beyond the picture.
    pub size: [usize; 2],
    /// Rows and columns of the picture for which this part answers, where parts overlap.
    pub owned: [Range<usize>; 2],
}

impl Region {
    /// Parts of `tile` pixels that cover a picture, the last of a row or column moved back so that it ends where the picture
    /// does. Each pixel is owned by one of them.
    pub fn tiles(picture: [usize; 2], tile: [usize; 2]) -> impl Iterator<Item = Self> {
        let along = |axis: usize| {
            let (extent, tile) = (picture[axis], tile[axis]);
            (0..extent)
                .step_by(tile)
                .map(move |start| (start.min(extent.saturating_sub(tile)), start..extent.min(start + tile)))
        };
        let columns: Vec<_> = along(1).collect();
        along(0).flat_map(move |(top, rows)| {
            let columns = columns.clone();
            columns.into_iter().map(move |(left, owned)| Self {
                at: [top, left],
                size: tile,
                owned: [rows.clone(), owned],
            })
        })
    }
}

/// Many pictures of one size from one file, as IDX and CIFAR have them.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The file.
    pub path: PathBuf,
    /// Size and channels of each picture.
    pub header: Header,
    /// `[pictures, height, width, channels]`.
    pub pixels: Vec<u8>,
}

/// What a data set's pictures have in common; see [`Dataset::probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// 1 if all are grey, else 3.
    pub channels: usize,
    /// `[height, width]`, if all have the same.
    pub size: Option<[usize; 2]>,
    /// `[height, width]` of the one that is widest for its height.
    pub widest: [usize; 2],
}

impl Dataset {
    /// How many pictures.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How many pictures each class has; of pictures with boxes, how many boxes; where pictures show texts, how often each symbol
    /// occurs. What masks hold is not known before they are read.
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        let symbols = self.symbols();
        for sample in &self.samples {
            match &sample.annotation {
                Annotation::Text(text) => {
                    text.chars().filter_map(|symbol| symbols.get(&symbol)).for_each(|&class| counts[class] += 1);
                }
                Annotation::Boxes(boxes) => boxes.iter().for_each(|b| counts[b.class] += 1),
                Annotation::Mask(_) => {}
                Annotation::None => counts[sample.label] += 1,
            }
        }
        counts
    }

    /// Classes of one symbol each, by that.
    pub(crate) fn symbols(&self) -> HashMap<char, usize> {
        let single = |(class, name): (usize, &String)| Some((name.chars().next()?, class));
        self.classes.iter().enumerate().filter_map(single).collect()
    }

    /// Looks at the headers of up to 64 pictures, evenly spread, to suggest an input shape for a network.
    ///
    /// Errors: if there is no picture, or none of those looked at could be read.
    pub fn probe(&self) -> Result<Probe> {
        const MOST: usize = 64;
        let mut headers = Vec::new();
        let mut failure = Error::format(&self.root, "holds no image");
        for sample in self.samples.iter().step_by(self.len().div_ceil(MOST).max(1)) {
            match sample.source.header() {
                Ok(header) => headers.push(header),
                Err(error) => failure = error,
            }
        }
        let first = headers.first().ok_or(failure)?;
        let same_size = headers.iter().all(|header| header.size == first.size);
        let channels = headers.iter().map(|header| header.channels).max().unwrap_or(first.channels);
        let wider = |a: [usize; 2], b: [usize; 2]| if b[1] * a[0] > a[1] * b[0] { b } else { a };
        let widest = headers.iter().map(|header| header.size).fold(first.size, wider);
        Ok(Probe { channels, size: same_size.then_some(first.size), widest })
    }

    /// The same pictures, labelled by `classes`, which may be more than its own and in another order.
    ///
    /// Errors: if the class of a picture, or of a box on it, or a symbol of its text, is not among them.
    pub fn with_classes(mut self, classes: &[String]) -> Result<Self> {
        let known: HashMap<&str, usize> = classes.iter().map(String::as_str).zip(0..).collect();
        let labels: Vec<Option<usize>> = self.classes.iter().map(|name| known.get(name.as_str()).copied()).collect();
        let label =
            |class: usize| labels[class].ok_or_else(|| unknown_class(&self.root, &self.classes[class], classes));
        for sample in &mut self.samples {
            match &mut sample.annotation {
                Annotation::Text(text) => {
                    let unknown =
                        text.chars().find(|symbol| !known.contains_key(symbol.encode_utf8(&mut [0; 4]) as &str));
                    unknown.map_or(Ok(()), |symbol| Err(unknown_symbol(&sample.source, text, symbol, classes)))?;
                }
                Annotation::Boxes(boxes) => {
                    for b in boxes {
                        b.class = label(b.class)?;
                    }
                }
                _ => sample.label = label(sample.label)?,
            }
        }
        self.classes = classes.to_vec();
        Ok(self)
    }

    /// From pictures with texts; the classes are the symbols that occur, sorted.
    pub(super) fn from_texts(root: PathBuf, texts: Vec<(Source, String)>) -> Self {
        let symbols: BTreeSet<char> = texts.iter().flat_map(|(_, text)| text.chars()).collect();
        let classes = symbols.into_iter().map(String::from).collect();
        let sample = |(source, text)| Sample { annotation: Annotation::Text(text), ..Sample::new(source, 0) };
        Self { root, classes, samples: texts.into_iter().map(sample).collect(), ..Self::default() }
    }

    /// The pictures at `indices`, in that order.
    pub(super) fn subset(&self, indices: &[usize]) -> Self {
        let samples = indices.iter().map(|&index| self.samples[index].clone()).collect();
        Self { root: self.root.clone(), classes: self.classes.clone(), samples, window: self.window }
    }

    /// The pictures of the first `classes` classes, and those of the others.
    pub(super) fn split_classes(&self, classes: usize) -> (Self, Self) {
        let (first, others): (Vec<usize>, Vec<usize>) =
            (0..self.len()).partition(|&index| self.samples[index].label < classes);
        let (mut first, mut others) = (self.subset(&first), self.subset(&others));
        others.classes = first.classes.split_off(classes);
        others.samples.iter_mut().for_each(|sample| sample.label -= classes);
        (first, others)
    }

    /// From pictures with class names; the classes are the names that occur, sorted.
    pub(super) fn from_named(root: PathBuf, named: Vec<(Source, String)>) -> Self {
        let names: BTreeSet<&str> = named.iter().map(|(_, name)| name.as_str()).collect();
        let classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let label = |name: String| classes.binary_search(&name).expect("every name is among the classes");
        let samples = named.into_iter().map(|(source, name)| Sample::new(source, label(name))).collect();
        Self { root, classes, samples, ..Self::default() }
    }
}

fn unknown_class(root: &Path, unknown: &str, classes: &[String]) -> Error {
    Error::format(root, format!("class {unknown:?} is not one of the training set's {}", some_of(classes)))
}

fn unknown_symbol(source: &Source, text: &str, symbol: char, classes: &[String]) -> Error {
    let known = some_of(classes);
    Error::config(format!("{source}: {symbol:?} in the text {text:?} is not one of the training set's {known} symbols"))
}

/// Their number, and the first of them.
fn some_of(classes: &[String]) -> String {
    const SHOWN: usize = 10;
    let more = if classes.len() > SHOWN { ", …" } else { "" };
    let first = classes.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("{} ({first}{more})", classes.len())
}

impl Source {
    /// Its files, if it has some of its own.
    pub(super) fn files(&self) -> Option<&[PathBuf]> {
        match self {
            Self::File(path) => Some(std::slice::from_ref(path)),
            Self::Frames(paths) => Some(paths),
            Self::Stacked { .. } | Self::Tile { .. } => None,
        }
    }

    /// What pictures are sorted by, whatever part of a data set they are in.
    pub(super) fn key(&self) -> (&Path, [usize; 2]) {
        match self {
            Self::File(path) => (path, [0, 0]),
            Self::Stacked { stack, index } => (&stack.path, [*index, 0]),
            Self::Tile { path, region } => (path, region.at),
            Self::Frames(paths) => (first_of(paths), [0, 0]),
        }
    }

    /// Size and channels, without decoding; of a sequence, those of its first frame.
    ///
    /// Errors: as [`Header::open`].
    pub fn header(&self) -> Result<Header> {
        match self {
            Self::File(path) => Header::open(path),
            Self::Frames(paths) => Header::open(first_of(paths)),
            Self::Stacked { stack, .. } => Ok(stack.header),
            Self::Tile { path, region } => Ok(Header { size: region.size, ..Header::open(path)? }),
        }
    }

    /// The picture in its own size and channels; of a sequence, all frames, one below another, in those of the first.
    ///
    /// Errors: as [`Image::open`].
    pub fn image(&self) -> Result<Image> {
        self.image_with(Window::default())
    }

    /// The picture in its own size and channels, with values of more than 8 bits spread by a window.
    ///
    /// Errors: as [`Image::open`].
    pub fn image_with(&self, window: Window) -> Result<Image> {
        match self {
            Self::File(path) => Image::open_with(path, window),
            Self::Stacked { stack, index } => Ok(stack.image(*index)),
            Self::Frames(paths) => stacked_frames(paths, window),
            Self::Tile { path, region } => Ok(Image::open_with(path, window)?.cut(region)),
        }
    }
}

/// What a sequence is known by.
fn first_of(frames: &[PathBuf]) -> &Path {
    frames.first().map_or(Path::new(""), PathBuf::as_path)
}

fn stacked_frames(paths: &[PathBuf], window: Window) -> Result<Image> {
    let mut stacked = Image::open_with(first_of(paths), window)?;
    let ([height, width], channels) = (stacked.size, stacked.channels);
    for path in &paths[1..] {
        stacked.pixels.extend(Image::open_with(path, window)?.fit([height, width, channels])?.pixels);
    }
    stacked.size[0] *= paths.len();
    Ok(stacked)
}

impl Stack {
    /// How many pictures.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.image_bytes()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    fn image_bytes(&self) -> usize {
        self.header.size[0] * self.header.size[1] * self.header.channels
    }

    fn image(&self, index: usize) -> Image {
        let bytes = self.image_bytes();
        let pixels = self.pixels[index * bytes..][..bytes].to_vec();
        Image { size: self.header.size, channels: self.header.channels, pixels }
    }

    /// Its pictures in order, each with a label.
    pub(super) fn samples(self, labels: &[u8]) -> Vec<Sample> {
        let stack = Arc::new(self);
        let source = |index| Source::Stacked { stack: stack.clone(), index };
        labels.iter().enumerate().map(|(i, &label)| Sample::new(source(i), label.into())).collect()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stacked { stack, index } => write!(f, "{}#{index}", stack.path.display()),
            // A sequence is called by its folder.
            Self::Frames(paths) => write!(f, "{}", first_of(paths).parent().unwrap_or(Path::new("")).display()),
            Self::Tile { path, region } => write!(f, "{}#{},{}", path.display(), region.at[0], region.at[1]),
        }
    }
}
