use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;

use super::{IMAGE_FOLDERS, child, part_folders, read_text, sample};
use crate::data::split::{Part, Splits};
use crate::data::{BoundingBox, Dataset, files};
use crate::error::{Error, Result};

const NAMES: [&str; 3] = ["classes.txt", "obj.names", "names.txt"];

/// What `data.yaml` says.
#[derive(Deserialize)]
struct Description {
    path: Option<PathBuf>,
    train: Option<Places>,
    val: Option<Places>,
    test: Option<Places>,
    names: Names,
}

/// Folders of pictures, or files that list them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Places {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    Listed(Vec<String>),
    Numbered(BTreeMap<usize, String>),
}

impl Names {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::Listed(names) => names,
            Self::Numbered(names) => {
                let count = names.last_key_value().map_or(0, |(&last, _)| last + 1);
                (0..count).map(|class| names.get(&class).cloned().unwrap_or_else(|| class.to_string())).collect()
            }
        }
    }
}

/// Pictures of each part, and names of the classes where there are some.
#[derive(Default)]
struct Found {
    pictures: [Vec<PathBuf>; 3],
    names: Option<Vec<String>>,
}

/// Whether there is a `data.yaml` with names of classes, or labels beside pictures.
pub(super) fn finds(path: &Path) -> Result<bool> {
    if description(path)?.is_some() {
        return Ok(true);
    }
    if !path.is_dir() {
        return Ok(false);
    }
    let mut folders = vec![path.to_owned()];
    folders.extend(part_folders(path)?.into_iter().map(|(_, folder)| folder));
    for folder in folders {
        let apart = child(&folder, &["labels"])?
            .is_some_and(|labels| files::files_below(&labels, "txt").is_ok_and(|found| !found.is_empty()));
        if apart && child(&folder, &IMAGE_FOLDERS)?.is_some() {
            return Ok(true);
        }
    }
    let named = NAMES.iter().any(|name| path.join(name).is_file());
    Ok(named && files::images_below(path)?.iter().any(|picture| picture.with_extension("txt").is_file()))
}

/// Reads YOLO's labels: a `.txt` file for each picture, in `labels/` where the picture is in `images/`, or beside it. A line is
/// a class and centre, width and height of a box, or the corners of an outline, as shares of the picture. A picture without such
/// a file has nothing on it.
///
/// Source: <https://docs.ultralytics.com/datasets/detect/>.
pub(super) fn read(path: &Path) -> Result<Splits> {
    let Found { pictures, names } = match description(path)? {
        Some(file) => described(&file)?,
        None => found(path)?,
    };
    let labelled = pictures.map(|pictures| -> Result<Vec<(PathBuf, Vec<BoundingBox>)>> {
        let read = |picture: PathBuf| labels(&picture, names.as_deref()).map(|boxes| (picture, boxes));
        let outcomes: Vec<Result<_>> = pictures.into_par_iter().map(read).collect();
        outcomes.into_iter().collect()
    });
    let [train, val, test] = labelled;
    let labelled = [train?, val?, test?];
    let classes = names.unwrap_or_else(|| {
        let most = labelled.iter().flatten().flat_map(|(_, boxes)| boxes).map(|b| b.class + 1).max();
        (0..most.unwrap_or(1)).map(|class| class.to_string()).collect()
    });
    let [train, val, test] = labelled.map(|pictures| Dataset {
        root: path.to_owned(),
        classes: classes.clone(),
        samples: pictures.into_iter().map(|(picture, boxes)| sample(picture, boxes)).collect(),
        ..Dataset::default()
    });
    Ok(Splits { train, val, test })
}

/// The file that describes the set: `path` itself, or one in the folder.
fn description(path: &Path) -> Result<Option<PathBuf>> {
    let is_yaml = |file: &Path| files::ends_in(file, "yaml") || files::ends_in(file, "yml");
    if !path.is_dir() {
        return Ok(is_yaml(path).then(|| path.to_owned()));
    }
    let names = |file: &PathBuf| read_text(file).is_ok_and(|text| text.lines().any(|line| line.starts_with("names")));
    Ok(files::files_in(path)?.into_iter().find(|file| is_yaml(file) && names(file)))
}

fn described(file: &Path) -> Result<Found> {
    let malformed = |e: serde_saphyr::Error| Error::format(file, format!("no description of a YOLO set: {e}"));
    let Description { path, train, val, test, names } = serde_saphyr::from_str(&read_text(file)?).map_err(malformed)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let root = path.map(|path| folder.join(path)).filter(|path| path.is_dir()).unwrap_or_else(|| folder.to_owned());
    let pictures = |places: Option<Places>| -> Result<Vec<PathBuf>> {
        let places = match places {
            None => Vec::new(),
            Some(Places::One(place)) => vec![place],
            Some(Places::Many(places)) => places,
        };
        Ok(places.iter().map(|place| at(file, &root, place)).collect::<Result<Vec<_>>>()?.concat())
    };
    Ok(Found { pictures: [pictures(train)?, pictures(val)?, pictures(test)?], names: Some(names.into_list()) })
}

/// Pictures in a folder, or in a list, which `file` names. Some tools write `../train/images` for what is in `train/images`.
fn at(file: &Path, root: &Path, place: &Path) -> Result<Vec<PathBuf>> {
    let forward: PathBuf = place.components().skip_while(|part| *part == Component::ParentDir).collect();
    let found = [root.join(place), root.join(forward)].into_iter().find(|path| path.exists());
    let found = found.ok_or_else(|| Error::format(file, format!("names {}, which is not there", place.display())))?;
    if found.is_dir() {
        return files::images_below(&found);
    }
    let folder = found.parent().unwrap_or(root);
    let text = read_text(&found)?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| folder.join(line)).collect())
}

/// By folders alone: `images/` with folders of parts, folders of parts with `images/`, or `images/` by itself; else pictures
/// with labels beside them.
fn found(path: &Path) -> Result<Found> {
    let images = child(path, &IMAGE_FOLDERS)?.unwrap_or_else(|| path.to_owned());
    let mut found = Found::default();
    for (part, folder) in part_folders(&images)? {
        found.pictures[part as usize].extend(files::images_below(&folder)?);
    }
    if found.pictures[Part::Train as usize].is_empty() {
        found.pictures = [files::images_below(&images)?, Vec::new(), Vec::new()];
    }
    let labels = path.join("labels");
    let mut candidates = [path, labels.as_path()].into_iter().flat_map(|folder| NAMES.map(|name| folder.join(name)));
    if let Some(file) = candidates.find(|file| file.is_file()) {
        let text = read_text(&file)?;
        found.names = Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect());
    }
    Ok(found)
}

/// Where the labels of a picture are: `labels/…/1.txt` for `images/…/1.jpg`, else beside it.
fn label_file(picture: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = picture.components().collect();
    let is_images = |part: &Component<'_>| {
        part.as_os_str().to_str().is_some_and(|name| IMAGE_FOLDERS.contains(&name.to_lowercase().as_str()))
    };
    if let Some(at) = parts.iter().rposition(is_images) {
        parts[at] = Component::Normal("labels".as_ref());
    }
    parts.iter().collect::<PathBuf>().with_extension("txt")
}

fn labels(picture: &Path, names: Option<&[String]>) -> Result<Vec<BoundingBox>> {
    let file = label_file(picture);
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = read_text(&file)?;
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let read = |(line, number): (&str, usize)| {
        label(line, names).map_err(|message| Error::format(&file, format!("line {number}: {message}")))
    };
    lines.map(read).collect()
}

fn label(line: &str, names: Option<&[String]>) -> Result<BoundingBox, String> {
    /// Beyond these, numbers are pixels.
    const SHARES: std::ops::RangeInclusive<f32> = -1.0..=2.0;
    /// More classes than any set has: a mistake, for which no memory is taken.
    const MOST_CLASSES: usize = 100_000;
    let mut words = line.split_whitespace();
    let class = words.next().unwrap_or_default();
    let class = class.parse::<usize>().map_err(|_| format!("the class is {class:?}, not a number"))?;
    let classes = names.map_or(MOST_CLASSES, <[String]>::len);
    if class >= classes {
        return Err(format!("class {class}, but there are {classes}, counted from 0"));
    }
    let share = |word: &str| {
        let number = word.parse::<f32>().map_err(|_| format!("{word:?} is not a number"))?;
        let message = || format!("{word} is no share of the picture, which is from 0 to 1");
        SHARES.contains(&number).then_some(number).ok_or_else(message)
    };
    let numbers = words.map(share).collect::<Result<Vec<f32>, String>>()?;
    let corners = match numbers.as_slice() {
        &[x, y, width, height] => [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0],
        outline if outline.len() >= 6 && outline.len().is_multiple_of(2) => {
            outline.chunks_exact(2).fold([f32::MAX, f32::MAX, f32::MIN, f32::MIN], |[left, top, right, bottom], p| {
                [left.min(p[0]), top.min(p[1]), right.max(p[0]), bottom.max(p[1])]
            })
        }
        other => {
            let message = "numbers after the class, but a box has 4 (centre x, centre y, width, height)";
            return Err(format!("{} {message}", other.len()));
        }
    };
    Ok(BoundingBox { class, corners, ignored: false })
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::write;
    use super::super::open_boxes;
    use super::*;
    use crate::data::Annotation;

    fn boxes(data: &Dataset, index: usize) -> Vec<(usize, [f32; 4])> {
        match &data.samples[index].annotation {
            Annotation::Boxes(boxes) => boxes.iter().map(|b| (b.class, b.corners)).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_description_names_parts_and_classes() {
        let dir = tempfile::tempdir().unwrap();
        for (part, class) in [("train", 1), ("valid", 0)] {
            write(dir.path(), format!("{part}/images/1.jpg"), "");
            write(dir.path(), format!("{part}/labels/1.txt"), format!("{class} 0.5 0.5 0.5 0.25\n"));
        }
        write(dir.path(), "train/images/empty.jpg", "");
        for names in ["names: [cat, dog]", "names:\n  0: cat\n  1: dog"] {
            let yaml = format!("train: ../train/images\nval: valid/images\nnc: 2\n{names}\n");
            write(dir.path(), "data.yaml", yaml);
            let splits = open_boxes(dir.path()).unwrap();
            assert_eq!(splits.train.classes, ["cat", "dog"]);
            assert_eq!((splits.train.len(), splits.val.len(), splits.test.len()), (2, 1, 0));
            assert_eq!(boxes(&splits.train, 0), [(1, [0.25, 0.375, 0.75, 0.625])]);
            assert_eq!(boxes(&splits.train, 1), []);
        }
        write(dir.path(), "data.yaml", "train: elsewhere\nnames: [cat, dog]\n");
        assert!(open_boxes(dir.path()).unwrap_err().to_string().contains("names elsewhere, which is not there"));
        write(dir.path(), "data.yaml", "names: {a: [\n");
        assert!(open_boxes(dir.path()).unwrap_err().to_string().contains("no description of a YOLO set"));
    }

    #[test]
    fn folders_of_parts_below_images_and_names_in_a_list() {
        let dir = tempfile::tempdir().unwrap();
        for part in ["train", "val", "test"] {
            write(dir.path(), format!("images/{part}/1.jpg"), "");
            write(dir.path(), format!("labels/{part}/1.txt"), "0 0.1 0.1 0.9 0.1 0.9 0.8\n");
        }
        write(dir.path(), "classes.txt", "leaf\n");
        let splits = open_boxes(dir.path()).unwrap();
        assert_eq!((splits.train.len(), splits.val.len(), splits.test.len()), (1, 1, 1));
        assert_eq!(
            (boxes(&splits.test, 0), splits.test.classes),
            (vec![(0, [0.1, 0.1, 0.9, 0.8])], vec!["leaf".into()])
        );
    }

    #[test]
    fn damaged_labels_are_errors_that_say_where() {
        let cases = [
            ("0 0.5 0.5 0.1", "1.txt: line 1: 3 numbers after the class"),
            ("\ncat 0.5 0.5 0.1 0.1", "line 2: the class is \"cat\", not a number"),
            ("-1 0.5 0.5 0.1 0.1", "the class is \"-1\""),
            ("9 0.5 0.5 0.1 0.1", "class 9, but there are 2"),
            ("0 320 200 64 64", "320 is no share of the picture"),
            ("0 nan 0.5 0.1 0.1", "nan is no share"),
            ("0 0.5 x 0.1 0.1", "\"x\" is not a number"),
        ];
        for (text, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), "images/1.png", "");
            write(dir.path(), "labels/1.txt", text);
            write(dir.path(), "classes.txt", "cat\ndog\n");
            let message = open_boxes(dir.path()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
