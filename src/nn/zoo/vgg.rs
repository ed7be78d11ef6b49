use super::chain::{Chain, conv};
use crate::nn::layers::{Dense, Flatten, MaxPooling2D};
use crate::nn::{Activation, Model};

/// VGG-11, configuration A: 132,863,336 trained parameters for 1000 classes on 224x224 pictures.
/// Source: Simonyan & Zisserman, 2015, <https://arxiv.org/abs/1409.1556>.
pub fn vgg11(input: [usize; 3], classes: usize) -> Model {
    vgg(input, classes, [1, 1, 2, 2, 2])
}

/// VGG-16, configuration D: 138,357,544 trained parameters for 1000 classes on 224x224 pictures.
/// Source: as [`vgg11`].
pub fn vgg16(input: [usize; 3], classes: usize) -> Model {
    vgg(input, classes, [2, 2, 3, 3, 3])
}

/// Five stages of 3x3 convolutions, each halving height and width, then two hidden layers.
fn vgg(input: [usize; 3], classes: usize, convolutions: [usize; 5]) -> Model {
    let mut chain = Chain::new(input);
    // torchvision counts activations and poolings as well.
    let mut number = 0;
    for (filters, convolutions) in [64, 128, 256, 512, 512].into_iter().zip(convolutions) {
        for _ in 0..convolutions {
            chain.named(&format!("features.{number}"), conv(filters, 3, 1)).activation(Activation::Relu);
            number += 2;
        }
        chain.put(MaxPooling2D::new(2));
        number += 1;
    }
    let hidden = || Dense { activation: Activation::Relu, ..Dense::new(4096) };
    chain.put(Flatten {}).named("classifier.0", hidden()).dropout(0.5);
    chain.named("classifier.3", hidden()).dropout(0.5);
    chain.classes("classifier.6", classes)
}
