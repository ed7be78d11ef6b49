use super::chain::{Chain, conv};
use crate::nn::layers::{AveragePooling2D, Conv2D, GlobalAveragePooling2D};
use crate::nn::{Activation, Model};

/// Channels that each layer adds.
const GROWTH: usize = 32;

/// DenseNet-121: 7,978,856 trained parameters for 1000 classes. Each layer sees the results of all before it in its block.
/// Source: Huang, Liu, van der Maaten & Weinberger, 2017, <https://arxiv.org/abs/1608.06993>.
pub fn densenet121(input: [usize; 3], classes: usize) -> Model {
    const BLOCKS: [usize; 4] = [6, 12, 24, 16];
    let relu = Activation::Relu;
    let mut chain = Chain::new(input);
    chain.conv_norm(["features.conv0", "features.norm0"], conv(64, 7, 2), relu).max_pool3(1);
    let mut channels = 64;
    for (block, layers) in (1..).zip(BLOCKS) {
        for layer in 1..=layers {
            dense_layer(&mut chain, &format!("features.denseblock{block}.denselayer{layer}"));
        }
        channels += layers * GROWTH;
        if block < BLOCKS.len() {
            channels /= 2;
            let name = format!("features.transition{block}");
            norm_conv(&mut chain, [&format!("{name}.norm"), &format!("{name}.conv")], conv(channels, 1, 1));
            chain.put(AveragePooling2D::new(2));
        }
    }
    let normalization = chain.normalization.clone();
    chain.named("features.norm5", normalization).activation(relu).put(GlobalAveragePooling2D {});
    chain.classes("classifier", classes)
}

fn dense_layer(chain: &mut Chain, name: &str) {
    let before = chain.last.clone();
    norm_conv(chain, [&format!("{name}.norm1"), &format!("{name}.conv1")], conv(4 * GROWTH, 1, 1));
    norm_conv(chain, [&format!("{name}.norm2"), &format!("{name}.conv2")], conv(GROWTH, 3, 1));
    chain.concatenate(&[before]);
}

/// Batch-norm, relu, and then the convolution.
fn norm_conv(chain: &mut Chain, names: [&str; 2], layer: Conv2D) {
    let normalization = chain.normalization.clone();
    chain.named(names[0], normalization).activation(Activation::Relu);
    chain.named(names[1], Conv2D { use_bias: false, ..layer });
}
