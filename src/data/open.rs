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
    labelled_alike(path, read(path)?).and_then(|splits| two_classes(path, splits))
}

/// As [`open`], with each part's own classes: the others may have some that the training part has not.
///
/// Errors: as there, but for that.
pub fn open_parts(path: impl AsRef<Path>) -> Result<Splits> {
    let path = path.as_ref();
    let splits = read(path)?;
    expect_training(path, &splits.train)?;
    two_classes(path, splits)
}

fn expect_training(path: &Path, train: &Dataset) -> Result<()> {
    if train.is_empty() { Err(Error::format(path, "there are no training images")) } else { Ok(()) }
}

/// Data for training a classifier.
///
/// Errors: if all is of one class.
pub(super) fn two_classes(path: &Path, splits: Splits) -> Result<Splits> {
    let train = &splits.train;
    if let [class] = train.classes.as_slice() {
        let message = format!("all {} images are of one class, {class:?}; training needs two or more", train.len());
        return Err(Error::format(path, message));
    }
    Ok(splits)
}

/// All parts labelled by the training part's classes.
///
/// Errors: if there is no training part, or another has a class that it has not.
pub(super) fn labelled_alike(path: &Path, Splits { train, val, test }: Splits) -> Result<Splits> {
    expect_training(path, &train)?;
    let classes = train.classes.clone();
    Ok(Splits { train, val: val.with_classes(&classes)?, test: test.with_classes(&classes)? })
}

/// Opens data to measure a trained network on, labelled by its `classes`: the part asked for if `path` has it, else the
/// test part, else the validation part, else all there is.
///
/// Errors: if nothing is recognised, a file is malformed, or there is a class that is not among `classes`.
pub fn open_labelled(path: impl AsRef<Path>, part: Part, classes: &[String]) -> Result<Dataset> {
    read(path.as_ref())?.into_part_or_other(part).with_classes(classes)
}

/// Whatever is recognised at `path`, each part with its own classes; never without any image.
///
/// Errors: if nothing is recognised, or a file is malformed.
pub fn read(path: &Path) -> Result<Splits> {
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

#[cfg(test)]
mod tests {
    use super::super::fixtures::{class_folders, write};
    use super::*;

    fn failure(path: &Path) -> String {
        open(path).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_known_is_told_what_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let message = failure(dir.path());
        assert!(message.contains("no data set that is known") && message.contains("class folders"), "{message}");
        write(dir.path(), "1.png", "");
        assert!(failure(dir.path()).contains("images without class folders"));
        let text = write(dir.path(), "notes.txt", "hello");
        assert!(failure(&text).contains("notes.txt: no data set"));
        assert!(failure(&dir.path().join("missing")).contains("could not read"));
    }

    #[test]
    fn one_class_is_not_enough_to_train_but_to_measure() {
        let dir = tempfile::tempdir().unwrap();
        class_folders(dir.path(), &[("dog", 3)]);
        let message = failure(dir.path());
        assert!(message.contains("all 3 images are of one class, \"dog\""), "{message}");
        let classes = ["cat".to_owned(), "dog".to_owned()];
        let data = open_labelled(dir.path(), Part::Test, &classes).unwrap();
        assert_eq!((data.class_counts(), data.classes), (vec![0, 3], classes.to_vec()));
    }

    #[test]
    fn measuring_takes_the_part_asked_for_else_what_was_held_out() {
        let dir = tempfile::tempdir().unwrap();
        class_folders(&dir.path().join("train"), &[("cat", 4), ("dog", 4)]);
        let classes = open(dir.path()).unwrap().train.classes;
        let count = |part| open_labelled(dir.path(), part, &classes).unwrap().len();
        assert_eq!(count(Part::Test), 8);
        class_folders(&dir.path().join("val"), &[("cat", 2)]);
        assert_eq!([count(Part::Test), count(Part::Val), count(Part::Train)], [2, 2, 8]);
        class_folders(&dir.path().join("test"), &[("dog", 1)]);
        assert_eq!([count(Part::Test), count(Part::Val), count(Part::Train)], [1, 2, 8]);
    }

    #[test]
    fn a_class_that_training_does_not_know_is_named() {
        let dir = tempfile::tempdir().unwrap();
        class_folders(&dir.path().join("train"), &[("cat", 2), ("dog", 2)]);
        class_folders(&dir.path().join("test"), &[("dog", 1), ("horse", 1)]);
        let message = failure(dir.path());
        assert!(message.contains("class \"horse\" is not one of the training set's 2 (cat, dog)"), "{message}");
    }
}
