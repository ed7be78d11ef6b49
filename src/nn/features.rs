use std::collections::HashSet;

use super::Model;
use crate::error::Result;

/// A map of features that a network computes on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureMap {
    /// The layer whose result it is.
    pub layer: String,
    /// Height and width.
    pub extents: [usize; 2],
    /// Features at each place.
    pub channels: usize,
}

impl Model {
    /// The layers' results that are maps `[n, height, width, channels]`, in order of computation.
    ///
    /// Errors: as [`Model::build`].
    pub fn feature_maps(&self) -> Result<Vec<FeatureMap>> {
        let (graph, built, _) = self.inference(1)?;
        let maps =
            self.layers().iter().zip(&built.layers).filter_map(|(spec, &value)| match graph.shape(value).dims() {
                &[_, h, w, channels] => Some(FeatureMap { layer: spec.name.clone(), extents: [h, w], channels }),
                _ => None,
            });
        Ok(maps.collect())
    }

    /// The part of the network that these layers need, with their results as its outputs.
    ///
    /// Errors: if there is no such layer.
    pub fn up_to<S: AsRef<str>>(&self, names: impl IntoIterator<Item = S>) -> Result<Self> {
        let outputs: Vec<String> = names.into_iter().map(|name| name.as_ref().to_owned()).collect();
        let mut needed: HashSet<&str> = outputs.iter().map(String::as_str).collect();
        let mut layers = Vec::new();
        for spec in self.layers().iter().rev().filter(|spec| spec.name != Self::INPUT) {
            if needed.contains(spec.name.as_str()) {
                needed.extend(spec.inputs.iter().map(String::as_str));
                layers.push(spec.clone());
            }
        }
        layers.reverse();
        Self::from_parts(self.input, layers, outputs, self.frozen().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::zoo;

    #[test]
    fn a_network_up_to_its_maps() {
        let model = zoo::build("resnet18", [64, 96, 3], 10).unwrap();
        let maps = model.feature_maps().unwrap();
        let last = maps.last().unwrap();
        assert_eq!((last.extents, last.channels), ([2, 3], 512));
        let eighth = maps.iter().rev().find(|map| map.extents == [8, 12]).unwrap();
        let part = model.up_to([&eighth.layer]).unwrap();
        assert_eq!(part.layers().last().unwrap().name, eighth.layer);
        assert!(part.layers().iter().all(|spec| !spec.name.starts_with("layer3")));
        let names = |model: &Model| model.tensors().unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert!(names(&model).starts_with(&names(&part)));
        assert!(model.up_to(["nothing"]).is_err());
    }
}
