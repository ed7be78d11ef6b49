use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::atomic;
use crate::error::{Error, Result};

/// What was found on pictures, as COCO's evaluation reads it.
///
/// A picture's id is its name if that is a number, as in COCO, else its place among those added, from 1; a category's is the
/// place of the class, from 1. Names are kept beside them.
///
/// Source: <https://cocodataset.org/#format-results>.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct CocoResults {
    found: Vec<Found>,
    #[serde(skip)]
    pictures: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Found {
    image_id: u64,
    category_id: usize,
    bbox: [f64; 4],
    score: f64,
    file_name: String,
    category: String,
}

/// What an answer says of a box.
#[derive(Deserialize)]
struct Told {
    label: String,
    score: f64,
    r#box: [f64; 4],
}

impl CocoResults {
    /// Adds what was answered to a picture: the object with `boxes` that `predict` prints.
    ///
    /// Errors: if the answer tells of no boxes.
    pub fn add(&mut self, path: &Path, answer: &Map<String, Value>, classes: &[String]) -> Result<()> {
        self.pictures += 1;
        let boxes = answer
            .get("boxes")
            .cloned()
            .ok_or_else(|| Error::config("COCO's results are boxes: only of --task detect"))?;
        let told: Vec<Told> = serde_json::from_value(boxes).map_err(|e| Error::config(format!("an answer: {e}")))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let image_id = stem.parse().unwrap_or(self.pictures);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.found.extend(told.into_iter().map(|Told { label, score, r#box }| Found {
            image_id,
            category_id: classes.iter().position(|class| *class == label).map_or(0, |at| at + 1),
            bbox: r#box,
            score,
            file_name: file_name.clone(),
            category: label,
        }));
        Ok(())
    }

    /// Writes them as JSON.
    ///
    /// Errors: if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(|e| Error::format(path, e.to_string()))?;
        atomic::write(path, &bytes).map_err(|e| Error::io("write", path, e))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_are_numbers_of_files_or_places() {
        let classes = ["cat".to_owned(), "dog".to_owned()];
        let Value::Object(answer) = json!({ "boxes": [{ "label": "dog", "score": 0.5, "box": [1.0, 2.0, 3.0, 4.0] }] })
        else {
            panic!("no object")
        };
        let mut results = CocoResults::default();
        results.add(Path::new("a/000000397133.jpg"), &answer, &classes).unwrap();
        results.add(Path::new("a/cat.jpg"), &answer, &classes).unwrap();
        let json = serde_json::to_value(&results).unwrap();
        assert_eq!(json[0]["image_id"], 397133);
        assert_eq!(
            json[1],
            json!({ "image_id": 2, "category_id": 2, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5, "file_name": "cat.jpg", "category": "dog" })
        );
        assert!(results.add(Path::new("b.jpg"), &Map::new(), &classes).is_err());
    }
}
