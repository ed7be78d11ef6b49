use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::split::{Part, Splits};
use super::{Dataset, Source, files};
use crate::error::{Error, Result};

const PATH_NAMES: [&str; 9] =
    ["path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img"];
const LABEL_NAMES: [&str; 7] = ["label", "class", "target", "category", "label_name", "class_name", "labels"];
const LABEL: Content = Content { what: "label", names: &LABEL_NAMES, check: |_| Ok(()) };
const SPLIT_NAMES: [&str; 3] = ["split", "part", "subset"];
const GROUP_NAMES: [&str; 6] = ["group", "patient", "patient_id", "patientid", "subject", "subject_id"];

/// What a table says of each image.
pub(super) struct Content {
    /// What it is called in messages, and by whoever asks for a name.
    pub what: &'static str,
    /// Names of its column, in lower case.
    pub names: &'static [&'static str],
    /// What is wrong with a cell, if something is.
    pub check: fn(&str) -> Result<(), String>,
}

/// Which column holds what, counted from 0.
struct Columns {
    path: usize,
    content: usize,
    split: Option<usize>,
    group: Option<usize>,
}

/// What a line says of an image besides its part.
pub(super) struct Row {
    source: Source,
    content: String,
    group: Option<Arc<str>>,
}

impl Row {
    /// The image, and what is said of it.
    pub fn named(self) -> (Source, String) {
        (self.source, self.content)
    }
}

/// Reads a CSV file: a line for each image, with its path and its class, and perhaps with its part (train, val, test) and its
/// group (the patient, for instance).
pub(super) fn read(path: &Path) -> Result<Option<Splits>> {
    if !is_table(path) {
        return Ok(None);
    }
    let [train, val, test] = rows(path, &LABEL)?.map(|rows| {
        let groups: Vec<_> = rows.iter().map(|row| row.group.clone()).collect();
        let mut data = Dataset::from_named(path.to_owned(), rows.into_iter().map(Row::named).collect());
        data.samples.iter_mut().zip(groups).for_each(|(sample, group)| sample.group = group);
        data
    });
    Ok(Some(Splits { train, val, test }))
}

/// Whether it is a CSV file, by its name.
pub(super) fn is_table(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"))
}

/// Whether a CSV file has a column of one of `names`, and none of classes.
///
/// Errors: if it is no CSV file.
pub(super) fn has_column(path: &Path, names: &[&str]) -> Result<bool> {
    let first = records(path)?.next().transpose()?.unwrap_or_default();
    let has = |names: &[&str]| first.iter().any(|column| names.contains(&column.to_lowercase().as_str()));
    Ok(has(names) && !has(&LABEL_NAMES))
}

/// Reads a CSV file: a line for each image, with its path and what is said of it, and perhaps with its part; by part: train,
/// val, test.
///
/// Columns are known by their names (case does not matter); without a header line, and for other names, the path is the
/// column that ends like an image file and the content the only one left. Relative paths start at the CSV's folder, or at
/// `images/` beside the CSV if the first image is only there.
///
/// Errors: if it cannot be read, columns are unclear, or a cell is missing or wrong; the message names the line.
pub(super) fn rows(path: &Path, content: &Content) -> Result<[Vec<Row>; 3]> {
    let records: Vec<StringRecord> = records(path)?.collect::<Result<_>>()?;
    let first = records.first().ok_or_else(|| Error::format(path, "the file has no lines"))?;
    let has_header = !first.iter().any(looks_like_image);
    let rows = &records[usize::from(has_header)..];
    let sample = rows.first().ok_or_else(|| Error::format(path, "there is a header line, but no line for an image"))?;
    let columns = Columns::find(has_header.then_some(first), sample, content)
        .ok_or_else(|| Error::format(path, unclear_columns(first, content.what)))?;
    let base = base_folder(path, sample.get(columns.path).unwrap_or_default());

    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for row in rows {
        let (part, read) = columns.read(row, &base, content).map_err(|message| at_line(path, row, &message))?;
        parts[part as usize].push(read);
    }
    Ok(parts)
}

fn records(path: &Path) -> Result<impl Iterator<Item = Result<StringRecord>>> {
    let malformed = move |e: csv::Error| match e.into_kind() {
        csv::ErrorKind::Io(source) => Error::io("read", path, source),
        csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.map_or(0, |pos| pos.line());
            Error::format(path, format!("line {line}: not valid UTF-8; save the file as UTF-8"))
        }
        other => Error::format(path, format!("not a CSV file: {other:?}")),
    };
    let reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_path(path).map_err(malformed)?;
    Ok(reader.into_records().map(move |record| record.map_err(malformed)))
}

impl Columns {
    fn find(header: Option<&StringRecord>, sample: &StringRecord, content: &Content) -> Option<Self> {
        let named = |names: &[&str]| header?.iter().position(|column| names.contains(&column.to_lowercase().as_str()));
        let path = named(&PATH_NAMES).or_else(|| sample.iter().position(looks_like_image))?;
        let split = named(&SPLIT_NAMES).filter(|&column| column != path);
        let group = named(&GROUP_NAMES).filter(|&column| column != path);
        let content = named(content.names).or_else(|| {
            let mut rest = (0..sample.len()).filter(|&column| ![Some(path), split, group].contains(&Some(column)));
            rest.next().filter(|_| rest.next().is_none())
        })?;
        Some(Self { path, content, split, group: group.filter(|&column| column != content) })
    }

    fn read(&self, row: &StringRecord, base: &Path, content: &Content) -> Result<(Part, Row), String> {
        let cell = |column: usize| row.get(column).filter(|cell| !cell.is_empty());
        let path = cell(self.path).ok_or("the path is missing")?;
        let found = cell(self.content).ok_or_else(|| format!("the {} is missing", content.what))?;
        (content.check)(found)?;
        let part = match self.split {
            None => Part::Train,
            Some(column) => {
                let name = cell(column).ok_or("the split is missing")?;
                Part::named(&name.to_lowercase())
                    .ok_or_else(|| format!("split {name:?} is not one of train, val and test"))?
            }
        };
        let group = self.group.map(|column| cell(column).ok_or("the group is missing")).transpose()?;
        let row = Row { source: Source::File(base.join(path)), content: found.to_owned(), group: group.map(Arc::from) };
        Ok((part, row))
    }
}

fn looks_like_image(cell: &str) -> bool {
    files::is_image(Path::new(cell))
}

fn base_folder(csv: &Path, first: &str) -> PathBuf {
    let folder = csv.parent().unwrap_or(Path::new(""));
    let images = folder.join("images");
    if !folder.join(first).exists() && images.join(first).exists() { images } else { folder.to_owned() }
}

fn at_line(path: &Path, row: &StringRecord, message: &str) -> Error {
    let line = row.position().map_or(0, |position| position.line());
    Error::format(path, format!("line {line}: {message}"))
}

fn unclear_columns(first: &StringRecord, what: &str) -> String {
    format!(
        "could not tell the path and the {what} column: the first line is {:?}; name them \"path\" and \"{what}\"",
        first.iter().collect::<Vec<_>>().join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::write;
    use super::super::open;
    use super::*;

    /// Opens a CSV file of this content as training data.
    fn opened(content: impl AsRef<[u8]>) -> Result<Splits, String> {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "images/only-there.png", "");
        let path = write(dir.path(), "labels.csv", content);
        open(path).map_err(|e| e.to_string().split_once("labels.csv: ").unwrap().1.to_owned())
    }

    /// File names and class names of the samples.
    fn content(data: &Dataset) -> Vec<(String, &str)> {
        let name = |source: &Source| match source {
            Source::File(path) => files::lower_name(path),
            _ => unreachable!("a CSV names files"),
        };
        data.samples.iter().map(|s| (name(&s.source), data.classes[s.label].as_str())).collect()
    }

    #[test]
    fn lines_stay_in_order_and_labels_are_sorted() {
        let data = opened("path,label\nb.png,dog\na.png,cat\nc,dog\n").unwrap().train;
        assert_eq!(data.classes, ["cat", "dog"]);
        assert_eq!(content(&data), [("b.png".into(), "dog"), ("a.png".into(), "cat"), ("c".into(), "dog")]);
    }

    #[test]
    fn columns_are_found_by_name_or_by_content() {
        let expected = [("a.png".into(), "x"), ("b.png".into(), "y")];
        for text in [
            "Class, Filename\nx,a.png\ny , b.png",
            "\u{feff}image,age,target\na.png,7,x\nb.png,8,y",
            "a.png,x\nb.png,y",
            "x,a.png\r\ny,b.png\r\n",
            "photo,species\na.png,x\n\nb.png,y",
            "\"photo\",\"species\"\n\"a.png\",\"x\"\n\"b.png\",\"y\"",
        ] {
            assert_eq!(content(&opened(text).unwrap().train), expected, "{text:?}");
        }
    }

    #[test]
    fn a_split_column_makes_parts() {
        let parts = opened("file,class,part\n1.png,a,train\n2.png,b,Train\n3.png,a,valid\n4.png,b,test").unwrap();
        assert_eq!([parts.train.len(), parts.val.len(), parts.test.len()], [2, 1, 1]);
        assert_eq!(parts.test.samples[0].label, 1);
        let message = opened("file,class,split\n1.png,a,train\n2.png,b,fold2").unwrap_err();
        assert_eq!(message, "line 3: split \"fold2\" is not one of train, val and test");
    }

    #[test]
    fn a_patient_column_makes_groups() {
        let parts = opened("file,class,Patient,split\n1.png,a,p1,train\n2.png,b,p1,train\n3.png,b,p2,test").unwrap();
        assert_eq!(parts.train.groups(), Some(vec![0, 0]));
        assert_eq!(parts.test.samples[0].group.as_deref(), Some("p2"));
        let two = opened("file,group,kind\n1.png,g,a\n2.png,h,b").unwrap().train;
        assert_eq!((two.classes.clone(), two.groups()), (vec!["a".into(), "b".into()], Some(vec![0, 1])));
        let message = opened("file,class,patient\n1.png,a,p1\n2.png,b,").unwrap_err();
        assert_eq!(message, "line 3: the group is missing");
    }

    #[test]
    fn paths_start_at_the_csv_or_at_images_beside_it() {
        let base = |text: &str| match &opened(text).unwrap().train.samples[0].source {
            Source::File(path) => files::lower_name(path.parent().unwrap()),
            _ => unreachable!("a CSV names files"),
        };
        assert_eq!(base("only-there.png,a\nx.png,b"), "images");
        assert_ne!(base("images/only-there.png,a\nx.png,b"), "only-there.png");
        assert_eq!(base("/absolute/x.png,a\nx.png,b"), "absolute");
    }

    #[test]
    fn what_is_missing_is_told_with_its_line() {
        assert_eq!(opened("path,label\na.png,x\nb.png,\n").unwrap_err(), "line 3: the label is missing");
        assert_eq!(opened("path,label\na.png,x\nb.png\n").unwrap_err(), "line 3: the label is missing");
        assert_eq!(opened("label,path\nx\n").unwrap_err(), "line 2: the path is missing");
        assert_eq!(opened("path,label\n,x\n").unwrap_err(), "line 2: the path is missing");
        assert_eq!(opened("path,label\n").unwrap_err(), "there is a header line, but no line for an image");
        assert_eq!(opened("").unwrap_err(), "the file has no lines");
        let message = opened("id,x,y\n1,2,3\n").unwrap_err();
        assert!(message.contains("the first line is \"id,x,y\"") && message.contains("name them"), "{message}");
        let message = opened(b"path,label\na.png,caf\xe9\n").unwrap_err();
        assert_eq!(message, "line 2: not valid UTF-8; save the file as UTF-8");
    }
}
