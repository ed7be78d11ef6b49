//! EfficientNets: Tan & Le, 2019, <https://arxiv.org/abs/1905.11946>.

use super::chain::{Chain, conv};
use crate::nn::layers::{BatchNormalization, Conv2D, DropPath, GlobalAveragePooling2D, SqueezeExcite};
use crate::nn::{Activation, Model};
use crate::ops::Padding;

/// Expansion, kernel, first stride, channels, blocks of each stage: table 1 of the paper.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

/// EfficientNet-B0: 5,288,548 trained parameters for 1000 classes.
pub fn efficientnet_b0(input: [usize; 3], classes: usize) -> Model {
    /// Share of the last block's pictures that skip it; of earlier blocks, in proportion to their number.
    const DROPPED: f64 = 0.2;
    const BLOCKS: usize = 16;
    let silu = Activation::Silu;
    let mut number = 0;
    let mut chain = Chain::new(input);
    chain.conv_norm(["features.0.0", "features.0.1"], conv(32, 3, 2), silu);
    let mut channels = 32;
    for (stage, (expansion, kernel, stride, filters, blocks)) in (1..).zip(STAGES) {
        for block in 0..blocks {
            let (wide, stride) = (channels * expansion, if block == 0 { stride } else { 1 });
            let input = chain.last.clone();
            let name = |part: usize| format!("features.{stage}.{block}.block.{part}");
            let conv_norm = |chain: &mut Chain, part: usize, layer: Conv2D, activation: Activation| {
                chain.conv_norm([&format!("{}.0", name(part)), &format!("{}.1", name(part))], layer, activation);
            };
            let at = usize::from(expansion > 1);
            if expansion > 1 {
                conv_norm(&mut chain, 0, conv(wide, 1, 1), silu);
            }
            conv_norm(&mut chain, at, Conv2D { groups: wide, ..conv(wide, kernel, stride) }, silu);
            let weigh = SqueezeExcite { inner_activation: silu, ..SqueezeExcite::new((channels / 4).max(1)) };
            chain.named(&name(at + 1), weigh);
            conv_norm(&mut chain, at + 2, conv(filters, 1, 1), Activation::Linear);
            if stride == 1 && channels == filters {
                chain.put(DropPath { rate: DROPPED * number as f64 / BLOCKS as f64 });
                chain.add(&format!("features.{stage}.{block}.add"), &input);
            }
            channels = filters;
            number += 1;
        }
    }
    chain.conv_norm(["features.8.0", "features.8.1"], conv(1280, 1, 1), silu);
    chain.put(GlobalAveragePooling2D {}).dropout(0.2);
    chain.classes("classifier.1", classes)
}

/// EfficientNet-Lite0: 4,652,008 trained parameters for 1000 classes. Without weighed channels, with relu6, and padded as
/// TensorFlow does; names are those of timm.
/// Source: TensorFlow's `efficientnet/lite`, <https://github.com/tensorflow/tpu>.
pub fn efficientnet_lite0(input: [usize; 3], classes: usize) -> Model {
    let relu6 = Activation::Relu6;
    let same = |layer: Conv2D| Conv2D { padding: Padding::Same, ..layer };
    let mut chain = Chain::new(input);
    chain.normalization = BatchNormalization { momentum: 0.99, epsilon: 1e-3 };
    chain.conv_norm(["conv_stem", "bn1"], same(conv(32, 3, 2)), relu6);
    let mut channels = 32;
    for (stage, (expansion, kernel, stride, filters, blocks)) in STAGES.into_iter().enumerate() {
        for block in 0..blocks {
            let (wide, stride) = (channels * expansion, if block == 0 { stride } else { 1 });
            let input = chain.last.clone();
            let name = |part: &str| format!("blocks.{stage}.{block}.{part}");
            let depthwise = same(Conv2D { groups: wide, ..conv(wide, kernel, stride) });
            let narrow = conv(filters, 1, 1);
            if expansion > 1 {
                chain.conv_norm([&name("conv_pw"), &name("bn1")], conv(wide, 1, 1), relu6);
                chain.conv_norm([&name("conv_dw"), &name("bn2")], depthwise, relu6);
                chain.conv_norm([&name("conv_pwl"), &name("bn3")], narrow, Activation::Linear);
            } else {
                chain.conv_norm([&name("conv_dw"), &name("bn1")], depthwise, relu6);
                chain.conv_norm([&name("conv_pw"), &name("bn2")], narrow, Activation::Linear);
            }
            if stride == 1 && channels == filters {
                chain.add(&name("add"), &input);
            }
            channels = filters;
        }
    }
    chain.conv_norm(["conv_head", "bn2"], conv(1280, 1, 1), relu6);
    chain.put(GlobalAveragePooling2D {}).dropout(0.2);
    chain.classes("classifier", classes)
}
