use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

use super::{Activation, Builder};
use crate::error::Result;
use crate::graph::Value;

/// A layer: attributes, and the ops that they stand for.
pub trait Layer: Attributes + fmt::Debug + Send + Sync + 'static {
    /// Its `type` in model files, for instance `max_pool2d`.
    fn type_name(&self) -> &'static str;

    /// Keras's class in snake case, after which it is named if nobody names it, for instance `max_pooling2d`.
    fn class(&self) -> &'static str {
        self.type_name()
    }

    /// Emits the layer's ops up to its activation, and declares its parameters, the same ones in training and inference.
    ///
    /// `inputs` is one value, unless the layer [merges](Layer::merges) several. Values have the batch as first axis.
    ///
    /// Errors: if the inputs do not fit the layer.
    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value>;

    /// What is applied to the result of [`Layer::build`].
    fn activation(&self) -> Activation {
        Activation::Linear
    }

    /// The file that its attributes name.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// The layer of a model file in `folder`, to which the [file](Layer::file) is relative; `None` if it names none.
    fn in_folder(&self, _folder: &Path) -> Option<Arc<dyn Layer>> {
        None
    }

    /// Of a layer that is a whole classifier: the part from which its last product makes the logits.
    fn without_head(&self) -> Option<Arc<dyn Layer>> {
        None
    }

    /// Of how many frames, one below another, it makes pictures of their own.
    fn frames(&self) -> Option<usize> {
        None
    }

    /// Whether it takes two or more inputs rather than one.
    fn merges(&self) -> bool {
        false
    }
}

/// A layer's attributes as they stand in a model file. Every serializable type has them.
pub trait Attributes {
    /// Key and value of each attribute.
    fn attributes(&self) -> Result<Table, toml::ser::Error>;
}

impl<T: Serialize> Attributes for T {
    fn attributes(&self) -> Result<Table, toml::ser::Error> {
        Table::try_from(self)
    }
}

/// A type of layer that model files know.
pub struct LayerType {
    /// The `type` key.
    pub name: &'static str,
    parse: fn(Table) -> Result<Arc<dyn Layer>, toml::de::Error>,
}

impl LayerType {
    /// The layer `L` under `name`.
    pub const fn of<L: Layer + DeserializeOwned>(name: &'static str) -> Self {
        Self { name, parse: |table| Ok(Arc::new(table.try_into::<L>()?)) }
    }

    /// A layer from its attributes.
    ///
    /// Errors: if a key is unknown, missing, or has a value it cannot have; the message lists the known ones.
    pub fn parse(&self, attributes: Table) -> Result<Arc<dyn Layer>, toml::de::Error> {
        (self.parse)(attributes)
    }
}
