use std::path::{Path, PathBuf};

use super::split::{Part, Splits};
use super::{Dataset, Source, files, open};
use crate::error::{Error, Result};

/// Images in a folder for each class: `photos/cat/1.jpg`, `photos/dog/2.jpg`; also `photos/train/cat/1.jpg` beside
/// `photos/val/` (or `valid`, `validation`) and `photos/test/`.
///
/// Classes are the folder names, sorted; images are found at any depth below. Hidden files, and folders without an
/// image, are passed over.
#[derive(Clone, Copy, Debug)]
pub struct ImageFolder;

impl ImageFolder {
    /// Opens a data set for training; as [`open`](fn@open), which knows other formats too.
    ///
    /// Errors: as there.
    pub fn open(path: impl AsRef<Path>) -> Result<Splits> {
        open(path)
    }
}

/// Reads class folders.
pub(super) fn read(path: &Path) -> Result<Option<Splits>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let splits = by_parts(path, &class_folders)?;
    if splits.train.classes == ["images", "masks"] {
        let message = "holds images and their masks, not class folders; for classes give a .csv file with their labels";
        return Err(Error::format(path, message));
    }
    Ok(if splits.train.is_empty() { None } else { Some(splits) })
}

/// What `open` reads of the folders `train/`, `val/` and `test/` in a folder; of all of it as the training part, if there is
/// no `train/`.
///
/// Errors: those of `open`; if two folders are the same part.
pub(super) fn by_parts(path: &Path, open: &dyn Fn(&Path) -> Result<Dataset>) -> Result<Splits> {
    let parts: Vec<(Part, PathBuf)> = files::folders_in(path)?
        .into_iter()
        .filter_map(|folder| Part::named(&files::lower_name(&folder)).map(|part| (part, folder)))
        .collect();
    let mut splits = Splits::default();
    if parts.iter().any(|&(part, _)| part == Part::Train) {
        for (part, folder) in parts {
            fill(splits.part_mut(part), &folder, open)?;
        }
    } else {
        splits.train = open(path)?;
    }
    Ok(splits)
}

fn fill(part: &mut Dataset, folder: &Path, open: &dyn Fn(&Path) -> Result<Dataset>) -> Result<()> {
    if !part.is_empty() {
        let message = "is the same part of the data as the folder beside it; keep one";
        return Err(Error::format(folder, message));
    }
    *part = open(folder)?;
    if part.is_empty() {
        log::warn!("{} is left out: it has no pictures that could be used", folder.display());
    }
    Ok(())
}

fn class_folders(root: &Path) -> Result<Dataset> {
    let mut named = Vec::new();
    for folder in files::folders_in(root)? {
        let images = files::images_below(&folder)?;
        if images.is_empty() {
            continue;
        }
        let name = class_name(&folder)?;
        named.extend(images.into_iter().map(|image| (Source::File(image), name.clone())));
    }
    Ok(Dataset::from_named(root.to_owned(), named))
}

/// The class of a folder.
///
/// Errors: if its name is not UTF-8.
pub(super) fn class_name(folder: &Path) -> Result<String> {
    let name = folder.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.ok_or_else(|| Error::format(folder, "the folder's name is a class name, but it is not valid UTF-8; rename it"))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{class_folders, write};
    use super::super::{Probe, Seed};
    use super::*;

    #[test]
    fn classes_are_folders_and_samples_come_in_path_order() {
        let dir = tempfile::tempdir().unwrap();
        class_folders(dir.path(), &[("dog", 2), ("cat", 2), ("Cow", 1)]);
        write(dir.path(), "cat/deeper/9.JPG", "");
        write(dir.path(), "cat/notes.txt", "");
        write(dir.path(), ".cache/1.png", "");
        write(dir.path(), "empty/readme.md", "");
        let data = ImageFolder::open(dir.path()).unwrap().train;
        assert_eq!(data.classes, ["Cow", "cat", "dog"]);
        assert_eq!(data.class_counts(), [1, 3, 2]);
        let names = data.samples.iter().map(|s| s.source.to_string()).collect::<Vec<_>>();
        assert!(names[3].ends_with("9.JPG") && names[5].ends_with("001.png"), "{names:?}");
        assert_eq!(data.probe().unwrap(), Probe { channels: 3, size: Some([4, 4]), widest: [4, 4] });
    }

    #[test]
    fn parts_are_folders_too() {
        let dir = tempfile::tempdir().unwrap();
        for (part, count) in [("Train", 3), ("validation", 2), ("test", 1)] {
            class_folders(&dir.path().join(part), &[("cat", count), ("dog", count)]);
        }
        let parts = ImageFolder::open(dir.path()).unwrap().split(0.5, Seed(0)).unwrap();
        assert_eq!([parts.train.len(), parts.val.len(), parts.test.len()], [6, 4, 2]);
        class_folders(&dir.path().join("val"), &[("cat", 1)]);
        assert!(ImageFolder::open(dir.path()).unwrap_err().to_string().contains("same part"));
    }

    #[test]
    fn a_test_folder_without_classes_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        class_folders(&dir.path().join("train"), &[("cat", 1), ("dog", 1)]);
        write(dir.path(), "test/1.png", "");
        assert!(ImageFolder::open(dir.path()).unwrap().test.is_empty());
    }

    #[test]
    fn masks_are_no_class() {
        let dir = tempfile::tempdir().unwrap();
        class_folders(dir.path(), &[("images", 2), ("masks", 2)]);
        assert!(ImageFolder::open(dir.path()).unwrap_err().to_string().contains("images and their masks"));
    }

    #[cfg(unix)]
    #[test]
    fn a_class_name_must_be_utf8_but_a_file_name_need_not() {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt;
        let dir = tempfile::tempdir().unwrap();
        class_folders(dir.path(), &[("cat", 1), ("dog", 1)]);
        write(&dir.path().join("cat"), OsString::from_vec(b"caf\xe9.png".to_vec()), "");
        assert_eq!(ImageFolder::open(dir.path()).unwrap().train.len(), 3);
        write(&dir.path().join(OsString::from_vec(b"k\xfche".to_vec())), "1.png", "");
        let message = ImageFolder::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains("k\u{fffd}he: the folder's name"), "{message}");
    }
}
