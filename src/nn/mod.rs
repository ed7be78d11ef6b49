//! Networks as layers: what a user describes, and how it becomes ops.
//!
//! What comes in: layers under Keras's names and defaults, from Rust ([`Sequential`], [`Model`]), from a model file
//! ([`Model::open`]) or from the [`zoo`]. What goes out: ops in a [`Graph`](crate::graph::Graph) ([`Model::build`]) and
//! the weights to start from ([`Model::initialize`]). Layers compute nothing themselves.
//!
//! To add a layer: its file in `layers`, a line in [`layers::TYPES`].

mod activation;
mod attributes;
mod builder;
mod cut;
mod features;
mod file;
mod frames;
mod initializer;
mod layer;
pub mod layers;
mod model;
mod sequential;
mod summary;
pub mod zoo;

pub use activation::Activation;
pub use attributes::{Edges, Pair, StepPadding};
pub use builder::{Builder, Mode};
pub use features::FeatureMap;
pub use frames::over_frames;
pub use initializer::Initializer;
pub use layer::{Attributes, Layer, LayerType};
pub use model::{Built, LayerSpec, Model};
pub use sequential::Sequential;
pub use summary::{LayerSummary, Summary};
