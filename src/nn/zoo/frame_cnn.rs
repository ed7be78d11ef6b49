use super::chain::scaled;
use crate::nn::layers::{BatchNormalization, Conv2D};
use crate::nn::{Model, Sequential};
use crate::ops::Padding;

/// A small network for the frames of a sequence, as [`over_frames`](crate::nn::over_frames) takes them: three convolutions with 16,
/// 32 and 64 channels, each normalised and followed by halving height and width, and a dense layer of 64 values. That knows where
/// things are, which the mean over a map, with which most networks end, does not: so it can tell how they move.
pub fn frame_cnn(input: [usize; 3], classes: usize, width: f64) -> Model {
    let mut network = Sequential::new(input);
    for filters in [16, 32, 64].map(|channels| scaled(channels, width)) {
        network = network
            .layer(Conv2D { padding: Padding::Same, use_bias: false, ..Conv2D::new(filters, 3) })
            .layer(BatchNormalization { momentum: 0.9, ..BatchNormalization::default() })
            .relu()
            .max_pool2d(2);
    }
    network.flatten().dense(scaled(64, width)).relu().dense(classes).softmax().into()
}
