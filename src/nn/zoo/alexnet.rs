use super::chain::Chain;
use crate::nn::layers::{Conv2D, Dense, Flatten};
use crate::nn::{Activation, Model};
use crate::ops::Padding;

/// AlexNet in its form for one GPU: 61,100,840 trained parameters for 1000 classes on 224x224 pictures.
/// Source: Krizhevsky, 2014, <https://arxiv.org/abs/1404.5997>.
pub fn alexnet(input: [usize; 3], classes: usize) -> Model {
    let relu = Activation::Relu;
    let conv = |filters: usize, kernel: usize, padding: usize| {
        let padding = Padding::Explicit([padding; 4]);
        Conv2D { padding, activation: relu, ..Conv2D::new(filters, kernel) }
    };
    let hidden = || Dense { activation: relu, ..Dense::new(4096) };
    let mut chain = Chain::new(input);
    chain.named("features.0", Conv2D { strides: 4.into(), ..conv(64, 11, 2) }).max_pool3(0);
    chain.named("features.3", conv(192, 5, 2)).max_pool3(0);
    chain.named("features.6", conv(384, 3, 1)).named("features.8", conv(256, 3, 1));
    chain.named("features.10", conv(256, 3, 1)).max_pool3(0);
    chain.put(Flatten {}).dropout(0.5).named("classifier.1", hidden());
    chain.dropout(0.5).named("classifier.4", hidden());
    chain.classes("classifier.6", classes)
}
