use std::path::Path;

use crate::data::{Dataset, Part, Sample, Source, Splits, list_images, read_labelled};
use crate::error::{Error, Result};

/// What a picture is, where some are anomalies.
pub const CLASSES: [&str; 2] = ["normal", "anomaly"];

/// Opens pictures with or without classes. With a normal class, all of other classes are anomalies, and none of them is trained
/// on; where training pictures are of one class and others of more, that one is the normal class.
///
/// Errors: if there are no pictures, or none is of the normal class.
pub(super) fn open(path: &Path, normal: Option<&str>) -> Result<Splits> {
    let splits = read(path)?;
    let training = splits.train.classes.clone();
    let others = |part: &Dataset| part.classes.iter().any(|class| !training.contains(class));
    let alone = training.len() == 1 && (others(&splits.val) || others(&splits.test));
    let normal = normal.or(alone.then_some(training.first().map(String::as_str)).flatten()).map(str::to_owned);
    let Splits { train, val, test } = splits;
    let mut train = divided(train, normal.as_deref());
    train.samples.retain(|sample| sample.label == 0);
    if train.is_empty() {
        let wanted = normal.unwrap_or_default();
        let message =
            format!("has no training images of the normal class \"{wanted}\"; there are {}", training.join(", "));
        return Err(Error::format(path, message));
    }
    let [val, test] = [val, test].map(|part| divided(part, normal.as_deref()));
    Ok(Splits { train, val, test })
}

/// As [`open`], for one part.
///
/// Errors: as there.
pub(super) fn open_part(path: &Path, part: Part, normal: Option<&str>) -> Result<Dataset> {
    let dataset = read(path)?.into_part_or_other(part);
    Ok(divided(dataset, normal))
}

/// A data set with classes, or a folder of pictures.
fn read(path: &Path) -> Result<Splits> {
    match read_labelled(path) {
        Err(error) if path.is_dir() => {
            let images = list_images(path)?;
            if images.is_empty() {
                return Err(error);
            }
            let samples = images.into_iter().map(|image| Sample::new(Source::File(image), 0)).collect();
            let train =
                Dataset { root: path.to_owned(), classes: vec![CLASSES[0].to_owned()], samples, ..Dataset::default() };
            Ok(Splits { train, ..Splits::default() })
        }
        outcome => outcome,
    }
}

/// With the normal class as 0 and all others as 1; without one all are normal.
fn divided(mut dataset: Dataset, normal: Option<&str>) -> Dataset {
    for sample in &mut dataset.samples {
        let is_normal = normal.is_none_or(|normal| normal == dataset.classes[sample.label]);
        sample.label = usize::from(!is_normal);
    }
    dataset.classes = CLASSES.map(str::to_owned).to_vec();
    dataset
}
