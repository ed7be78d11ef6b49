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
    let parts: Vec<(Part, PathBuf)> = files::folders_in(path)?
        .into_iter()
        .filter_map(|folder| Part::named(&files::lower_name(&folder)).map(|part| (part, folder)))
        .collect();
    let mut splits = Splits::default();
    if parts.iter().any(|&(part, _)| part == Part::Train) {
        for (part, folder) in parts {
            fill(splits.part_mut(part), &folder)?;
        }
    } else {
        splits.train = class_folders(path)?;
    }
    Ok(if splits.train.is_empty() { None } else { Some(splits) })
}

fn fill(part: &mut Dataset, folder: &Path) -> Result<()> {
    if !part.is_empty() {
        let message = "is the same part of the data as the folder beside it; keep one";
        return Err(Error::format(folder, message));
    }
    *part = class_folders(folder)?;
    if part.is_empty() {
        log::warn!("{} is left out: it has no class folders with images", folder.display());
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
        let name = folder.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            Error::format(&folder, "the folder's name is a class name, but it is not valid UTF-8; rename it")
        })?;
        named.extend(images.into_iter().map(|image| (Source::File(image), name.to_owned())));
    }
    Ok(Dataset::from_named(root.to_owned(), named))
}
