use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use roxmltree::{Document, Node};

use super::{IMAGE_FOLDERS, Named, child, from_named, part_folders, read_text, shares, stem};
use crate::data::image::Header;
use crate::data::split::{Part, Splits};
use crate::data::{Dataset, files};
use crate::error::{Error, Result};

const ANNOTATION_FOLDERS: [&str; 4] = ["annotations", "annotation", "xml", "xmls"];
const XML: &str = "xml";

/// A picture's file and its description.
type Pair = (PathBuf, PathBuf);

/// Whether there are `.xml` files where Pascal VOC has them.
pub(super) fn finds(path: &Path) -> Result<bool> {
    if !path.is_dir() {
        return Ok(false);
    }
    let mut folders = vec![path.to_owned()];
    folders.extend(part_folders(path)?.into_iter().map(|(_, folder)| folder));
    for folder in folders {
        let own = files::files_in(&folder)?.iter().any(|file| files::ends_in(file, XML));
        let apart = child(&folder, &ANNOTATION_FOLDERS)?;
        if own || apart.is_some_and(|apart| files::files_below(&apart, XML).is_ok_and(|found| !found.is_empty())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads Pascal VOC's descriptions: an `.xml` file for each picture. Pixels are counted as they stand, from the picture's left
/// upper corner; "difficult" things are ignored ones.
///
/// Source: Everingham et al., 2010, <http://host.robots.ox.ac.uk/pascal/VOC/>.
pub(super) fn read(path: &Path) -> Result<Splits> {
    let mut splits = Splits::default();
    let parts = part_folders(path)?;
    if child(path, &ANNOTATION_FOLDERS)?.is_none() && parts.iter().any(|&(part, _)| part == Part::Train) {
        for (part, folder) in parts {
            *splits.part_mut(part) = dataset(&folder, pairs(&folder)?)?;
        }
        return Ok(splits);
    }
    let pairs = pairs(path)?;
    let lists = lists(path)?;
    if lists.is_empty() {
        return Ok(Splits { train: dataset(path, pairs)?, ..splits });
    }
    let by_name: HashMap<PathBuf, &Pair> =
        pairs.iter().filter_map(|pair| Some((PathBuf::from(pair.1.file_stem()?), pair))).collect();
    for (part, list) in lists {
        *splits.part_mut(part) = dataset(path, listed(&list, &by_name)?)?;
    }
    Ok(splits)
}

/// Descriptions in `folder` with their pictures, sorted by path.
fn pairs(folder: &Path) -> Result<Vec<Pair>> {
    let described = child(folder, &ANNOTATION_FOLDERS)?.unwrap_or_else(|| folder.to_owned());
    let pictured = child(folder, &IMAGE_FOLDERS)?.unwrap_or_else(|| folder.to_owned());
    let within = |path: &Path, folder: &Path| stem(path.strip_prefix(folder).unwrap_or(path));
    let images: HashMap<PathBuf, PathBuf> =
        files::images_below(&pictured)?.into_iter().map(|image| (within(&image, &pictured), image)).collect();
    let pair = |xml: PathBuf| {
        let name = within(&xml, &described);
        // What is not there is told when it is to be read, and left out.
        let image = images.get(&name).cloned().unwrap_or_else(|| pictured.join(&name).with_extension("jpg"));
        (image, xml)
    };
    Ok(files::files_below(&described, XML)?.into_iter().map(pair).collect())
}

/// The files that list the pictures of a part. What is for training and validation at once only counts where nothing else is
/// for training.
fn lists(path: &Path) -> Result<Vec<(Part, PathBuf)>> {
    let sets = child(path, &["imagesets", "splits"])?;
    let Some(sets) = sets else { return Ok(Vec::new()) };
    let folder = child(&sets, &["main"])?.unwrap_or(sets);
    let texts: Vec<PathBuf> =
        files::files_in(&folder)?.into_iter().filter(|file| files::ends_in(file, "txt")).collect();
    let named = |file: &PathBuf| Part::named(&files::lower_name(&stem(file))).map(|part| (part, file.clone()));
    let mut lists: Vec<(Part, PathBuf)> = texts.iter().filter_map(named).collect();
    if !lists.iter().any(|&(part, _)| part == Part::Train) {
        let both = texts.iter().find(|file| files::lower_name(file) == "trainval.txt");
        lists.extend(both.map(|file| (Part::Train, file.clone())));
    }
    Ok(lists)
}

/// The pictures that a list names, a line each, with or without an ending.
fn listed(list: &Path, by_name: &HashMap<PathBuf, &Pair>) -> Result<Vec<Pair>> {
    let text = read_text(list)?;
    let names = text.lines().zip(1..).filter_map(|(line, number)| Some((line.split_whitespace().next()?, number)));
    let find = |(name, number): (&str, usize)| {
        let found = by_name.get(Path::new(name)).or_else(|| by_name.get(&stem(Path::new(name))));
        let missing = || Error::format(list, format!("line {number}: there is no {name}.xml"));
        found.map(|&pair| pair.clone()).ok_or_else(missing)
    };
    names.map(find).collect()
}

fn dataset(root: &Path, pairs: Vec<Pair>) -> Result<Dataset> {
    let described = |(image, xml): Pair| describe(&image, &xml).map(|boxes| (image, boxes));
    // All are waited for: which error is told must not depend on which thread was first.
    let outcomes: Vec<Result<(PathBuf, Vec<Named>)>> = pairs.into_par_iter().map(described).collect();
    Ok(from_named(root, outcomes.into_iter().collect::<Result<_>>()?))
}

/// What a description says is on the picture.
fn describe(image: &Path, xml: &Path) -> Result<Vec<Named>> {
    let text = read_text(xml)?;
    let document = Document::parse(&text).map_err(|e| Error::format(xml, format!("no XML that can be read: {e}")))?;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        let message = format!("is <{}>, where Pascal VOC has <annotation>", root.tag_name().name());
        return Err(Error::format(xml, message));
    }
    let objects: Vec<Node<'_, '_>> = root.children().filter(|node| node.has_tag_name("object")).collect();
    if objects.is_empty() {
        return Ok(Vec::new());
    }
    let size = size(root, image).map_err(|message| Error::format(xml, message))?;
    let named = |node: Node<'_, '_>| {
        let line = document.text_pos_at(node.range().start).row;
        object(node, size).map_err(|message| Error::format(xml, format!("object in line {line}: {message}")))
    };
    objects.into_iter().map(named).collect()
}

/// Width and height of the picture, as described, else as it is.
fn size(root: Node<'_, '_>, image: &Path) -> Result<[f64; 2], String> {
    let given = element(root, "size").and_then(|size| Ok([number(size, "width")?, number(size, "height")?]));
    match given {
        Ok(size) if size.iter().all(|&extent| extent > 0.0) => Ok(size),
        _ => {
            let Header { size: [height, width], .. } = Header::open(image).map_err(|e| e.to_string())?;
            Ok([width as f64, height as f64])
        }
    }
}

fn object(node: Node<'_, '_>, size: [f64; 2]) -> Result<Named, String> {
    let class = element(node, "name")?.text().unwrap_or_default().trim().to_owned();
    if class.is_empty() {
        return Err("<name> is empty".into());
    }
    let corners = element(node, "bndbox")?;
    let corner = |name| number(corners, name);
    let pixels = [corner("xmin")?, corner("ymin")?, corner("xmax")?, corner("ymax")?];
    let ignored = element(node, "difficult").is_ok_and(|flag| flag.text().is_some_and(|text| text.trim() == "1"));
    Ok(Named { class, corners: shares(pixels, size), ignored })
}

fn element<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Result<Node<'a, 'b>, String> {
    node.children().find(|child| child.has_tag_name(name)).ok_or_else(|| format!("<{name}> is missing"))
}

fn number(node: Node<'_, '_>, name: &str) -> Result<f64, String> {
    let text = element(node, name)?.text().unwrap_or_default().trim();
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("<{name}> is {text:?}, which is no number"))
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::write;
    use super::super::{open_boxes, open_labelled_boxes};
    use super::*;
    use crate::data::{Annotation, BoundingBox};

    fn xml(objects: &[(&str, [u32; 4], u8)]) -> String {
        let object = |(name, [left, top, right, bottom], difficult): &(&str, [u32; 4], u8)| {
            format!(
                "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{left}</xmin>\
                 <ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            )
        };
        let objects: String = objects.iter().map(object).collect();
        format!("<annotation><size><width>200</width><height>100</height></size>{objects}</annotation>")
    }

    fn boxes(data: &Dataset, index: usize) -> &[BoundingBox] {
        match &data.samples[index].annotation {
            Annotation::Boxes(boxes) => boxes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lists_say_which_pictures_are_of_a_part() {
        let dir = tempfile::tempdir().unwrap();
        for (name, class) in [("a", "dog"), ("b", "cat"), ("c", "dog")] {
            write(dir.path(), format!("JPEGImages/{name}.jpg"), "");
            write(dir.path(), format!("Annotations/{name}.xml"), xml(&[(class, [20, 10, 100, 60], 0)]));
        }
        write(dir.path(), "ImageSets/Main/train.txt", "b\nc.jpg\n");
        write(dir.path(), "ImageSets/Main/test.txt", "a\n");
        write(dir.path(), "ImageSets/Main/trainval.txt", "a\nb\nc\n");
        let splits = open_boxes(dir.path()).unwrap();
        assert_eq!((splits.train.len(), splits.val.len(), splits.test.len()), (2, 0, 1));
        assert_eq!(splits.train.classes, ["cat", "dog"]);
        assert_eq!(boxes(&splits.test, 0), [BoundingBox { class: 1, corners: [0.1, 0.1, 0.5, 0.6], ignored: false }]);
        assert!(splits.train.samples[0].source.to_string().ends_with("b.jpg"));
        let classes = ["bird".to_owned(), "cat".to_owned(), "dog".to_owned()];
        let test = open_labelled_boxes(dir.path(), Part::Test, &classes).unwrap();
        assert_eq!(boxes(&test, 0)[0].class, 2);
        write(dir.path(), "ImageSets/Main/test.txt", "a\n\nz\n");
        assert!(open_boxes(dir.path()).unwrap_err().to_string().contains("test.txt: line 3: there is no z.xml"));
    }

    #[test]
    fn descriptions_beside_pictures_in_folders_of_parts() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["train/1", "train/2", "test/3"] {
            write(dir.path(), format!("{name}.jpg"), "");
            write(dir.path(), format!("{name}.xml"), xml(&[("ace", [0, 0, 50, 50], 1)]));
        }
        let splits = open_boxes(dir.path()).unwrap();
        assert_eq!((splits.train.len(), splits.test.len()), (2, 1));
        assert!(boxes(&splits.train, 0)[0].ignored);
    }

    #[test]
    fn damaged_descriptions_are_errors_that_say_where() {
        let whole = xml(&[("cat", [20, 10, 100, 60], 0)]);
        let cases = [
            (whole[..60].to_owned(), "no XML that can be read"),
            (String::new(), "no XML that can be read"),
            ("<note/>".to_owned(), "is <note>, where Pascal VOC has <annotation>"),
            (whole.replace("<xmin>20", "<xmin>left"), "<xmin> is \"left\", which is no number"),
            (whole.replace("<xmin>20", "<xmin>inf"), "which is no number"),
            (whole.replace("<name>cat</name>", ""), "object in line 1: <name> is missing"),
            (whole.replace("cat", " "), "<name> is empty"),
            (whole.replace("<width>200", "<width>0"), "could not read"),
        ];
        for (text, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), "images/1.png", "");
            write(dir.path(), "annotations/1.xml", text);
            std::fs::remove_file(dir.path().join("images/1.png")).unwrap();
            let message = open_boxes(dir.path()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
