use super::chain::{Chain, conv, scaled, to_multiple_of_8};
use crate::nn::layers::{BatchNormalization, Conv2D, Dense, GlobalAveragePooling2D, SqueezeExcite};
use crate::nn::{Activation, Model};

/// MobileNetV2: 3,504,872 trained parameters for 1000 classes. Blocks widen the channels, convolve each by itself, and narrow
/// them again. Their usual numbers are multiplied by `width`, but for those of the last convolution where that makes them fewer.
/// Source: Sandler et al., 2018, <https://arxiv.org/abs/1801.04381>.
pub fn mobilenet_v2(input: [usize; 3], classes: usize, width: f64) -> Model {
    // Expansion, channels, blocks, first stride: table 2 of the paper.
    const STAGES: [(usize, usize, usize, usize); 7] =
        [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
    let relu6 = Activation::Relu6;
    let mut chain = Chain::new(input);
    chain.conv_norm(["features.0.0", "features.0.1"], conv(scaled(32, width), 3, 2), relu6);
    let (mut channels, mut number) = (scaled(32, width), 1);
    for (expansion, filters, blocks, stride) in STAGES {
        let filters = scaled(filters, width);
        for block in 0..blocks {
            let wide = channels * expansion;
            let name = |part: &str| format!("features.{number}.conv.{part}");
            let input = chain.last.clone();
            let stride = if block == 0 { stride } else { 1 };
            if expansion > 1 {
                chain.conv_norm([&name("0.0"), &name("0.1")], conv(wide, 1, 1), relu6);
            }
            let at = usize::from(expansion > 1);
            let depthwise = Conv2D { groups: wide, ..conv(wide, 3, stride) };
            chain.conv_norm([&name(&format!("{at}.0")), &name(&format!("{at}.1"))], depthwise, relu6);
            let narrow = [at + 1, at + 2].map(|part| name(&part.to_string()));
            chain.conv_norm([&narrow[0], &narrow[1]], conv(filters, 1, 1), Activation::Linear);
            if stride == 1 && channels == filters {
                chain.add(&format!("features.{number}.add"), &input);
            }
            channels = filters;
            number += 1;
        }
    }
    chain.conv_norm(["features.18.0", "features.18.1"], conv(scaled(1280, width.max(1.0)), 1, 1), relu6);
    chain.put(GlobalAveragePooling2D {}).dropout(0.2);
    chain.classes("classifier.1", classes)
}

/// A block of MobileNetV3: kernel, widened channels, channels, whether they are weighed, its activation, stride.
type BlockV3 = (usize, usize, usize, bool, Activation, usize);

const RE: Activation = Activation::Relu;
const HS: Activation = Activation::HardSwish;

/// MobileNetV3-Large: 5,483,032 trained parameters for 1000 classes. Of `width` as in [`mobilenet_v2`].
/// Source: Howard et al., 2019, <https://arxiv.org/abs/1905.02244>, table 1.
pub fn mobilenet_v3_large(input: [usize; 3], classes: usize, width: f64) -> Model {
    const BLOCKS: [BlockV3; 15] = [
        (3, 16, 16, false, RE, 1),
        (3, 64, 24, false, RE, 2),
        (3, 72, 24, false, RE, 1),
        (5, 72, 40, true, RE, 2),
        (5, 120, 40, true, RE, 1),
        (5, 120, 40, true, RE, 1),
        (3, 240, 80, false, HS, 2),
        (3, 200, 80, false, HS, 1),
        (3, 184, 80, false, HS, 1),
        (3, 184, 80, false, HS, 1),
        (3, 480, 112, true, HS, 1),
        (3, 672, 112, true, HS, 1),
        (5, 672, 160, true, HS, 2),
        (5, 960, 160, true, HS, 1),
        (5, 960, 160, true, HS, 1),
    ];
    mobilenet_v3(input, classes, width, &BLOCKS, 1280)
}

/// MobileNetV3-Small: 2,542,856 trained parameters for 1000 classes.
/// Source: as [`mobilenet_v3_large`], table 2.
pub fn mobilenet_v3_small(input: [usize; 3], classes: usize, width: f64) -> Model {
    const BLOCKS: [BlockV3; 11] = [
        (3, 16, 16, true, RE, 2),
        (3, 72, 24, false, RE, 2),
        (3, 88, 24, false, RE, 1),
        (5, 96, 40, true, HS, 2),
        (5, 240, 40, true, HS, 1),
        (5, 240, 40, true, HS, 1),
        (5, 120, 48, true, HS, 1),
        (5, 144, 48, true, HS, 1),
        (5, 288, 96, true, HS, 2),
        (5, 576, 96, true, HS, 1),
        (5, 576, 96, true, HS, 1),
    ];
    mobilenet_v3(input, classes, width, &BLOCKS, 1024)
}

fn mobilenet_v3(input: [usize; 3], classes: usize, width: f64, blocks: &[BlockV3], hidden: usize) -> Model {
    let mut chain = Chain::new(input);
    chain.normalization = BatchNormalization { momentum: 0.99, epsilon: 1e-3 };
    chain.conv_norm(["features.0.0", "features.0.1"], conv(scaled(16, width), 3, 2), HS);
    let (mut usual, mut channels) = (16, scaled(16, width));
    for (number, &(kernel, wide, filters, weighed, activation, stride)) in (1..).zip(blocks) {
        let wide = to_multiple_of_8((channels * wide) as f64 / usual as f64);
        let block = (kernel, wide, scaled(filters, width), weighed, activation, stride);
        inverted_residual(&mut chain, number, channels, block);
        (usual, channels) = (filters, block.2);
    }
    let last = blocks.len() + 1;
    let names = [0, 1].map(|part| format!("features.{last}.{part}"));
    chain.conv_norm([&names[0], &names[1]], conv(6 * channels, 1, 1), HS).put(GlobalAveragePooling2D {});
    chain.named("classifier.0", Dense { activation: HS, ..Dense::new(scaled(hidden, width.max(1.0))) }).dropout(0.2);
    chain.classes("classifier.3", classes)
}

fn inverted_residual(chain: &mut Chain, number: usize, channels: usize, block: BlockV3) {
    let (kernel, wide, filters, weighed, activation, stride) = block;
    let input = chain.last.clone();
    let mut part = 0;
    let mut next = || {
        part += 1;
        format!("features.{number}.block.{}", part - 1)
    };
    let conv_norm = |chain: &mut Chain, name: String, layer: Conv2D, activation: Activation| {
        chain.conv_norm([&format!("{name}.0"), &format!("{name}.1")], layer, activation);
    };
    if wide != channels {
        conv_norm(chain, next(), conv(wide, 1, 1), activation);
    }
    conv_norm(chain, next(), Conv2D { groups: wide, ..conv(wide, kernel, stride) }, activation);
    if weighed {
        let units = to_multiple_of_8(wide as f64 / 4.0);
        chain.named(&next(), SqueezeExcite { gate: Activation::HardSigmoid, ..SqueezeExcite::new(units) });
    }
    conv_norm(chain, next(), conv(filters, 1, 1), Activation::Linear);
    if stride == 1 && channels == filters {
        chain.add(&format!("features.{number}.add"), &input);
    }
}
