use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::split::{Part, Splits};
use super::{Dataset, Source, files, folder, open};
use crate::error::{Error, Result};

/// Opens sequences of frames for training: folders of classes, in them a folder of frames for each sequence
/// (`left/clip-1/001.png`), also under `train/`, `val/` and `test/`. Numbers in names are put in order as numbers.
///
/// Of each sequence `frames` frames are taken, evenly spread; where there are fewer, the last is repeated.
///
/// Errors: if there are no sequences, all are of one class, or another part has a class that the training part has not.
pub fn open_sequences(path: impl AsRef<Path>, frames: usize) -> Result<Splits> {
    let path = path.as_ref();
    open::labelled_alike(path, read(path, frames)?).and_then(|splits| open::two_classes(path, splits))
}

/// Opens sequences to measure a trained network on, labelled by its `classes`; the part as in
/// [`open_labelled`](super::open_labelled).
///
/// Errors: if there are no sequences, or there is a class that is not among `classes`.
pub fn open_labelled_sequences(
    path: impl AsRef<Path>,
    part: Part,
    classes: &[String],
    frames: usize,
) -> Result<Dataset> {
    read(path.as_ref(), frames)?.into_part_or_other(part).with_classes(classes)
}

/// The sequences that a folder is or holds, each with its folder.
///
/// Errors: if it is no folder, or there is no image in it.
pub fn list_sequences(path: impl AsRef<Path>, frames: usize) -> Result<Vec<(PathBuf, Source)>> {
    let path = path.as_ref();
    path.metadata().map_err(|source| Error::io("read", path, source))?;
    if !path.is_dir() {
        return Err(Error::format(path, "a sequence is a folder of frames, but this is a file"));
    }
    let found = sequences_below(path, frames)?;
    if found.is_empty() { Err(Error::format(path, "holds no image")) } else { Ok(found) }
}

fn read(path: &Path, frames: usize) -> Result<Splits> {
    path.metadata().map_err(|source| Error::io("read", path, source))?;
    if !path.is_dir() {
        return Err(Error::format(path, "sequences are folders of frames in folders of classes, but this is a file"));
    }
    folder::by_parts(path, &|root| class_folders(root, frames))
}

fn class_folders(root: &Path, frames: usize) -> Result<Dataset> {
    let mut named = Vec::new();
    for class in files::folders_in(root)? {
        let name = files::lower_name(&class);
        if files::files_in(&class)?.iter().any(|file| files::is_image(file)) {
            let message = format!("frames are in a folder for each sequence: {name}/clip/1.png, not {name}/1.png");
            return Err(Error::format(&class, message));
        }
        let name = folder::class_name(&class)?;
        named.extend(sequences_below(&class, frames)?.into_iter().map(|(_, source)| (source, name.clone())));
    }
    Ok(Dataset::from_named(root.to_owned(), named))
}

/// Each folder that has images directly in it is a sequence.
fn sequences_below(folder: &Path, frames: usize) -> Result<Vec<(PathBuf, Source)>> {
    let mut folders: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for image in files::images_below(folder)? {
        folders.entry(image.parent().unwrap_or(folder).to_owned()).or_default().push(image);
    }
    let sequence = |(folder, mut images): (PathBuf, Vec<PathBuf>)| {
        alphanumeric_sort::sort_path_slice(&mut images);
        (folder, Source::Frames(chosen(images.len(), frames).map(|at| images[at].clone()).collect()))
    };
    Ok(folders.into_iter().map(sequence).collect())
}

/// Which of `count` frames are taken: the middle of each of `frames` parts, or all and then the last again.
fn chosen(count: usize, frames: usize) -> impl Iterator<Item = usize> {
    let at = move |i: usize| if count >= frames { (2 * i + 1) * count / (2 * frames) } else { i.min(count - 1) };
    (0..frames).map(at)
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;

    use super::super::fixtures::{encode, plain, write};
    use super::super::{Cache, Canvas, Images};
    use super::*;

    /// Frame `i` of sequence `s` is `[i, s, 0]` all over.
    fn sequence(root: &Path, name: &str, number: u8, frames: u8) {
        for i in 1..=frames {
            write(root, format!("{name}/frame-{i}.png"), encode(plain(4, 3, [i, number, 0]), ImageFormat::Png));
        }
    }

    #[test]
    fn frames_are_spread_evenly_or_the_last_is_repeated() {
        let chosen = |count, frames| chosen(count, frames).collect::<Vec<_>>();
        assert_eq!(chosen(12, 4), [1, 4, 7, 10]);
        assert_eq!(chosen(5, 4), [0, 1, 3, 4]);
        assert_eq!(chosen(4, 4), [0, 1, 2, 3]);
        assert_eq!(chosen(2, 4), [0, 1, 1, 1]);
        assert_eq!(chosen(9, 1), [4]);
    }

    #[test]
    fn sequences_are_read_in_the_order_of_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        sequence(dir.path(), "left/a", 1, 12);
        sequence(dir.path(), "left/b", 2, 2);
        sequence(dir.path(), "right/c", 3, 3);
        let data = open_sequences(dir.path(), 4).unwrap().train;
        assert_eq!((data.classes.clone(), data.class_counts()), (vec!["left".into(), "right".into()], vec![2, 1]));
        assert!(data.samples[1].source.to_string().ends_with("left/b"));
        let probe = data.probe().unwrap();
        assert_eq!((probe.size, probe.channels), (Some([3, 4]), 3));

        let canvas = Canvas::of_frames(4, [1, 1, 3]);
        let images = Images::load(data, canvas, Cache::Ram, &|| Ok(())).unwrap();
        let reds = |i: usize| images.image(i).unwrap().pixels.iter().step_by(3).copied().collect::<Vec<_>>();
        assert_eq!([reds(0), reds(1), reds(2)], [[2, 5, 8, 11], [1, 2, 2, 2], [1, 2, 3, 3]]);
    }

    #[test]
    fn parts_and_what_predict_is_given() {
        let dir = tempfile::tempdir().unwrap();
        for (part, classes) in [("train", &["a", "b"][..]), ("test", &["b"])] {
            for class in classes {
                sequence(dir.path(), &format!("{part}/{class}/one"), 0, 2);
            }
        }
        let parts = open_sequences(dir.path(), 2).unwrap();
        assert_eq!([parts.train.len(), parts.test.len()], [2, 1]);
        assert_eq!(parts.test.samples[0].label, 1);
        assert_eq!(list_sequences(dir.path(), 2).unwrap().len(), 3);
        let one = dir.path().join("test/b/one");
        assert_eq!(list_sequences(&one, 2).unwrap()[0].0, one);
        let classes = ["b".to_owned()];
        assert_eq!(open_labelled_sequences(dir.path(), Part::Val, &classes, 2).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_sequence_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let failure = |path: &Path| open_sequences(path, 4).unwrap_err().to_string();
        assert!(failure(dir.path()).contains("no training images"));
        let file = write(dir.path(), "a/1.png", "");
        assert!(failure(dir.path()).contains("a/clip/1.png"), "{}", failure(dir.path()));
        assert!(failure(&file).contains("this is a file"));
        assert!(list_sequences(&file, 2).unwrap_err().to_string().contains("folder of frames"));
        assert!(list_sequences(dir.path().join("none"), 2).is_err());
    }
}
