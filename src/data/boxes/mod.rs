//! Pictures with boxes around things: a file for each format, with a `finds` that looks and a `read` that reads.

mod coco;
mod voc;
mod yolo;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::decode::MAX_BYTES;
use super::split::{Part, Splits};
use super::{Annotation, BoundingBox, Dataset, Sample, Source, files};
use crate::error::{Error, Result};

/// A format: whether a path is of it, and its reader, which gives each part classes of its own.
struct Format {
    finds: fn(&Path) -> Result<bool>,
    read: fn(&Path) -> Result<Splits>,
}

/// In the order in which they are asked.
const FORMATS: [Format; 3] = [
    Format { finds: coco::finds, read: coco::read },
    Format { finds: voc::finds, read: voc::read },
    Format { finds: yolo::finds, read: yolo::read },
];

/// Whether [`open_boxes`] knows what is at `path`.
///
/// Errors: if it cannot be looked at.
pub fn holds_boxes(path: impl AsRef<Path>) -> Result<bool> {
    format_of(path.as_ref()).map(|format| format.is_some())
}

/// Opens pictures with boxes for training, recognised by what is there:
///
/// - Pascal VOC: an `.xml` file for each picture, in `Annotations/` beside `JPEGImages/` (or `images/`), with lists of the
///   parts in `ImageSets/Main/` or `splits/`; or beside the pictures, also under `train/`, `val/` and `test/`;
/// - YOLO: a `.txt` file for each picture, in `labels/` beside `images/`, with `data.yaml` or `classes.txt`;
/// - COCO: an `instances` file in `annotations/`, `_annotations.coco.json` in the folder of a part, or any such `.json` file.
///
/// Boxes are clipped to their picture; what then has no width or height is left out, with a warning.
///
/// Errors: if nothing is recognised, a file is malformed, there are no training pictures or no box on them, or another part has
/// a class that the training part has not.
pub fn open_boxes(path: impl AsRef<Path>) -> Result<Splits> {
    let path = path.as_ref();
    let Splits { train, val, test } = read(path)?;
    if train.is_empty() {
        return Err(Error::format(path, "there are no training pictures"));
    }
    if train.class_counts().iter().sum::<usize>() == 0 {
        return Err(Error::format(path, "there is not one box on the training pictures"));
    }
    let classes = train.classes.clone();
    Ok(Splits { train, val: val.with_classes(&classes)?, test: test.with_classes(&classes)? })
}

/// Opens pictures with boxes to measure on, labelled by `classes`: the part asked for if `path` has it, else the test part,
/// else the validation part, else all there is.
///
/// Errors: if nothing is recognised, a file is malformed, or there is a class that is not among `classes`.
pub fn open_labelled_boxes(path: impl AsRef<Path>, part: Part, classes: &[String]) -> Result<Dataset> {
    read(path.as_ref())?.into_part_or_other(part).with_classes(classes)
}

fn format_of(path: &Path) -> Result<Option<&'static Format>> {
    path.metadata().map_err(|source| Error::io("read", path, source))?;
    for format in &FORMATS {
        if (format.finds)(path)? {
            return Ok(Some(format));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Splits> {
    let format = format_of(path)?.ok_or_else(|| {
        let message = "no boxes that are known; looked for Pascal VOC (.xml files in Annotations/ or beside the pictures), \
                       YOLO (labels/ beside images/, data.yaml or classes.txt) and COCO (annotations/*.json)";
        Error::format(path, message)
    })?;
    let mut splits = (format.read)(path)?;
    let parts = [&mut splits.train, &mut splits.val, &mut splits.test];
    let empty: usize = parts.into_iter().map(tidy).sum();
    if empty > 0 {
        let boxes = if empty == 1 { "box is" } else { "boxes are" };
        log::warn!("{}: {empty} {boxes} left out, being without width or height", path.display());
    }
    Ok(splits)
}

/// Clips boxes to their pictures and drops those without width or height; how many that were.
fn tidy(data: &mut Dataset) -> usize {
    let mut empty = 0;
    for sample in &mut data.samples {
        let Annotation::Boxes(boxes) = &mut sample.annotation else { continue };
        let before = boxes.len();
        boxes.iter_mut().for_each(|b| b.corners = b.corners.map(|at| at.clamp(0.0, 1.0)));
        boxes.retain(|b| b.area() > 0.0);
        empty += before - boxes.len();
    }
    empty
}

/// A box with the name of its class; corners as in [`BoundingBox`], not clipped yet.
struct Named {
    class: String,
    corners: [f32; 4],
    ignored: bool,
}

/// Pictures whose classes are the names that occur, sorted.
fn from_named(root: &Path, pictures: Vec<(PathBuf, Vec<Named>)>) -> Dataset {
    let names: BTreeSet<&str> = pictures.iter().flat_map(|(_, boxes)| boxes).map(|b| b.class.as_str()).collect();
    let classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let numbered = |Named { class, corners, ignored }: Named| {
        let class = classes.binary_search(&class).expect("every name is among the classes");
        BoundingBox { class, corners, ignored }
    };
    let samples =
        pictures.into_iter().map(|(path, boxes)| sample(path, boxes.into_iter().map(numbered).collect())).collect();
    Dataset { root: root.to_owned(), classes, samples, ..Dataset::default() }
}

fn sample(path: PathBuf, boxes: Vec<BoundingBox>) -> Sample {
    Sample { annotation: Annotation::Boxes(boxes), ..Sample::new(Source::File(path), 0) }
}

/// `[left, top, right, bottom]` in pixels as shares of a picture of that width and height.
fn shares([left, top, right, bottom]: [f64; 4], [width, height]: [f64; 2]) -> [f32; 4] {
    [left / width, top / height, right / width, bottom / height].map(|share| share as f32)
}

/// A file's text.
///
/// Errors: if it cannot be read, is larger than 512 MiB, or no UTF-8.
fn read_text(path: &Path) -> Result<String> {
    let failed = |source| Error::io("read", path, source);
    if fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(Error::format(path, format!("is larger than {} MiB", MAX_BYTES >> 20)));
    }
    String::from_utf8(fs::read(path).map_err(failed)?)
        .map_err(|_| Error::format(path, "not valid UTF-8; save the file as UTF-8"))
}

/// The first folder in `folder` that has one of these names, in lower case.
fn child(folder: &Path, names: &[&str]) -> Result<Option<PathBuf>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    Ok(files::folders_in(folder)?.into_iter().find(|path| names.contains(&files::lower_name(path).as_str())))
}

/// The folders of parts in `folder`: `train`, `val`, `test`, or others of these meanings.
fn part_folders(folder: &Path) -> Result<Vec<(Part, PathBuf)>> {
    let named = |path: PathBuf| Part::named(&files::lower_name(&path)).map(|part| (part, path));
    Ok(files::folders_in(folder)?.into_iter().filter_map(named).collect())
}

const IMAGE_FOLDERS: [&str; 4] = ["images", "jpegimages", "image", "img"];

/// A path without its ending, by which pictures and descriptions are matched.
fn stem(path: &Path) -> PathBuf {
    path.with_extension("")
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::write;
    use super::*;

    #[test]
    fn boxes_are_clipped_and_empty_ones_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "images/1.png", "");
        let lines = "0 0.5 0.5 0.2 0.4\n1 0.95 0.5 0.2 0.2\n1 0.5 0.5 0 0.2\n1 1.5 0.5 0.2 0.2\n";
        write(dir.path(), "labels/1.txt", lines);
        let train = open_boxes(dir.path()).unwrap().train;
        let Annotation::Boxes(boxes) = &train.samples[0].annotation else { panic!("no boxes") };
        assert_eq!(boxes.iter().map(|b| b.class).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(boxes[1].corners, [0.95 - 0.1, 0.4, 1.0, 0.6]);
        assert_eq!(train.class_counts(), [1, 1]);
    }

    #[test]
    fn what_has_no_boxes_is_told_what_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "cat/1.png", "");
        assert!(!holds_boxes(dir.path()).unwrap());
        assert!(open_boxes(dir.path()).unwrap_err().to_string().contains("looked for Pascal VOC"));
        assert!(open_boxes(dir.path().join("missing")).unwrap_err().to_string().contains("could not read"));
        write(dir.path(), "images/1.png", "");
        write(dir.path(), "labels/1.txt", "");
        assert!(open_boxes(dir.path()).unwrap_err().to_string().contains("not one box"));
    }
}
