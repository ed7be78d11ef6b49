//! Networks to begin with, as functions of the pictures' size and the number of classes.

mod alexnet;
mod chain;
mod convnext;
mod densenet;
mod efficientnet;
mod keras_first;
mod lenet;
mod mobilenet;
mod resnet;
mod squeezenet;
mod vgg;
mod vgg_small;

pub use alexnet::alexnet;
pub use convnext::convnext_tiny;
pub use densenet::densenet121;
pub use efficientnet::{efficientnet_b0, efficientnet_lite0};
pub use keras_first::keras_first;
pub use lenet::lenet;
pub use mobilenet::{mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small};
pub use resnet::{resnet18, resnet20, resnet34, resnet50, resnext50};
pub use squeezenet::squeezenet;
pub use vgg::{vgg11, vgg16};
pub use vgg_small::vgg_small;

use super::Model;
use crate::error::{Error, Result};

/// A network of the zoo.
pub struct Entry {
    /// The name, as for `--model`.
    pub name: &'static str,
    /// Height and width of pictures for which it was made; `None` if any will do.
    pub size: Option<[usize; 2]>,
    /// The network for pictures of that height, width and number of channels, and so many classes.
    pub build: fn([usize; 3], usize) -> Model,
}

/// ImageNet's.
const LARGE: Option<[usize; 2]> = Some([224, 224]);

/// All of them.
pub const ENTRIES: &[Entry] = &[
    Entry { name: "keras-first", size: Some([64, 64]), build: keras_first },
    Entry { name: "lenet", size: Some([28, 28]), build: lenet },
    Entry { name: "vgg-small", size: None, build: vgg_small },
    Entry { name: "resnet20", size: Some([32, 32]), build: resnet20 },
    Entry { name: "alexnet", size: LARGE, build: alexnet },
    Entry { name: "vgg11", size: LARGE, build: vgg11 },
    Entry { name: "vgg16", size: LARGE, build: vgg16 },
    Entry { name: "resnet18", size: LARGE, build: resnet18 },
    Entry { name: "resnet34", size: LARGE, build: resnet34 },
    Entry { name: "resnet50", size: LARGE, build: resnet50 },
    Entry { name: "resnext50", size: LARGE, build: resnext50 },
    Entry { name: "densenet121", size: LARGE, build: densenet121 },
    Entry { name: "squeezenet", size: LARGE, build: squeezenet },
    Entry { name: "mobilenet_v2", size: LARGE, build: mobilenet_v2 },
    Entry { name: "mobilenet_v3_small", size: LARGE, build: mobilenet_v3_small },
    Entry { name: "mobilenet_v3_large", size: LARGE, build: mobilenet_v3_large },
    Entry { name: "efficientnet_lite0", size: LARGE, build: efficientnet_lite0 },
    Entry { name: "efficientnet_b0", size: LARGE, build: efficientnet_b0 },
    Entry { name: "convnext_tiny", size: LARGE, build: convnext_tiny },
];

/// The network of that name.
///
/// Errors: if there is none, listing those there are; if there are no classes.
pub fn build(name: &str, input: [usize; 3], classes: usize) -> Result<Model> {
    let entry = find(name)?;
    if classes == 0 {
        return Err(Error::config(format!("{name} needs at least one class")));
    }
    Ok((entry.build)(input, classes))
}

/// Height and width of pictures for which the network of that name was made; `None` if any will do.
///
/// Errors: if there is no such network.
pub fn default_size(name: &str) -> Result<Option<[usize; 2]>> {
    find(name).map(|e| e.size)
}

fn find(name: &str) -> Result<&'static Entry> {
    ENTRIES.iter().find(|e| e.name == name).ok_or_else(|| {
        let names: Vec<&str> = ENTRIES.iter().map(|e| e.name).collect();
        let message =
            format!("there is no network \"{name}\"; there are {}, and model files (.toml)", names.join(", "));
        Error::config(message)
    })
}
