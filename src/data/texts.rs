use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::split::{Part, Splits};
use super::table::{self, Content};
use super::{Dataset, Source, files, folder, open};
use crate::error::{Error, Result};

const TEXT_NAMES: [&str; 9] =
    ["text", "transcription", "transcript", "ground_truth", "words", "word", "string", "label", "labels"];
/// Of these, what names nothing but texts.
const ONLY_TEXTS: [&str; 4] = ["text", "transcription", "transcript", "ground_truth"];
const TEXT: Content = Content { what: "text", names: &TEXT_NAMES, check: fault };

/// A file of one line is not larger.
const MOST_BYTES: u64 = 1 << 16;

/// Where the text of a picture stands, if not in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TextFrom {
    /// In `name.txt` beside `name.png`.
    Files,
    /// In the picture's file name, before its first underscore: `1234_0.png` shows 1234.
    Names,
    /// In the picture's file name, all of it but the ending.
    Stems,
}

/// Opens pictures with texts for training, also under `train/`, `val/` and `test/`:
///
/// - a CSV file with a path and a text column, and perhaps a split column, or a folder with one; also with `train.csv`,
///   `val.csv` and `test.csv`;
/// - pictures with `name.txt` beside each;
/// - pictures whose names are their texts.
///
/// The classes are the symbols that occur: sorted characters. `from` says which of the last two it is; without it, a table is
/// taken if there is one, else text files if there are any, else the names.
///
/// Errors: if there are no pictures, a text is missing or is no line of text, a table is malformed, or another part has a symbol
/// that the training part has not.
pub fn open_texts(path: impl AsRef<Path>, from: Option<TextFrom>) -> Result<Splits> {
    let path = path.as_ref();
    open::labelled_alike(path, read(path, from)?)
}

/// Opens pictures with texts to measure a trained network on whose symbols are `classes`; the part as in
/// [`open_labelled`](super::open_labelled).
///
/// Errors: as [`open_texts`]; if there is a symbol that is not among `classes`.
pub fn open_labelled_texts(
    path: impl AsRef<Path>,
    part: Part,
    classes: &[String],
    from: Option<TextFrom>,
) -> Result<Dataset> {
    read(path.as_ref(), from)?.into_part_or_other(part).with_classes(classes)
}

/// Whether a CSV file, or one in a folder, has a column of texts and none of classes: then it is there to learn reading from.
///
/// Errors: if the table is none.
pub fn holds_texts(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let tables = if path.is_dir() { tables_in(path)? } else { vec![path.to_owned()] };
    match tables.first() {
        Some(table) if table::is_table(table) => table::has_column(table, &ONLY_TEXTS),
        _ => Ok(false),
    }
}

fn read(path: &Path, from: Option<TextFrom>) -> Result<Splits> {
    path.metadata().map_err(|source| Error::io("read", path, source))?;
    if table::is_table(path) {
        return table(path);
    }
    if !path.is_dir() {
        return Err(Error::format(path, "texts stand in a .csv file, or in a folder of pictures; this is neither"));
    }
    match tables_in(path)?.as_slice() {
        [] => folder::by_parts(path, &|folder| part(folder, from)),
        _ if from.is_some() => folder::by_parts(path, &|folder| part(folder, from)),
        [single] => table(single),
        several => several_tables(several),
    }
}

fn tables_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut tables = files::files_in(folder)?;
    tables.retain(|file| table::is_table(file));
    Ok(tables)
}

fn table(path: &Path) -> Result<Splits> {
    let [train, val, test] = table::rows(path, &TEXT)?
        .map(|rows| Dataset::from_texts(path.to_owned(), rows.into_iter().map(table::Row::named).collect()));
    Ok(Splits { train, val, test })
}

/// `train.csv`, `val.csv`, `test.csv`.
fn several_tables(tables: &[PathBuf]) -> Result<Splits> {
    let mut splits = Splits::default();
    for path in tables {
        let unclear = || Error::format(path, "of several tables in a folder, each is named train, val or test");
        let part = Part::named(&files::lower_name(&path.with_extension(""))).ok_or_else(unclear)?;
        if !splits.part_mut(part).is_empty() {
            return Err(Error::format(path, "is the same part of the data as another table beside it; keep one"));
        }
        *splits.part_mut(part) = whole_table(path)?;
    }
    Ok(splits)
}

/// All lines of a table that is one part.
fn whole_table(path: &Path) -> Result<Dataset> {
    Ok(Dataset::from_texts(
        path.to_owned(),
        table::rows(path, &TEXT)?.into_iter().flatten().map(table::Row::named).collect(),
    ))
}

/// The pictures of a folder that is one part.
fn part(folder: &Path, from: Option<TextFrom>) -> Result<Dataset> {
    if from.is_none() {
        match tables_in(folder)?.as_slice() {
            [] => {}
            [single] => return whole_table(single),
            _ => return Err(Error::format(folder, "holds several tables; keep the one meant")),
        }
    }
    let images = files::images_below(folder)?;
    let has_files = || images.iter().any(|image| image.with_extension("txt").is_file());
    let from = from.unwrap_or_else(|| if has_files() { TextFrom::Files } else { TextFrom::Names });
    let with_text = |image: PathBuf| from.text(&image).map(|text| (Source::File(image), text));
    Ok(Dataset::from_texts(folder.to_owned(), images.into_iter().map(with_text).collect::<Result<_>>()?))
}

/// What keeps a text from being a line that a network could read.
fn fault(text: &str) -> Result<(), String> {
    match text.lines().count() {
        0 => Err("the text is missing".to_owned()),
        1 if text.chars().any(char::is_control) => Err("the text holds a control character".to_owned()),
        1 => Ok(()),
        lines => Err(format!("the text has {lines} lines; a picture shows one")),
    }
}

impl TextFrom {
    const ALL: [Self; 3] = [Self::Files, Self::Names, Self::Stems];

    fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Names => "names",
            Self::Stems => "stems",
        }
    }

    /// The text of a picture.
    fn text(self, image: &Path) -> Result<String> {
        let (path, text) = match self {
            Self::Files => (image.with_extension("txt"), beside(&image.with_extension("txt"))?),
            Self::Names => (image.to_owned(), stem(image)?.split('_').next().unwrap_or_default().to_owned()),
            Self::Stems => (image.to_owned(), stem(image)?.to_owned()),
        };
        let text = text.trim().to_owned();
        fault(&text).map_err(|message| Error::format(path, message))?;
        Ok(text)
    }
}

fn stem(image: &Path) -> Result<&str> {
    let stem = image.file_stem().and_then(|stem| stem.to_str());
    stem.ok_or_else(|| Error::format(image, "the file's name is its text, but it is not valid UTF-8; rename it"))
}

fn beside(path: &Path) -> Result<String> {
    let io = |source| Error::io("read the text of a picture in", path, source);
    let bytes = path.metadata().map_err(io)?.len();
    if bytes > MOST_BYTES {
        return Err(Error::format(path, format!("is {bytes} bytes; a line of text takes at most {MOST_BYTES}")));
    }
    String::from_utf8(fs::read(path).map_err(io)?)
        .map_err(|_| Error::format(path, "not valid UTF-8; save the file as UTF-8"))
        .map(|text| text.trim_start_matches('\u{feff}').to_owned())
}

impl fmt::Display for TextFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TextFrom {
    type Err = Error;

    /// Errors: if it is not files, names or stems.
    fn from_str(name: &str) -> Result<Self> {
        let unknown = || Error::config(format!("{name:?} is not one of files, names and stems"));
        Self::ALL.into_iter().find(|from| from.name() == name).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Annotation;
    use super::super::fixtures::write;
    use super::*;

    /// Name and text of each picture.
    fn content(data: &Dataset) -> Vec<(String, &str)> {
        data.samples
            .iter()
            .map(|sample| match (&sample.source, &sample.annotation) {
                (Source::File(path), Annotation::Text(text)) => (files::lower_name(path), text.as_str()),
                other => unreachable!("{other:?} is no file with a text"),
            })
            .collect()
    }

    fn failure(path: &Path, from: Option<TextFrom>) -> String {
        open_texts(path, from).unwrap_err().to_string()
    }

    #[test]
    fn a_table_gives_texts_and_the_alphabet() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "texts.csv", "path,text,split\n1.png,ab c,train\n2.png,bÄ,train\n3.png,a,test\n");
        for given in [path.as_path(), dir.path()] {
            let parts = open_texts(given, None).unwrap();
            assert_eq!(parts.train.classes, [" ", "a", "b", "c", "Ä"]);
            assert_eq!(content(&parts.train), [("1.png".into(), "ab c"), ("2.png".into(), "bÄ")]);
            assert_eq!(content(&parts.test), [("3.png".into(), "a")]);
            assert_eq!(parts.train.class_counts(), [1, 1, 2, 1, 1]);
        }
        assert!(holds_texts(dir.path()).unwrap() && holds_texts(&path).unwrap());
    }

    #[test]
    fn numbers_are_texts_as_they_stand() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "t.csv", "007,a.png\n1e3,b.png\n");
        let data = open_texts(path, None).unwrap().train;
        assert_eq!(content(&data), [("a.png".into(), "007"), ("b.png".into(), "1e3")]);
    }

    #[test]
    fn texts_stand_in_files_or_names() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("train/12_0", "twelve\n"), ("train/12_1", "dozen"), ("val/7_b", "n")] {
            write(dir.path(), format!("{name}.png"), "");
            write(dir.path(), format!("{name}.txt"), text);
        }
        let parts = open_texts(dir.path(), None).unwrap();
        assert_eq!(content(&parts.train), [("12_0.png".into(), "twelve"), ("12_1.png".into(), "dozen")]);
        assert_eq!(content(&parts.val), [("7_b.png".into(), "n")]);
        let by_name = |from| {
            let data =
                open_labelled_texts(dir.path(), Part::Train, &["0", "1", "2", "_"].map(str::to_owned), Some(from));
            content(&data.unwrap()).into_iter().map(|(_, text)| text.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(by_name(TextFrom::Names), ["12", "12"]);
        assert_eq!(by_name(TextFrom::Stems), ["12_0", "12_1"]);
        let unknown = failure(dir.path(), Some(TextFrom::Names));
        assert!(unknown.contains("'7' in the text \"7\"") && unknown.contains("2 (1, 2) symbols"), "{unknown}");
        fs::remove_file(dir.path().join("train/12_1.txt")).unwrap();
        assert!(failure(dir.path(), None).contains("12_1.txt"));
    }

    #[test]
    fn tables_named_by_part() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "train.csv", "path,text\na.png,ab\n");
        write(dir.path(), "test.csv", "path,text\nb.png,a\n");
        let parts = open_texts(dir.path(), None).unwrap();
        assert_eq!((parts.train.len(), parts.test.len()), (1, 1));
        write(dir.path(), "notes.csv", "path,text\nb.png,a\n");
        assert!(failure(dir.path(), None).contains("notes.csv: of several tables"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let table = |text: &[u8]| failure(&write(dir.path(), "t.csv", text), None);
        assert!(table(b"path,text\na.png,x\nb.png,\n").contains("line 3: the text is missing"));
        assert!(table(b"path,text\na.png,\"x\ny\"\n").contains("line 2: the text has 2 lines"));
        assert!(table(b"path,text\na.png,x\x01\n").contains("line 2: the text holds a control character"));
        assert!(table(b"path,text\na.png,caf\xe9\n").contains("line 2: not valid UTF-8"));
        assert!(table(b"id,x,y\n1,2,3\n").contains("the path and the text column"));
        assert!(table(b"").contains("no lines"));
        fs::remove_file(dir.path().join("t.csv")).unwrap();
        assert!(failure(dir.path(), None).contains("no training images"));
        write(dir.path(), "_1.png", "");
        assert!(failure(dir.path(), None).contains("_1.png: the text is missing"));
        let large = write(dir.path(), "_1.txt", "x".repeat(70_000));
        assert!(failure(dir.path(), None).contains("70000 bytes"));
        assert!(failure(&large, None).contains("this is neither"));
        assert!("folders".parse::<TextFrom>().unwrap_err().to_string().contains("files, names and stems"));
        assert!(!holds_texts(dir.path()).unwrap());
    }
}
