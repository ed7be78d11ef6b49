//! Networks to begin with, as functions of the pictures' size and the number of classes.

mod alexnet;
mod autoencoder;
mod chain;
mod convnext;
mod crnn;
mod densenet;
mod detector;
mod efficientnet;
mod frame_cnn;
mod keras_first;
mod lenet;
mod linknet;
mod mobilenet;
mod resnet;
mod squeezenet;
mod unet;
mod vgg;
mod vgg_small;
mod vit;

pub use alexnet::alexnet;
pub use autoencoder::{autoencoder, encoder, vae};
pub use convnext::convnext_tiny;
pub use crnn::{crnn, crnn_small};
pub use densenet::densenet121;
pub use detector::detector;
pub use efficientnet::{efficientnet_b0, efficientnet_lite0};
pub use frame_cnn::frame_cnn;
pub use keras_first::keras_first;
pub use lenet::lenet;
pub use linknet::linknet;
pub use mobilenet::{mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small};
pub use resnet::{resnet18, resnet20, resnet34, resnet50, resnext50};
pub use squeezenet::squeezenet;
pub use unet::unet;
pub use vgg::{vgg11, vgg16};
pub use vgg_small::vgg_small;
pub use vit::{vit_small, vit_tiny};

use Make::{Fixed, Scaled};

use super::Model;
use crate::error::{Error, Result};

/// A network of the zoo.
pub struct Entry {
    /// The name, as for `--model`.
    pub name: &'static str,
    /// Height and width of pictures for which it was made; `None` if any will do.
    pub size: Option<[usize; 2]>,
    make: Make,
}

/// A network for pictures of that height, width and number of channels, and so many classes.
enum Make {
    Fixed(fn([usize; 3], usize) -> Model),
    /// With so many times the usual number of channels.
    Scaled(fn([usize; 3], usize, f64) -> Model),
}

impl Entry {
    /// The network in its usual width, for pictures of that height, width and number of channels, and so many classes.
    pub fn build(&self, input: [usize; 3], classes: usize) -> Model {
        match self.make {
            Fixed(make) => make(input, classes),
            Scaled(make) => make(input, classes, 1.0),
        }
    }
}

/// ImageNet's.
const LARGE: Option<[usize; 2]> = Some([224, 224]);

/// All of them.
pub const ENTRIES: &[Entry] = &[
    Entry { name: "keras-first", size: Some([64, 64]), make: Fixed(keras_first) },
    Entry { name: "lenet", size: Some([28, 28]), make: Fixed(lenet) },
    Entry { name: "vgg-small", size: None, make: Scaled(vgg_small) },
    Entry { name: "frame-cnn", size: None, make: Scaled(frame_cnn) },
    Entry { name: "resnet20", size: Some([32, 32]), make: Scaled(resnet20) },
    Entry { name: "alexnet", size: LARGE, make: Fixed(alexnet) },
    Entry { name: "vgg11", size: LARGE, make: Fixed(vgg11) },
    Entry { name: "vgg16", size: LARGE, make: Fixed(vgg16) },
    Entry { name: "resnet18", size: LARGE, make: Scaled(resnet18) },
    Entry { name: "resnet34", size: LARGE, make: Scaled(resnet34) },
    Entry { name: "resnet50", size: LARGE, make: Fixed(resnet50) },
    Entry { name: "resnext50", size: LARGE, make: Fixed(resnext50) },
    Entry { name: "densenet121", size: LARGE, make: Fixed(densenet121) },
    Entry { name: "squeezenet", size: LARGE, make: Fixed(squeezenet) },
    Entry { name: "mobilenet_v2", size: LARGE, make: Scaled(mobilenet_v2) },
    Entry { name: "mobilenet_v3_small", size: LARGE, make: Scaled(mobilenet_v3_small) },
    Entry { name: "mobilenet_v3_large", size: LARGE, make: Scaled(mobilenet_v3_large) },
    Entry { name: "efficientnet_lite0", size: LARGE, make: Fixed(efficientnet_lite0) },
    Entry { name: "efficientnet_b0", size: LARGE, make: Fixed(efficientnet_b0) },
    Entry { name: "convnext_tiny", size: LARGE, make: Fixed(convnext_tiny) },
    Entry { name: "vit_tiny", size: LARGE, make: Fixed(vit_tiny) },
    Entry { name: "vit_small", size: LARGE, make: Fixed(vit_small) },
    Entry { name: "unet", size: Some([256, 256]), make: Scaled(unet) },
    Entry { name: "linknet", size: None, make: Scaled(linknet) },
    Entry { name: "autoencoder", size: None, make: Scaled(autoencoder) },
    Entry { name: "encoder", size: None, make: Scaled(encoder) },
    Entry { name: "vae", size: None, make: Scaled(vae) },
    Entry { name: "crnn", size: Some([32, 100]), make: Scaled(crnn) },
    Entry { name: "crnn-small", size: Some([32, 100]), make: Scaled(crnn_small) },
];

/// The network of that name.
///
/// Errors: if there is none, listing those there are; if there are no classes.
pub fn build(name: &str, input: [usize; 3], classes: usize) -> Result<Model> {
    build_scaled(name, input, classes, 1.0)
}

/// The network of that name with `width` times the usual number of channels, in multiples of 8 as in mobile networks.
///
/// Errors: as [`build`]; if the width is not above 0 and at most 16, or the network is of one width.
pub fn build_scaled(name: &str, input: [usize; 3], classes: usize, width: f64) -> Result<Model> {
    let entry = find(name)?;
    if classes == 0 {
        return Err(Error::config(format!("{name} needs at least one class")));
    }
    if !(width > 0.0 && width <= 16.0) {
        return Err(Error::config(format!("a width must be above 0 and at most 16, but is {width}")));
    }
    match entry.make {
        Scaled(make) => Ok(make(input, classes, width)),
        Fixed(make) if width == 1.0 => Ok(make(input, classes)),
        Fixed(_) => {
            let scaled = ENTRIES.iter().filter(|e| matches!(e.make, Scaled(_)));
            let names: Vec<&str> = scaled.map(|e| e.name).collect();
            Err(Error::config(format!("{name} is of one width; others can be set for {}", names.join(", "))))
        }
    }
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
