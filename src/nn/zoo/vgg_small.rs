use super::chain::scaled;
use crate::nn::layers::{BatchNormalization, Conv2D};
use crate::nn::{Model, Sequential};
use crate::ops::Padding;

/// Three stages of two 3x3 convolutions with 32, 64 and 128 channels, each stage halving height and width: VGG's scheme
/// for pictures of 8x8 and up, with batch-norm, and the mean over the last map in place of the large hidden layers.
/// Source: Simonyan & Zisserman, 2015, <https://arxiv.org/abs/1409.1556>.
pub fn vgg_small(input: [usize; 3], classes: usize, width: f64) -> Model {
    let mut network = Sequential::new(input);
    for filters in [32, 64, 128].map(|channels| scaled(channels, width)) {
        for _ in 0..2 {
            // Batch-norm shifts by itself.
            network = network
                .layer(Conv2D { padding: Padding::Same, use_bias: false, ..Conv2D::new(filters, 3) })
                .layer(BatchNormalization { momentum: 0.9, ..BatchNormalization::default() })
                .relu();
        }
        network = network.max_pool2d(2);
    }
    network.global_average_pool2d().dropout(0.25).dense(classes).softmax().into()
}
