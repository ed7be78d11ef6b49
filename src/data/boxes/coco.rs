use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{child, part_folders, read_text, sample, shares};
use crate::data::image::Header;
use crate::data::split::{Part, Splits};
use crate::data::{BoundingBox, Dataset, files};
use crate::error::{Error, Result};

/// The name under which some tools put a part's file beside its pictures.
const BESIDE: &str = "_annotations.coco.json";

#[derive(Deserialize)]
struct Instances {
    images: Vec<Picture>,
    annotations: Vec<Object>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Picture {
    id: u64,
    file_name: PathBuf,
    #[serde(default)]
    width: f64,
    #[serde(default)]
    height: f64,
}

#[derive(Deserialize)]
struct Object {
    image_id: u64,
    category_id: u64,
    /// Left, top, width, height in pixels.
    bbox: [f64; 4],
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

/// Whether there are files of instances.
pub(super) fn finds(path: &Path) -> Result<bool> {
    Ok(!instance_files(path)?.is_empty())
}

/// Reads COCO's instances: one `.json` file for each part. Classes are the categories in the order of their ids; crowds are
/// ignored ones.
///
/// Source: Lin et al., 2014, <https://cocodataset.org/#format-data>.
pub(super) fn read(path: &Path) -> Result<Splits> {
    let mut splits = Splits::default();
    for (part, file) in instance_files(path)? {
        let dataset = splits.part_mut(part);
        if !dataset.is_empty() {
            let message = format!("is of the same part as {}; keep one", dataset.root.display());
            return Err(Error::format(file, message));
        }
        *dataset = instances(&file)?;
    }
    Ok(splits)
}

/// The files with the parts they are of.
fn instance_files(path: &Path) -> Result<Vec<(Part, PathBuf)>> {
    let is_json = |file: &Path| files::ends_in(file, "json");
    if path.is_file() {
        return Ok(if is_json(path) { vec![(Part::Train, path.to_owned())] } else { Vec::new() });
    }
    let mut beside: Vec<(Part, PathBuf)> =
        part_folders(path)?.into_iter().map(|(part, folder)| (part, folder.join(BESIDE))).collect();
    beside.push((Part::Train, path.join(BESIDE)));
    beside.retain(|(_, file)| file.is_file());
    if !beside.is_empty() {
        return Ok(beside);
    }
    let Some(folder) = child(path, &["annotations"])? else { return Ok(Vec::new()) };
    let mut found: Vec<PathBuf> = files::files_in(&folder)?.into_iter().filter(|file| is_json(file)).collect();
    // COCO's own folder also holds captions and keypoints of the same pictures.
    let names_instances = |file: &PathBuf| files::lower_name(file).contains("instances");
    if found.iter().any(names_instances) {
        found.retain(names_instances);
    }
    Ok(found.into_iter().map(|file| (part_of(&file), file)).collect())
}

/// The part that a file's name speaks of.
fn part_of(file: &Path) -> Part {
    let name = files::lower_name(file);
    let parts = [("train", Part::Train), ("val", Part::Val), ("test", Part::Test)];
    parts.into_iter().find(|(word, _)| name.contains(word)).map_or(Part::Train, |(_, part)| part)
}

fn instances(file: &Path) -> Result<Dataset> {
    let malformed = |e: serde_json::Error| Error::format(file, format!("no COCO instances: {e}"));
    let Instances { images, annotations, categories } = serde_json::from_str(&read_text(file)?).map_err(malformed)?;
    let names: BTreeMap<u64, String> = categories.into_iter().map(|category| (category.id, category.name)).collect();
    let numbers: HashMap<u64, usize> = names.keys().copied().zip(0..).collect();
    let mut objects: HashMap<u64, Vec<(usize, Object)>> = HashMap::new();
    for (at, object) in annotations.into_iter().enumerate() {
        objects.entry(object.image_id).or_default().push((at, object));
    }
    let folder = images.first().map(|picture| picture_folder(file, &picture.file_name)).unwrap_or_default();
    let mut samples = Vec::new();
    for picture in images {
        let path = folder.join(&picture.file_name);
        let on_it = objects.remove(&picture.id).unwrap_or_default();
        let size = if on_it.is_empty() { [1.0; 2] } else { picture.size(&path)? };
        let bounding = |(at, object): (usize, Object)| {
            object.bounding(size, &numbers).map_err(|e| Error::format(file, format!("annotation {at}: {e}")))
        };
        samples.push(sample(path, on_it.into_iter().map(bounding).collect::<Result<_>>()?));
    }
    if let Some((at, object)) = objects.into_values().flatten().min_by_key(|(at, _)| *at) {
        return Err(Error::format(file, format!("annotation {at}: there is no image {}", object.image_id)));
    }
    Ok(Dataset { root: file.to_owned(), classes: names.into_values().collect(), samples, ..Dataset::default() })
}

impl Picture {
    /// Width and height, as told, else as it is.
    fn size(&self, path: &Path) -> Result<[f64; 2]> {
        if self.width > 0.0 && self.height > 0.0 {
            return Ok([self.width, self.height]);
        }
        let [height, width] = Header::open(path)?.size;
        Ok([width as f64, height as f64])
    }
}

impl Object {
    fn bounding(&self, size: [f64; 2], numbers: &HashMap<u64, usize>) -> Result<BoundingBox, String> {
        let class =
            *numbers.get(&self.category_id).ok_or_else(|| format!("there is no category {}", self.category_id))?;
        let [left, top, width, height] = self.bbox;
        let corners = shares([left, top, left + width, top + height], size);
        if !corners.iter().all(|corner| corner.is_finite()) {
            return Err("the box is out of all bounds".into());
        }
        Ok(BoundingBox { class, corners, ignored: self.iscrowd != 0 })
    }
}

/// The folder in which the first picture is: that of the file, or one of the usual ones beside it. If it is in none, the first of
/// them, so that whoever opens the picture says that it is missing.
fn picture_folder(file: &Path, first: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new("."));
    let root = folder.parent().unwrap_or(folder);
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // `instances_train2017.json` is of `train2017`.
    let set = name.rsplit('_').next().unwrap_or_default();
    let part = match part_of(file) {
        Part::Train => "train",
        Part::Val => "val",
        Part::Test => "test",
    };
    let mut folders = vec![folder.to_owned()];
    for above in [folder, root] {
        let below = ["".to_owned(), "images".to_owned(), format!("images/{set}"), format!("images/{part}")];
        folders.extend(below.map(|name| above.join(name)));
        folders.extend([set, part].map(|name| above.join(name)));
    }
    let found = folders.iter().find(|folder| folder.join(first).is_file());
    found.unwrap_or(&folders[0]).clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::fixtures::write;
    use super::super::open_boxes;
    use super::*;
    use crate::data::Annotation;

    fn file() -> serde_json::Value {
        json!({
            "images": [
                {"id": 7, "file_name": "b.jpg", "width": 200, "height": 100},
                {"id": 3, "file_name": "a.jpg", "width": 100, "height": 100},
            ],
            "annotations": [
                {"id": 1, "image_id": 7, "category_id": 9, "bbox": [20, 10, 100, 50], "iscrowd": 0},
                {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 50.0, 25.0], "iscrowd": 1},
            ],
            "categories": [{"id": 9, "name": "zebra"}, {"id": 2, "name": "apple"}],
        })
    }

    #[test]
    fn parts_by_the_names_of_files() {
        let dir = tempfile::tempdir().unwrap();
        for part in ["train", "val"] {
            write(dir.path(), format!("annotations/instances_{part}2017.json"), file().to_string());
            ["a", "b"].iter().for_each(|name| drop(write(dir.path(), format!("{part}2017/{name}.jpg"), "")));
        }
        write(dir.path(), "annotations/captions_train2017.json", "{}");
        let splits = open_boxes(dir.path()).unwrap();
        assert_eq!((splits.train.len(), splits.val.len(), splits.test.len()), (2, 2, 0));
        assert_eq!(splits.train.classes, ["apple", "zebra"]);
        assert!(splits.val.samples[0].source.to_string().ends_with("val2017/b.jpg"));
        let expected = vec![
            BoundingBox { class: 1, corners: [0.1, 0.1, 0.6, 0.6], ignored: false },
            BoundingBox { class: 0, corners: [0.0, 0.0, 0.25, 0.25], ignored: true },
        ];
        assert_eq!(splits.train.samples[0].annotation, Annotation::Boxes(expected));
        assert_eq!(splits.train.samples[1].annotation, Annotation::Boxes(Vec::new()));
    }

    #[test]
    fn files_beside_their_pictures() {
        let dir = tempfile::tempdir().unwrap();
        for part in ["train", "valid", "test"] {
            write(dir.path(), format!("{part}/{BESIDE}"), file().to_string());
            ["a", "b"].iter().for_each(|name| drop(write(dir.path(), format!("{part}/{name}.jpg"), "")));
        }
        let splits = open_boxes(dir.path()).unwrap();
        assert_eq!((splits.train.len(), splits.val.len(), splits.test.len()), (2, 2, 2));
        assert!(splits.test.samples[0].source.to_string().ends_with("test/b.jpg"));
    }

    #[test]
    fn damaged_files_are_errors_that_say_where() {
        let changed = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut file = file();
            change(&mut file);
            file.to_string()
        };
        let cases = [
            (String::new(), "no COCO instances"),
            (file().to_string()[..80].to_owned(), "no COCO instances"),
            ("[]".to_owned(), "no COCO instances"),
            (changed(&|f| f["annotations"][0]["bbox"] = json!([1, 2, 3])), "no COCO instances"),
            (changed(&|f| f["annotations"][1]["category_id"] = json!(5)), "annotation 1: there is no category 5"),
            (changed(&|f| f["annotations"][0]["image_id"] = json!(5)), "annotation 0: there is no image 5"),
            (changed(&|f| f["annotations"][0]["bbox"][0] = json!(1e300)), "annotation 0: the box is out of all bounds"),
            (changed(&|f| f["images"][0]["width"] = json!(0)), "could not read"),
        ];
        for (text, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            let file = write(dir.path(), "boxes.json", text);
            let message = open_boxes(&file).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
