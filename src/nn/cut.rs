//! Networks without their end: what is left describes pictures.

use super::Model;
use super::layers::{Flatten, GlobalAveragePooling1D, GlobalAveragePooling2D};
use crate::error::{Error, Result};

/// Layers that make an answer of numbers for the classes.
const HEADS: [&str; 5] = ["dense", "cosine_dense", "conv2d", "conv1d", "conv2d_transpose"];

impl Model {
    /// The part of the network that computes the result of a layer, which is its output; nothing in it is frozen.
    ///
    /// Errors: if there is no such layer.
    pub fn cut_at(&self, layer: &str) -> Result<Self> {
        if !self.layers().iter().any(|spec| spec.name == layer) {
            let names: Vec<&str> = self.layers().iter().map(|spec| spec.name.as_str()).collect();
            return Err(Error::config(format!("there is no layer \"{layer}\"; there are {}", names.join(", "))));
        }
        let part = self.up_to([layer])?;
        Self::from_parts(self.input, part.layers().to_vec(), Vec::new(), Vec::new())
    }

    /// The network without its last layer that has weights, and what comes after it: what describes a picture where a classifier
    /// tells its class.
    ///
    /// Errors: if its first output does not come from such a layer in a single line, or nothing would be left.
    pub fn without_head(&self) -> Result<Self> {
        let mut at = self.first_output();
        while let Some(spec) = at {
            if let Some(layer) = spec.layer.without_head() {
                let mut layers = self.cut_at(&spec.name)?.layers().to_vec();
                layers.iter_mut().filter(|kept| kept.name == spec.name).for_each(|kept| kept.layer = layer.clone());
                return Self::from_parts(self.input, layers, Vec::new(), Vec::new());
            }
            let [input] = spec.inputs.as_slice() else { break };
            if HEADS.contains(&spec.layer.type_name()) {
                return match input == Self::INPUT {
                    true => Err(Error::config(
                        "the network has a single layer with weights: nothing before it describes a picture",
                    )),
                    false => self.cut_at(input),
                };
            }
            at = self.layers().iter().find(|other| other.name == *input);
        }
        Err(Error::config("the network does not end in a layer with weights for the classes: name a layer instead"))
    }

    /// The network up to the last map or sequence of several places from which its first output is made in a single line.
    ///
    /// Errors: if there is none, or shapes in it do not fit.
    pub fn before_pooling(&self) -> Result<Self> {
        let (graph, built, _) = self.inference(1)?;
        let mut name = self.first_output().map(|spec| spec.name.as_str());
        while let Some(at) = name.and_then(|name| self.layers().iter().position(|spec| spec.name == name)) {
            let spec = &self.layers()[at];
            let places = match graph.shape(built.layers[at]).dims() {
                [_, places @ .., _] => places.iter().product(),
                _ => 1,
            };
            if places > 1 {
                return self.cut_at(&spec.name);
            }
            name = if let [input] = spec.inputs.as_slice() { Some(input) } else { None };
        }
        let message = "the network's features are not made of a map with several places: take a larger picture, or another network";
        Err(Error::config(message))
    }

    /// The network with one vector for each picture: of a map or a sequence, the mean over its places.
    ///
    /// Errors: if shapes in it do not fit.
    pub fn pooled(mut self) -> Result<Self> {
        let (graph, built, _) = self.inference(1)?;
        let last = self.first_output().map(|spec| spec.name.clone()).unwrap_or_default();
        match graph.shape(built.output).rank() {
            2 => return Ok(self),
            3 => self.layer(GlobalAveragePooling1D {}, [last]),
            4 => self.layer(GlobalAveragePooling2D {}, [last]),
            _ => self.layer(Flatten {}, [last]),
        };
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::zoo;

    /// Number of values of a network's output.
    fn features(model: &Model) -> usize {
        let (graph, built, _) = model.inference(1).unwrap();
        assert_eq!(graph.shape(built.output).rank(), 2);
        graph.shape(built.output).last()
    }

    #[test]
    fn classifiers_are_cut_before_their_classes() {
        for (name, size, expected) in [
            ("lenet", 28, 84),
            ("vgg-small", 32, 128),
            ("resnet18", 64, 512),
            ("squeezenet", 64, 512),
            ("mobilenet_v2", 64, 1280),
            ("efficientnet_b0", 64, 1280),
            ("convnext_tiny", 64, 768),
            ("vit_tiny", 32, 192),
            ("crnn", 32, 512),
            ("unet", 32, 64),
        ] {
            let model = zoo::build(name, [size, 2 * size, 3], 7).unwrap();
            let cut = model.without_head().unwrap().pooled().unwrap();
            assert_eq!(features(&cut), expected, "{name}");
            let all = model.tensors().unwrap();
            assert!(
                cut.tensors().unwrap().iter().all(|tensor| all.contains(tensor)),
                "{name}: weights keep their names"
            );
            assert_eq!(Model::parse(&cut.to_toml().unwrap()).unwrap().tensors().unwrap(), cut.tensors().unwrap());
        }
    }

    #[test]
    fn what_is_known_of_places_is_before_the_mean_over_them() {
        for (name, size, expected) in [
            ("lenet", 28, &[5, 5, 16][..]),
            ("vgg-small", 32, &[4, 4, 128]),
            ("resnet18", 64, &[2, 2, 512]),
            ("squeezenet", 64, &[3, 3, 512]),
            ("efficientnet_b0", 64, &[2, 2, 1280]),
            ("vit_tiny", 32, &[5, 192]),
        ] {
            let model = zoo::build(name, [size, size, 3], 7).unwrap();
            let (graph, built, _) = model.without_head().unwrap().before_pooling().unwrap().inference(1).unwrap();
            assert_eq!(graph.shape(built.output).dims()[1..], *expected, "{name}");
        }
        let small = zoo::build("resnet18", [32, 32, 3], 7).unwrap().without_head().unwrap();
        assert!(small.before_pooling().unwrap_err().to_string().contains("a larger picture"));
    }

    #[test]
    fn any_layer_can_be_the_last() {
        let model = zoo::build("autoencoder", [32, 32, 3], 1).unwrap();
        assert_eq!(features(&model.cut_at("code").unwrap().pooled().unwrap()), 16);
        let message = model.cut_at("cod").unwrap_err().to_string();
        assert!(message.contains("no layer \"cod\"") && message.contains("code, "), "{message}");
    }

    #[test]
    fn a_single_layer_cannot_be_cut() {
        let model: Model = crate::nn::Sequential::new([4, 4, 1]).flatten().softmax().into();
        assert!(model.without_head().is_err());
    }
}
