use std::path::Path;

use super::split::{Part, Splits};
use super::{Dataset, cifar, files, folder, idx, table};
use crate::error::{Error, Result};

/// A reader returns `None` for what is not its format, and an error for what is, but is wrong. Each part has its own
/// classes.
type Reader = fn(&Path) -> Result<Option<Splits>>;

/// In the order in which they are asked. Class folders are last: any folder with folders of images is that.
const READERS: [Reader; 4] = [table::read, idx::read, cifar::read, folder::read];

/// Opens a data set for training, recognised by what is there:
///
/// - a folder of class folders, also under `train/`, `val/` and `test/`;
/// - a `.csv` file with a path and a label column;
/// - a folder with IDX files, or an IDX file of images beside its labels; `.gz` too;
/// - a folder with CIFAR-10 or CIFAR-100 in its binary form.
///
/// Labels are sorted by name; numbers in IDX and CIFAR files are labels as they stand.
///
/// Errors: if nothing is recognised, a file is malformed, there are no training images, all are of one class, or another
/// part has a class that the training part has not.
pub fn open(path: impl AsRef<Path>) -> Result<Splits> {
    let path = path.as_ref();
    let Splits { train, val, test } = read(path)?;
    if train.is_empty() {
        return Err(Error::format(path, "there are no training images"));
    }
    if let [class] = train.classes.as_slice() {
        let message = format!("all {} images are of one class, {class:?}; training needs two or more", train.len());
        return Err(Error::format(path, message));
    }
    let classes = train.classes.clone();
    Ok(Splits { train, val: val.with_classes(&classes)?, test: test.with_classes(&classes)? })
}

/// Opens data to measure a trained network on, labelled by its `classes`: the part asked for if `path` has it, else the
/// test part, else the validation part, else all there is.
///
/// Errors: if nothing is recognised, a file is malformed, or there is a class that is not among `classes`.
pub fn open_labelled(path: impl AsRef<Path>, part: Part, classes: &[String]) -> Result<Dataset> {
    let mut splits = read(path.as_ref())?;
    let order = [part, Part::Test, Part::Val, Part::Train];
    let filled = order.into_iter().find(|&part| !splits.part_mut(part).is_empty());
    splits.into_part(filled.unwrap_or(part)).with_classes(classes)
}

/// Whatever is recognised at `path`; never without any image.
pub(super) fn read(path: &Path) -> Result<Splits> {
    path.metadata().map_err(|source| Error::io("read", path, source))?;
    for read in READERS {
        if let Some(splits) = read(path)? {
            return Ok(splits);
        }
    }
    Err(unrecognised(path)?)
}

fn unrecognised(path: &Path) -> Result<Error> {
    let loose = path.is_dir() && files::files_in(path)?.iter().any(|file| files::is_image(file));
    let found = if loose { "images without class folders around them" } else { "no data set that is known" };
    Ok(Error::format(
        path,
        format!(
            "{found}; looked for a folder of class folders with images (also under train/, val/, test/), a .csv file \
             with a path and a label column, IDX files (train-images-idx3-ubyte, .gz too) and CIFAR binary files \
             (data_batch_1.bin, train.bin)"
        ),
    ))
}
