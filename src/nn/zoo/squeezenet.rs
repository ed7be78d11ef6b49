use super::chain::Chain;
use crate::nn::layers::{Conv2D, GlobalAveragePooling2D};
use crate::nn::{Activation, Model};
use crate::ops::Padding;

/// SqueezeNet 1.1: 1,235,496 trained parameters for 1000 classes.
/// Source: Iandola et al., 2016, <https://arxiv.org/abs/1602.07360>, and the authors' release of version 1.1.
pub fn squeezenet(input: [usize; 3], classes: usize) -> Model {
    let relu = Activation::Relu;
    let mut chain = Chain::new(input);
    chain.named("features.0", Conv2D { strides: 2.into(), activation: relu, ..Conv2D::new(64, 3) }).max_pool3(0);
    for (number, squeezed, pools) in [
        (3, 16, false),
        (4, 16, true),
        (6, 32, false),
        (7, 32, true),
        (9, 48, false),
        (10, 48, false),
        (11, 64, false),
        (12, 64, false),
    ] {
        fire(&mut chain, number, squeezed);
        if pools {
            chain.max_pool3(0);
        }
    }
    chain.dropout(0.5).named("classifier.1", Conv2D { activation: relu, ..Conv2D::new(classes, 1) });
    chain.put(GlobalAveragePooling2D {}).activation(Activation::Softmax);
    chain.model
}

/// A narrow 1x1 convolution, and 1x1 and 3x3 convolutions of it side by side, each four times as wide.
fn fire(chain: &mut Chain, number: usize, squeezed: usize) {
    let name = |part: &str| format!("features.{number}.{part}");
    let conv = |filters: usize, kernel: usize| {
        let padding = Padding::Explicit([kernel / 2; 4]);
        Conv2D { padding, activation: Activation::Relu, ..Conv2D::new(filters, kernel) }
    };
    chain.named(&name("squeeze"), conv(squeezed, 1));
    let narrow = chain.last.clone();
    chain.named(&name("expand1x1"), conv(4 * squeezed, 1));
    let first = std::mem::replace(&mut chain.last, narrow);
    chain.named(&name("expand3x3"), conv(4 * squeezed, 3)).concatenate(&[first]);
}
