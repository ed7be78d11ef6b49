use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::{Dense, Flatten};
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};
use crate::interop::onnx::{Network, Weights};
use crate::nn::{Activation, Builder, Layer, Model};

/// An ONNX network, or its part up to a value, as a layer. Its weights train like any others; batch normalisation in it keeps
/// the moments of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxNetwork {
    /// The file; in a model file, relative to that.
    #[serde(serialize_with = "file_name")]
    pub file: PathBuf,
    /// The value that is the result, instead of the network's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What is applied to it.
    #[serde(default)]
    pub activation: Activation,
    #[serde(skip)]
    network: OnceLock<Arc<Network>>,
}

fn file_name<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.file_name().unwrap_or_default().to_string_lossy())
}

impl OnnxNetwork {
    /// The network in a file.
    ///
    /// Errors: if it cannot be read.
    pub fn open(file: &Path) -> Result<Self> {
        let layer =
            Self { file: file.to_owned(), output: None, activation: Activation::Linear, network: OnceLock::new() };
        layer.network()?;
        Ok(layer)
    }

    fn network(&self) -> Result<Arc<Network>> {
        if let Some(network) = self.network.get() {
            return Ok(network.clone());
        }
        let network = Arc::new(Network::open(&self.file)?);
        Ok(self.network.get_or_init(|| network).clone())
    }

    /// A classifier from a file, for pictures of that size, or of that which the file tells. With `classes`, a new dense layer
    /// for as many takes the place of the network's last product; otherwise the network is taken as it is, with a softmax if it
    /// gives logits.
    ///
    /// Errors: if the file cannot be read, takes no pictures, or has no such end.
    pub fn model(file: &Path, input: Option<[usize; 3]>, classes: Option<usize>) -> Result<Model> {
        const USUAL: [usize; 3] = [224, 224, 3];
        let mut layer = Self::open(file)?;
        let network = layer.network()?;
        let in_file = |e: Error| Error::format(file, e.to_string());
        let told = network.picture().map_err(in_file)?;
        let input = input.unwrap_or_else(|| [0, 1, 2].map(|i| told[i].unwrap_or(USUAL[i])));
        let head = network.head().ok_or_else(|| Error::format(file, "has not one result that a product makes"))?;
        let mut model = Model::new(input);
        let Some(classes) = classes else {
            layer.activation =
                if head.activation == Some("Sigmoid") { Activation::Sigmoid } else { Activation::Softmax };
            layer.output = Some(head.logits);
            model.layer(layer, [Model::INPUT]);
            return Ok(model);
        };
        let features =
            head.features.ok_or_else(|| Error::format(file, "does not end in a product that could be replaced"))?;
        layer.output = Some(features);
        let mut last = model.layer(layer.clone(), [Model::INPUT]);
        if layer.result_rank(input).map_err(in_file)? > 2 {
            last = model.layer(Flatten {}, [last]);
        }
        let (units, activation) = if classes == 2 { (1, Activation::Sigmoid) } else { (classes, Activation::Softmax) };
        model.layer(Dense { activation, ..Dense::new(units) }, [last]);
        Ok(model)
    }

    fn result_rank(&self, [h, w, c]: [usize; 3]) -> Result<usize> {
        let mut graph = Graph::new();
        let input = graph.input(Model::INPUT, crate::tensor::Meta::f32([1, h, w, c]));
        let (value, _) = self.network()?.embed(&mut graph, input, self.output.as_deref(), Weights::Fixed)?;
        Ok(graph.shape(value).rank())
    }
}

impl Layer for OnnxNetwork {
    fn type_name(&self) -> &'static str {
        "onnx"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        let network = self.network()?;
        let output = self.output.as_deref();
        let dims = builder.feature_map(inputs[0])?;
        let mut scratch = Graph::new();
        let input = scratch.input(Model::INPUT, crate::tensor::Meta::f32(dims));
        let listed = network.embed(&mut scratch, input, output, Weights::Listed(Vec::new()));
        let (_, weights) = listed.map_err(|e| builder.error(e.to_string()))?;
        let Weights::Listed(list) = weights else { unreachable!("lists stay lists") };
        let mut values = HashMap::new();
        for (name, tensor) in list {
            let value = builder.parameter_from(&name, Arc::new(tensor))?;
            values.insert(name, value);
        }
        let (value, _) = network.embed(builder.graph(), inputs[0], output, Weights::Given(values))?;
        Ok(value)
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.file)
    }

    fn without_head(&self) -> Option<Arc<dyn Layer>> {
        let features = self.network().ok()?.head()?.features?;
        Some(Arc::new(Self { output: Some(features), activation: Activation::Linear, ..self.clone() }))
    }

    fn in_folder(&self, folder: &Path) -> Option<Arc<dyn Layer>> {
        Some(Arc::new(Self { file: folder.join(&self.file), network: OnceLock::new(), ..self.clone() }))
    }
}
