//! Networks without their end: what is left describes pictures.

use std::collections::HashSet;

use super::layers::{Flatten, GlobalAveragePooling1D, GlobalAveragePooling2D};
use super::{LayerSpec, Model};
use crate::error::{Error, Result};

/// Layers that make an answer of numbers for the classes.
const HEADS: [&str; 5] = ["dense", "cosine_dense", "conv2d", "conv1d", "conv2d_transpose"];

impl Model {
    /// The part of the network that computes the result of a layer, which is its output.
    ///
    /// Errors: if there is no such layer.
    pub fn up_to(&self, layer: &str) -> Result<Self> {
        let mut needed = HashSet::from([layer]);
        let mut kept: Vec<LayerSpec> = Vec::new();
        for spec in self.layers().iter().rev() {
            if needed.contains(spec.name.as_str()) {
                needed.extend(spec.inputs.iter().map(String::as_str));
                kept.push(spec.clone());
            }
        }
        if kept.first().is_none_or(|spec| spec.name != layer) {
            let names: Vec<&str> = self.layers().iter().map(|spec| spec.name.as_str()).collect();
            return Err(Error::config(format!("there is no layer \"{layer}\"; there are {}", names.join(", "))));
        }
        kept.reverse();
        Self::from_parts(self.input, kept, Vec::new(), Vec::new())
    }

    /// The network without its last layer that has weights, and what comes after it: what describes a picture where a classifier
    /// tells its class.
    ///
    /// Errors: if its first output does not come from such a layer in a single line, or nothing would be left.
    pub fn without_head(&self) -> Result<Self> {
        let mut at = self.first_output();
        while let Some(spec) = at {
            if let Some(layer) = spec.layer.without_head() {
                let mut layers = self.up_to(&spec.name)?.layers().to_vec();
                layers.iter_mut().filter(|kept| kept.name == spec.name).for_each(|kept| kept.layer = layer.clone());
                return Self::from_parts(self.input, layers, Vec::new(), Vec::new());
            }
            let [input] = spec.inputs.as_slice() else { break };
            if HEADS.contains(&spec.layer.type_name()) {
                return match input == Self::INPUT {
                    true => Err(Error::config(
                        "the network has a single layer with weights: nothing before it describes a picture",
                    )),
                    false => self.up_to(input),
                };
            }
            at = self.layers().iter().find(|other| other.name == *input);
        }
        Err(Error::config("the network does not end in a layer with weights for the classes: name a layer instead"))
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
    fn any_layer_can_be_the_last() {
        let model = zoo::build("autoencoder", [32, 32, 3], 1).unwrap();
        assert_eq!(features(&model.up_to("code").unwrap().pooled().unwrap()), 16);
        let message = model.up_to("cod").unwrap_err().to_string();
        assert!(message.contains("no layer \"cod\"") && message.contains("code, "), "{message}");
    }

    #[test]
    fn a_single_layer_cannot_be_cut() {
        let model: Model = crate::nn::Sequential::new([4, 4, 1]).flatten().softmax().into();
        assert!(model.without_head().is_err());
    }
}
