//! Residual networks: He, Zhang, Ren & Sun, 2016, <https://arxiv.org/abs/1512.03385>, and ResNeXt: Xie, Girshick, Dollár, Tu &
//! He, 2017, <https://arxiv.org/abs/1611.05431>.

use super::chain::{Chain, conv, scaled};
use crate::nn::layers::{Conv2D, GlobalAveragePooling2D};
use crate::nn::{Activation, Model};

/// What a block is made of.
#[derive(Clone, Copy)]
enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// A 3x3 convolution between two 1x1 ones, of which the last has four times the channels.
    Bottleneck {
        /// Parts of the 3x3 convolution.
        groups: usize,
        /// Channels of the 3x3 convolution for each of the stage's.
        width: usize,
    },
}

impl Block {
    fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck { .. } => 4,
        }
    }
}

/// ResNet-18: 11,689,512 trained parameters for 1000 classes. Height and width shrink by 32.
pub fn resnet18(input: [usize; 3], classes: usize, width: f64) -> Model {
    imagenet(input, classes, width, Block::Basic, [2, 2, 2, 2])
}

/// ResNet-34: 21,797,672 trained parameters for 1000 classes.
pub fn resnet34(input: [usize; 3], classes: usize, width: f64) -> Model {
    imagenet(input, classes, width, Block::Basic, [3, 4, 6, 3])
}

/// ResNet-50: 25,557,032 trained parameters for 1000 classes. The 3x3 convolution of a block has its stride, as in
/// torchvision.
pub fn resnet50(input: [usize; 3], classes: usize) -> Model {
    imagenet(input, classes, 1.0, Block::Bottleneck { groups: 1, width: 1 }, [3, 4, 6, 3])
}

/// ResNeXt-50 (32x4d): 25,028,904 trained parameters for 1000 classes.
pub fn resnext50(input: [usize; 3], classes: usize) -> Model {
    imagenet(input, classes, 1.0, Block::Bottleneck { groups: 32, width: 2 }, [3, 4, 6, 3])
}

/// ResNet-20 in its form for CIFAR: three stages of three blocks with 16, 32 and 64 channels; shortcuts that change
/// shape are 1x1 convolutions with batch-norm (the paper's option B). 272,474 trained parameters for ten classes.
/// Source: section 4.2 of the paper.
pub fn resnet20(input: [usize; 3], classes: usize, width: f64) -> Model {
    let [a, b, c] = [16, 32, 64].map(|channels| scaled(channels, width));
    let mut chain = Chain::new(input);
    chain.conv_norm(["conv1", "bn1"], conv(a, 3, 1), Activation::Relu);
    stages(&mut chain, Block::Basic, a, &[(a, 3), (b, 3), (c, 3)]);
    chain.put(GlobalAveragePooling2D {});
    chain.classes("fc", classes)
}

/// The form for ImageNet, table 1 of the paper: a 7x7 convolution, a pooling, four stages.
fn imagenet(input: [usize; 3], classes: usize, width: f64, block: Block, blocks: [usize; 4]) -> Model {
    let filters = [64, 128, 256, 512].map(|channels| scaled(channels, width));
    let mut chain = Chain::new(input);
    chain.conv_norm(["conv1", "bn1"], conv(filters[0], 7, 2), Activation::Relu).max_pool3(1);
    let all: Vec<(usize, usize)> = filters.into_iter().zip(blocks).collect();
    stages(&mut chain, block, filters[0], &all);
    chain.put(GlobalAveragePooling2D {});
    chain.classes("fc", classes)
}

/// Stages of so many channels and blocks: the first keeps the extents, the others halve them.
fn stages(chain: &mut Chain, block: Block, mut channels: usize, stages: &[(usize, usize)]) {
    for (stage, &(filters, blocks)) in stages.iter().enumerate() {
        for number in 0..blocks {
            let stride = if stage > 0 && number == 0 { 2 } else { 1 };
            let name = format!("layer{}.{number}", stage + 1);
            residual(chain, &name, block, filters, stride, channels);
            channels = filters * block.expansion();
        }
    }
}

/// A block beside a shortcut, which is a 1x1 convolution where the extents or channels change.
fn residual(chain: &mut Chain, name: &str, block: Block, filters: usize, stride: usize, channels: usize) {
    const RELU: Activation = Activation::Relu;
    let input = chain.last.clone();
    let result = filters * block.expansion();
    let mut step = |number: usize, layer: Conv2D, activation: Activation| {
        let names = ["conv", "bn"].map(|part| format!("{name}.{part}{number}"));
        chain.conv_norm([&names[0], &names[1]], layer, activation);
    };
    match block {
        Block::Basic => {
            step(1, conv(filters, 3, stride), RELU);
            step(2, conv(filters, 3, 1), Activation::Linear);
        }
        Block::Bottleneck { groups, width } => {
            step(1, conv(filters * width, 1, 1), RELU);
            step(2, Conv2D { groups, ..conv(filters * width, 3, stride) }, RELU);
            step(3, conv(result, 1, 1), Activation::Linear);
        }
    }
    let main = std::mem::replace(&mut chain.last, input.clone());
    if stride > 1 || channels != result {
        let names = [0, 1].map(|i| format!("{name}.downsample.{i}"));
        chain.conv_norm([&names[0], &names[1]], conv(result, 1, stride), Activation::Linear);
    }
    chain.add(&format!("{name}.add"), &main).activation(RELU);
}
