//! A network which is not a chain, described by the names of its layers: two residual blocks between a stem and a head.
//! Prints what it consists of, then its model file.
//!
//!     cargo run --example residual

use ocellus::nn::layers::{ActivationLayer, Add, BatchNormalization, Conv2D, Dense, GlobalAveragePooling2D};
use ocellus::nn::{Activation, Model};
use ocellus::ops::Padding;

/// A 3x3 convolution that keeps the extents at stride 1. Batch-norm follows, so it needs no bias.
fn conv3x3(filters: usize, stride: usize) -> Conv2D {
    Conv2D { strides: stride.into(), padding: Padding::Same, use_bias: false, ..Conv2D::new(filters, 3) }
}

/// Adds two convolutions beside a shortcut, which is itself a convolution where the extents change. Returns the name of
/// the layer that gives the result.
fn block(net: &mut Model, input: &str, filters: usize, stride: usize) -> String {
    let relu = || ActivationLayer { activation: Activation::Relu };
    let x = net.layer(conv3x3(filters, stride), [input]);
    let x = net.layer(BatchNormalization::default(), [x]);
    let x = net.layer(relu(), [x]);
    let x = net.layer(conv3x3(filters, 1), [x]);
    let x = net.layer(BatchNormalization::default(), [x]);
    let shortcut = match stride {
        1 => input.to_owned(),
        _ => net.layer(Conv2D { strides: stride.into(), use_bias: false, ..Conv2D::new(filters, 1) }, [input]),
    };
    let sum = net.layer(Add {}, [x, shortcut]);
    net.layer(relu(), [sum])
}

fn main() -> ocellus::Result<()> {
    let mut net = Model::new([32, 32, 3]);
    let stem = net.named("stem", Conv2D { activation: Activation::Relu, ..conv3x3(16, 1) }, [Model::INPUT]);
    let x = block(&mut net, &stem, 16, 1);
    let x = block(&mut net, &x, 32, 2);
    let x = net.layer(GlobalAveragePooling2D {}, [x]);
    net.named("head", Dense { activation: Activation::Softmax, ..Dense::new(10) }, [x]);
    println!("{}\n", net.summary()?);
    println!("{}", net.to_toml()?);
    Ok(())
}
