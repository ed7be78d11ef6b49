use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use super::split::{Part, Splits};
use super::{Dataset, Source, files};
use crate::error::{Error, Result};

const PATH_NAMES: [&str; 9] =
    ["path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img"];
const LABEL_NAMES: [&str; 7] = ["label", "class", "target", "category", "label_name", "class_name", "labels"];
const SPLIT_NAMES: [&str; 4] = ["split", "part", "subset", "set"];

/// Which column holds what, counted from 0.
struct Columns {
    path: usize,
    label: usize,
    split: Option<usize>,
}

/// Reads a CSV file: a line for each image, with its path and its class, and perhaps with its part (train, val, test).
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
    let base = base_folder(path, &sample[columns.path]);

    let mut named = [Vec::new(), Vec::new(), Vec::new()];
    for row in rows {
        let (part, source, label) = columns.read(row, &base).map_err(|message| at_line(path, row, &message))?;
        named[part as usize].push((source, label));
    }
    let [train, val, test] = named.map(|named| Dataset::from_named(path.to_owned(), named));
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
        let label = named(&LABEL_NAMES).or_else(|| {
            let mut rest = (0..sample.len()).filter(|&column| column != path && Some(column) != split);
            rest.next().filter(|_| rest.next().is_none())
        })?;
        Some(Self { path, label, split })
    }

    fn read(&self, row: &StringRecord, base: &Path) -> Result<(Part, Source, String), String> {
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
        Ok((part, Source::File(base.join(path)), label.to_owned()))
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
