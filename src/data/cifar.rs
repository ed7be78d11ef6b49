use std::fs;
use std::path::{Path, PathBuf};

use super::split::Splits;
use super::{Dataset, Header, Stack, files};
use crate::error::{Error, Result};

const SIDE: usize = 32;
const CHANNELS: usize = 3;
const PIXELS: usize = SIDE * SIDE * CHANNELS;

/// One of the two binary forms: label bytes, then 32x32 red, 32x32 green, 32x32 blue.
struct Form {
    /// Bytes before the pixels; the last one is the class.
    label_bytes: usize,
    names: &'static str,
    classes: usize,
}

const CIFAR_10: Form = Form { label_bytes: 1, names: "batches.meta.txt", classes: 10 };
const CIFAR_100: Form = Form { label_bytes: 2, names: "fine_label_names.txt", classes: 100 };

/// Reads a folder with CIFAR's binary files: CIFAR-10 (`data_batch_1.bin`, …, `test_batch.bin`, names in
/// `batches.meta.txt`) or CIFAR-100 with its fine labels (`train.bin`, `test.bin`, `fine_label_names.txt`). Without the
/// file of names, classes are named by their numbers.
///
/// Source: <https://www.cs.toronto.edu/~kriz/cifar.html>.
pub(super) fn read(path: &Path) -> Result<Option<Splits>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let files = files::files_in(path)?;
    let named = |accept: fn(&str) -> bool| -> Vec<PathBuf> {
        files.iter().filter(|file| accept(&files::lower_name(file))).cloned().collect()
    };
    let batches = named(|name| name.starts_with("data_batch") && name.ends_with(".bin"));
    let (form, train, test) = if batches.is_empty() {
        (CIFAR_100, named(|name| name == "train.bin"), named(|name| name == "test.bin"))
    } else {
        (CIFAR_10, batches, named(|name| name == "test_batch.bin"))
    };
    if train.is_empty() {
        return Ok(None);
    }
    let classes = form.class_names(path)?;
    let part = |files: &[PathBuf]| form.part(path, files, &classes);
    Ok(Some(Splits { train: part(&train)?, val: Dataset::default(), test: part(&test)? }))
}

impl Form {
    fn class_names(&self, folder: &Path) -> Result<Vec<String>> {
        let path = folder.join(self.names);
        if !path.is_file() {
            return Ok((0..self.classes).map(|class| class.to_string()).collect());
        }
        let text = fs::read_to_string(&path).map_err(|source| Error::io("read", &path, source))?;
        let names: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if names.len() != self.classes {
            let message = format!("holds {} class names, but {} were expected", names.len(), self.classes);
            return Err(Error::format(path, message));
        }
        Ok(names)
    }

    fn part(&self, folder: &Path, files: &[PathBuf], classes: &[String]) -> Result<Dataset> {
        let mut samples = Vec::new();
        for file in files {
            let (stack, labels) = self.batch(file)?;
            samples.extend(stack.samples(&labels));
        }
        Ok(Dataset { root: folder.to_owned(), classes: classes.to_vec(), samples, ..Dataset::default() })
    }

    fn batch(&self, path: &Path) -> Result<(Stack, Vec<u8>)> {
        let bytes = fs::read(path).map_err(|source| Error::io("read", path, source))?;
        let record = self.label_bytes + PIXELS;
        if bytes.is_empty() || bytes.len() % record != 0 {
            let message = format!(
                "the file is cut short or not CIFAR-{}: its {} bytes are no multiple of {record}",
                self.classes,
                bytes.len()
            );
            return Err(Error::format(path, message));
        }
        let labels: Vec<u8> = bytes.chunks_exact(record).map(|record| record[self.label_bytes - 1]).collect();
        if let Some(index) = labels.iter().position(|&label| usize::from(label) >= self.classes) {
            let message = format!("image {index} has label {}, but there are {} classes", labels[index], self.classes);
            return Err(Error::format(path, message));
        }
        let pixels = bytes.chunks_exact(record).flat_map(|record| interleaved(&record[self.label_bytes..])).collect();
        let header = Header { size: [SIDE, SIDE], channels: CHANNELS };
        Ok((Stack { path: path.to_owned(), header, pixels }, labels))
    }
}

/// Planes to pixels.
fn interleaved(planes: &[u8]) -> impl Iterator<Item = u8> {
    (0..PIXELS).map(|i| planes[i % CHANNELS * SIDE * SIDE + i / CHANNELS])
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::write;
    use super::super::open;

    /// A picture whose pixel `i` is `[i, 100, 200]`, modulo 256.
    fn record(labels: &[u8]) -> Vec<u8> {
        let red = (0..1024).map(|i| i as u8);
        labels.iter().copied().chain(red).chain([100; 1024]).chain([200; 1024]).collect()
    }

    #[test]
    fn cifar_10_is_batches_with_names() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "data_batch_1.bin", [record(&[3]), record(&[9])].concat());
        write(dir.path(), "data_batch_2.bin", record(&[0]));
        write(dir.path(), "test_batch.bin", record(&[1]));
        write(
            dir.path(),
            "batches.meta.txt",
            "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n",
        );
        let parts = open(dir.path()).unwrap();
        assert_eq!([parts.train.len(), parts.val.len(), parts.test.len()], [3, 0, 1]);
        let names = parts.train.samples.iter().map(|s| parts.train.classes[s.label].as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["cat", "truck", "airplane"]);
        let image = parts.train.samples[1].source.image().unwrap();
        assert_eq!((image.size, image.channels), ([32, 32], 3));
        assert_eq!(image.pixels[..6], [0, 100, 200, 1, 100, 200]);
        assert_eq!(image.pixels[33 * 3], 33);
    }

    #[test]
    fn cifar_100_takes_the_fine_label() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "train.bin", [record(&[19, 99]), record(&[2, 5])].concat());
        let train = open(dir.path()).unwrap().train;
        assert_eq!((train.samples[0].label, train.classes.len()), (99, 100));
    }

    #[test]
    fn malformed_files_are_errors() {
        let fails = |bytes: Vec<u8>, names: &str| {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), "data_batch_1.bin", bytes);
            write(dir.path(), "batches.meta.txt", names);
            open(dir.path()).unwrap_err().to_string()
        };
        let ten = "0 1 2 3 4 5 6 7 8 9";
        assert!(fails(record(&[0])[1..].to_vec(), ten).contains("no multiple of 3073"));
        assert!(fails(Vec::new(), ten).contains("cut short"));
        assert!(fails(record(&[10]), ten).contains("image 0 has label 10"));
        assert!(fails(record(&[0]), "cat dog").contains("holds 2 class names, but 10"));
    }
}
