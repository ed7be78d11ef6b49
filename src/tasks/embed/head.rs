use super::{MetricLoss, Options};
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::nn::layers::{BatchNormalization, CosineDense, Dense, Dropout, Flatten, UnitNormalization};

/// The name of the layer that gives vectors of length 1.
const DIRECTION: &str = "direction";

/// The network of which a classifier's is the beginning: cut before the classes, its features averaged over the picture (or, where
/// pictures are aligned, taken place by place), then a dense layer to vectors, normalised over the batch and brought to length 1, as
/// in ArcFace's paper; for ArcFace, the cosines with the classes' directions beside it.
///
/// Errors: if the network does not end in a layer for classes.
pub fn network(classifier: &Model, classes: usize, options: &Options) -> Result<Model> {
    let mut model = if options.aligned { by_place(classifier)? } else { classifier.without_head()?.pooled()? };
    let name = |layer: &crate::nn::LayerSpec| layer.name.clone();
    let features = model.layers().last().map(name).ok_or_else(|| Error::config("the network has no layers"))?;
    let dense = Dense { use_bias: false, ..Dense::new(options.embedding) };
    let vector = model.named("embedding", dense, [&features]);
    let momentum = 0.9;
    let centred =
        model.named("embedding_norm", BatchNormalization { momentum, ..BatchNormalization::default() }, [&vector]);
    let direction = model.named(DIRECTION, UnitNormalization {}, [&centred]);
    match options.loss {
        MetricLoss::Triplet => Ok(model),
        MetricLoss::ArcFace => {
            let cosines = model.named("class_directions", CosineDense::new(classes), [&centred]);
            Ok(model.with_outputs([direction, cosines]))
        }
    }
}

/// What a network knows of each place, flattened, with the dropout of ArcFace's paper.
fn by_place(classifier: &Model) -> Result<Model> {
    const RATE: f64 = 0.4;
    let mut model = classifier.without_head()?.before_pooling()?;
    let last = model.layers().last().map(|layer| layer.name.clone()).unwrap_or_default();
    let places = model.named("places", Flatten {}, [&last]);
    model.named("places_dropout", Dropout { rate: RATE }, [&places]);
    Ok(model)
}

/// The part of a network that describes a picture by one vector: what a network for vectors gives; the code of an autoencoder; of any
/// other, what its last layer with weights takes; or what `layer` gives. Maps and sequences are averaged over their places.
///
/// Errors: if there is no such layer.
pub(crate) fn features(model: &Model, layer: Option<&str>) -> Result<Model> {
    const CODE: &str = "code";
    let has = |name: &str| model.layers().iter().any(|spec| spec.name == name);
    let cut = match layer {
        Some(layer) => model.cut_at(layer)?,
        None if has(DIRECTION) => model.cut_at(DIRECTION)?,
        None if has(CODE) => model.cut_at(CODE)?,
        None => model.without_head()?,
    };
    cut.pooled()
}

/// The same with vectors of length 1.
pub(crate) fn directions(mut model: Model) -> Model {
    let Some(last) = model.layers().last().filter(|spec| spec.layer.type_name() != "unit_normalization") else {
        return model;
    };
    let last = last.name.clone();
    model.layer(UnitNormalization {}, [last]);
    model
}
