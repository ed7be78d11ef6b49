use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::split::{Part, Splits};
use super::{Dataset, Header, Stack, files};
use crate::error::{Error, Result};

/// Reads MNIST's format: a folder with `train-images-idx3-ubyte` and `t10k-images-idx3-ubyte` and a labels file for
/// each, or one file of images beside its labels; each may be gzipped. Class names are the numbers.
///
/// Source: <https://yann.lecun.com/exdb/mnist/>.
pub(super) fn read(path: &Path) -> Result<Option<Splits>> {
    let mut splits = Splits::default();
    if path.is_file() {
        if !is_images(path) {
            return Ok(None);
        }
        splits.train = pair(path)?;
        return Ok(Some(splits));
    }
    for images in images_in(path)? {
        let data = splits.part_mut(part_of(&images));
        if !data.is_empty() {
            let message = format!("is for the same part of the data as {}; name the one meant", data.root.display());
            return Err(Error::format(&images, message));
        }
        *data = pair(&images)?;
    }
    Ok(if splits.train.is_empty() && splits.test.is_empty() { None } else { Some(splits) })
}

/// Files of images in a folder; where one is there as it is and gzipped too, the former.
fn images_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut images = files::files_in(folder)?;
    images.retain(|file| is_images(file));
    images.dedup_by(|gzipped, plain| **gzipped == *with_suffix(plain, ".gz"));
    Ok(images)
}

/// `train-images-idx3-ubyte`, `train-images.idx3-ubyte.gz`, `emnist-letters-test-images-idx3-ubyte`, …
fn is_images(path: &Path) -> bool {
    let name = files::lower_name(path);
    name.contains("images") && name.contains("idx")
}

fn part_of(images: &Path) -> Part {
    let name = files::lower_name(images);
    if name.contains("t10k") || name.contains("test") {
        Part::Test
    } else if name.contains("val") {
        Part::Val
    } else {
        Part::Train
    }
}

fn pair(images: &Path) -> Result<Dataset> {
    let stack = stack(images)?;
    let labels_path = labels_beside(images)?;
    let (extents, labels) = read_array(&labels_path)?;
    if extents != [stack.len()] {
        let message =
            format!("holds labels of shape {extents:?}, but there are {} images in {}", stack.len(), images.display());
        return Err(Error::format(labels_path, message));
    }
    let classes = labels.iter().max().map_or(0, |&label| usize::from(label) + 1);
    Ok(Dataset {
        root: images.to_owned(),
        classes: (0..classes).map(|class| class.to_string()).collect(),
        samples: stack.samples(&labels),
        ..Dataset::default()
    })
}

fn stack(path: &Path) -> Result<Stack> {
    let (extents, pixels) = read_array(path)?;
    let (size, channels) = match extents[..] {
        [_, height, width] => ([height, width], 1),
        [_, height, width, channels @ (1 | 3)] => ([height, width], channels),
        _ => {
            let message = format!("images are [count, height, width] or [count, height, width, 3], not {extents:?}");
            return Err(Error::format(path, message));
        }
    };
    if extents.contains(&0) {
        return Err(Error::format(path, format!("holds no image: its shape is {extents:?}")));
    }
    Ok(Stack { path: path.to_owned(), header: Header { size, channels }, pixels })
}

/// The labels file of the same name, gzipped or not.
fn labels_beside(images: &Path) -> Result<PathBuf> {
    let name = images.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let labels =
        images.with_file_name(name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1"));
    let candidates = [with_suffix(&labels, ".gz"), labels];
    let [_, expected] = &candidates;
    let missing = || Error::format(images, format!("its labels, {}, are not beside it", expected.display()));
    candidates.iter().find(|path| path.is_file() && *path != images).cloned().ok_or_else(missing)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The extents and the bytes of an IDX file.
fn read_array(path: &Path) -> Result<(Vec<usize>, Vec<u8>)> {
    let io = |source| Error::io("read", path, source);
    let mut reader = open(path)?;
    let mut magic = [0; 4];
    reader.read_exact(&mut magic).map_err(io)?;
    let [0, 0, 8, rank] = magic else {
        let [a, b, c, d] = magic;
        let message = format!("not an IDX file of bytes: it starts with {a:02x} {b:02x} {c:02x} {d:02x}, not 00 00 08");
        return Err(Error::format(path, message));
    };
    let mut extents = Vec::new();
    for _ in 0..rank {
        let mut extent = [0; 4];
        reader.read_exact(&mut extent).map_err(io)?;
        extents.push(u32::from_be_bytes(extent) as usize);
    }
    let expected = extents.iter().try_fold(1u64, |product, &extent| product.checked_mul(extent as u64));
    let expected = expected.filter(|&bytes| bytes < u64::MAX);
    let expected = expected.ok_or_else(|| Error::format(path, format!("its shape {extents:?} cannot be")))?;
    let mut bytes = Vec::new();
    reader.take(expected + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 != expected {
        let message = if (bytes.len() as u64) < expected { "cut short" } else { "longer than its header says" };
        return Err(Error::format(path, format!("the file is {message}: its shape is {extents:?}")));
    }
    Ok((extents, bytes))
}

/// A gzipped file is told by its first bytes, whatever its name is.
fn open(path: &Path) -> Result<Box<dyn Read>> {
    let io = |source| Error::io("read", path, source);
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let gzipped = std::io::BufRead::fill_buf(&mut file).map_err(io)?.starts_with(&[0x1f, 0x8b]);
    Ok(if gzipped { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::super::fixtures::write;
    use super::super::{Probe, open};
    use super::*;

    fn array(extents: &[u32], bytes: &[u8]) -> Vec<u8> {
        let header = extents.iter().flat_map(|extent| extent.to_be_bytes());
        [0, 0, 8, extents.len() as u8].into_iter().chain(header).chain(bytes.iter().copied()).collect()
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Three pictures of 2x3 pixels, with labels 2, 0 and 1.
    fn small_set(folder: &Path) {
        let pixels: Vec<u8> = (0..18).collect();
        write(folder, "train-images-idx3-ubyte.gz", gzipped(&array(&[3, 2, 3], &pixels)));
        write(folder, "train-labels-idx1-ubyte.gz", gzipped(&array(&[3], &[2, 0, 1])));
        write(folder, "t10k-images.idx3-ubyte", array(&[1, 2, 3], &pixels[..6]));
        write(folder, "t10k-labels.idx1-ubyte", array(&[1], &[1]));
    }

    #[test]
    fn folders_hold_training_and_test_images() {
        let dir = tempfile::tempdir().unwrap();
        small_set(dir.path());
        let parts = open(dir.path()).unwrap();
        assert_eq!([parts.train.len(), parts.val.len(), parts.test.len()], [3, 0, 1]);
        assert_eq!(parts.train.classes, ["0", "1", "2"]);
        assert_eq!(parts.train.samples.iter().map(|s| s.label).collect::<Vec<_>>(), [2, 0, 1]);
        assert_eq!(parts.train.samples[1].source.image().unwrap().pixels, [6, 7, 8, 9, 10, 11]);
        assert!(parts.train.samples[1].source.to_string().ends_with("train-images-idx3-ubyte.gz#1"));
        assert_eq!(parts.train.probe().unwrap(), Probe { channels: 1, size: Some([2, 3]), widest: [2, 3] });
    }

    #[test]
    fn one_file_of_images_is_enough_and_an_unpacked_copy_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        small_set(dir.path());
        assert_eq!(open(dir.path().join("train-images-idx3-ubyte.gz")).unwrap().train.len(), 3);
        write(dir.path(), "train-images-idx3-ubyte", array(&[3, 2, 3], &[9; 18]));
        assert_eq!(open(dir.path()).unwrap().train.samples[0].source.image().unwrap().pixels, [9; 6]);
    }

    #[test]
    fn malformed_files_are_errors() {
        let fails = |name: &str, bytes: Vec<u8>| {
            let dir = tempfile::tempdir().unwrap();
            small_set(dir.path());
            write(dir.path(), name, bytes);
            open(dir.path()).unwrap_err().to_string()
        };
        let images = "train-images-idx3-ubyte.gz";
        let labels = "train-labels-idx1-ubyte.gz";
        let whole = array(&[3, 2, 3], &[0; 18]);
        assert!(fails(images, whole[..30].to_vec()).contains("cut short: its shape is [3, 2, 3]"));
        assert!(fails(images, [&whole[..], &[0]].concat()).contains("longer than its header says"));
        assert!(fails(images, b"<html></html>".to_vec()).contains("starts with 3c 68 74 6d"));
        assert!(fails(images, gzipped(&whole)[..20].to_vec()).contains("could not read"));
        assert!(fails(images, Vec::new()).contains("could not read"));
        assert!(fails(images, array(&[18], &[0; 18])).contains("not [18]"));
        assert!(fails(images, array(&[0, 2, 3], &[])).contains("holds no image"));
        assert!(fails(images, array(&[u32::MAX; 4], &[])).contains("cannot be"));
        assert!(fails(labels, array(&[2], &[0, 1])).contains("labels of shape [2], but there are 3 images"));
        assert!(fails("emnist-train-images-idx3-ubyte", whole).contains("its labels, "));
    }

    #[test]
    fn two_training_sets_are_not_guessed_between() {
        let dir = tempfile::tempdir().unwrap();
        small_set(dir.path());
        write(dir.path(), "letters-train-images-idx3-ubyte", array(&[1, 2, 3], &[0; 6]));
        write(dir.path(), "letters-train-labels-idx1-ubyte", array(&[1], &[0]));
        assert!(open(dir.path()).unwrap_err().to_string().contains("name the one meant"));
    }
}
