use super::chain::{Chain, scaled};
use crate::nn::layers::{Conv2D, Conv2DTranspose, Cropping2D, Dense, Flatten, Reshape, Sampling};
use crate::nn::{Activation, Model};
use crate::ops::Padding;

/// Channels of the maps, each of half the extents of the one before.
const CHANNELS: [usize; 3] = [32, 64, 128];
/// Of the code.
const CODE_CHANNELS: usize = 16;

/// An autoencoder of convolutions: three halvings of height and width, a code of 16 channels there (the layer `code`), and three
/// doublings. The result is a picture like the input, from 0 to 1. 206,995 trained parameters for colour pictures; there are
/// no classes.
/// Source: Masci et al., 2011, <https://doi.org/10.1007/978-3-642-21735-7_7>.
pub fn autoencoder(input: [usize; 3], _classes: usize, width: f64) -> Model {
    let mut chain = Chain::new(input);
    down(&mut chain, width);
    chain.named("code", Conv2D::new(CODE_CHANNELS, 1));
    up(&mut chain, width);
    chain.model
}

/// A variational autoencoder: as [`autoencoder`], but the code is 64 numbers, drawn in training from normal distributions whose
/// means and variances the first half gives (the layers `mean` and `log_variance`), so that any such numbers make a picture.
/// 1,915,139 trained parameters for colour pictures of 64x64.
///
/// What its layer `code` adds to the loss is meant for one that is a mean over the pixels.
/// Source: Kingma & Welling, 2014, <https://arxiv.org/abs/1312.6114>.
pub fn vae(input: [usize; 3], _classes: usize, width: f64) -> Model {
    const CODE: usize = 64;
    let mut chain = Chain::new(input);
    down(&mut chain, width);
    chain.put(Flatten {});
    let map = chain.last.clone();
    let mean = chain.model.named("mean", Dense::new(CODE), [&map]);
    let log_variance = chain.model.named("log_variance", Dense::new(CODE), [&map]);
    let sampling = Sampling { kl_weight: 1.0 / input.iter().product::<usize>() as f64 };
    chain.last = chain.model.named("code", sampling, [&mean, &log_variance]);
    let map = [input[0].div_ceil(8), input[1].div_ceil(8), scaled(CHANNELS[2], width)];
    chain.put(Dense { activation: Activation::Relu, ..Dense::new(map.iter().product()) });
    chain.put(Reshape { target_shape: map.map(|extent| extent as i64).to_vec() });
    up(&mut chain, width);
    chain.model
}

/// The way down of [`autoencoder`], with the same names, and a class for each picture: what an autoencoder has learned of
/// pictures without classes, a classifier starts from.
pub fn encoder(input: [usize; 3], classes: usize, width: f64) -> Model {
    let mut chain = Chain::new(input);
    down(&mut chain, width);
    chain.named("code", Conv2D::new(CODE_CHANNELS, 1)).activation(Activation::Relu).put(Flatten {});
    chain.classes("classes", classes)
}

/// From pictures to the smallest map.
fn down(chain: &mut Chain, width: f64) {
    for filters in CHANNELS.map(|channels| scaled(channels, width)) {
        let (padding, activation) = (Padding::Same, Activation::Relu);
        chain.put(Conv2D { strides: 2.into(), padding, activation, ..Conv2D::new(filters, 3) });
    }
}

/// From there back to pictures.
fn up(chain: &mut Chain, width: f64) {
    let (padding, activation) = (Padding::Same, Activation::Relu);
    for filters in CHANNELS.into_iter().rev().map(|channels| scaled(channels, width)) {
        chain.put(Conv2DTranspose { strides: 2.into(), padding, activation, ..Conv2DTranspose::new(filters, 3) });
    }
    let [height, width, channels] = chain.model.input;
    // Halving rounds up.
    let [below, right] = [height, width].map(|extent| extent.next_multiple_of(8) - extent);
    if below + right > 0 {
        chain.put(Cropping2D { cropping: [[0, below], [0, right]].into() });
    }
    chain.named("decoded", Conv2D { padding, activation: Activation::Sigmoid, ..Conv2D::new(channels, 3) });
}
