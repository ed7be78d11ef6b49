use std::path::{Path, PathBuf};
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::split::{Part, Splits};
use super::{Dataset, Source, files};
use crate::error::{Error, Result};

const PATH_NAMES: [&str; 9] =
    ["path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img"];
const LABEL_NAMES: [&str; 7] = ["label", "class", "target", "category", "label_name", "class_name", "labels"];
const SPLIT_NAMES: [&str; 3] = ["split", "part", "subset"];
const GROUP_NAMES: [&str; 6] = ["group", "patient", "patient_id", "patientid", "subject", "subject_id"];

/// Which column holds what, counted from 0.
struct Columns {
    path: usize,
    label: usize,
    split: Option<usize>,
    group: Option<usize>,
}

/// What a line says.
struct Row {
    part: Part,
    source: Source,
    label: String,
    group: Option<Arc<str>>,
}

/// Reads a CSV file: a line for each image, with its path and its class, and perhaps with its part (train, val, test) and its
/// group (the patient, for instance).
///
/// Columns are known by their names (case does not matter); without a header line, and for other names, the path is the
/// column that ends like an image file and the label the only one left. Relative paths start at the CSV's folder, or at
/// `images/` beside the CSV if the first image is only there.
pub(super) fn read(path: &Path) -> Result<Option<Splits>> {
    if !path.is_file() || !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
        return Ok(None);
    }
    let records = records(path)?;
    let first = records.first().ok_or_else(|| Error::format(path, "the file has no lines"))?;
    let has_header = !first.iter().any(looks_like_image);
    let rows = &records[usize::from(has_header)..];
    let sample = rows.first().ok_or_else(|| Error::format(path, "there is a header line, but no line for an image"))?;
    let columns = Columns::find(if has_header { Some(first) } else { None }, sample)
        .ok_or_else(|| Error::format(path, unclear_columns(first)))?;
    let base = base_folder(path, sample.get(columns.path).unwrap_or_default());

    let (mut named, mut groups) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for row in rows {
        let Row { part, source, label, group } =
            columns.read(row, &base).map_err(|message| at_line(path, row, &message))?;
        named[part as usize].push((source, label));
        groups[part as usize].push(group);
    }
    let [train, val, test] = named.map(|named| Dataset::from_named(path.to_owned(), named));
    let [train, val, test] = [(train, 0), (val, 1), (test, 2)].map(|(mut data, part): (Dataset, usize)| {
        data.samples.iter_mut().zip(groups[part].drain(..)).for_each(|(sample, group)| sample.group = group);
        data
    });
    Ok(Some(Splits { train, val, test }))
}

fn records(path: &Path) -> Result<Vec<StringRecord>> {
    let malformed = |e: csv::Error| match e.into_kind() {
        csv::ErrorKind::Io(source) => Error::io("read", path, source),
        csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.map_or(0, |pos| pos.line());
            Error::format(path, format!("line {line}: not valid UTF-8; save the file as UTF-8"))
        }
        other => Error::format(path, format!("not a CSV file: {other:?}")),
    };
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_path(path).map_err(malformed)?;
    reader.records().map(|record| record.map_err(malformed)).collect()
}

impl Columns {
    fn find(header: Option<&StringRecord>, sample: &StringRecord) -> Option<Self> {
        let named = |names: &[&str]| header?.iter().position(|column| names.contains(&column.to_lowercase().as_str()));
        let path = named(&PATH_NAMES).or_else(|| sample.iter().position(looks_like_image))?;
        let split = named(&SPLIT_NAMES).filter(|&column| column != path);
        let group = named(&GROUP_NAMES).filter(|&column| column != path);
        let label = named(&LABEL_NAMES).or_else(|| {
            let mut rest = (0..sample.len()).filter(|&column| ![Some(path), split, group].contains(&Some(column)));
            rest.next().filter(|_| rest.next().is_none())
        })?;
        Some(Self { path, label, split, group: group.filter(|&column| column != label) })
    }

    fn read(&self, row: &StringRecord, base: &Path) -> Result<Row, String> {
        let cell = |column: usize| row.get(column).filter(|cell| !cell.is_empty());
        let path = cell(self.path).ok_or("the path is missing")?;
        let label = cell(self.label).ok_or("the label is missing")?;
        let part = match self.split {
            None => Part::Train,
            Some(column) => {
                let name = cell(column).ok_or("the split is missing")?;
                Part::named(&name.to_lowercase())
                    .ok_or_else(|| format!("split {name:?} is not one of train, val and test"))?
            }
        };
        let group = self.group.map(|column| cell(column).ok_or("the group is missing")).transpose()?;
        Ok(Row { part, source: Source::File(base.join(path)), label: label.to_owned(), group: group.map(Arc::from) })
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

fn unclear_columns(first: &StringRecord) -> String {
    format!(
        "could not tell the path and the label column: the first line is {:?}; name them \"path\" and \"label\"",
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
