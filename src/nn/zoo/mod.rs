//! Networks to begin with, as functions of the pictures' size and the number of classes.

mod keras_first;
mod lenet;
mod resnet;
mod resnet18;
mod resnet20;
mod vgg_small;

pub use keras_first::keras_first;
pub use lenet::lenet;
pub use resnet18::resnet18;
pub use resnet20::resnet20;
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

/// All of them.
pub const ENTRIES: &[Entry] = &[
    Entry { name: "keras-first", size: Some([64, 64]), build: keras_first },
    Entry { name: "lenet", size: Some([28, 28]), build: lenet },
    Entry { name: "vgg-small", size: None, build: vgg_small },
    Entry { name: "resnet20", size: Some([32, 32]), build: resnet20 },
    Entry { name: "resnet18", size: Some([224, 224]), build: resnet18 },
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
