use super::resnet::Residual;
use crate::nn::layers::{BatchNormalization, Dense, GlobalAveragePooling2D, MaxPooling2D};
use crate::nn::{Activation, Model, Pair};
use crate::ops::Padding;

/// ResNet-18 in its form for ImageNet: a 7x7 convolution, a pooling, four stages of two blocks with 64 to 512 channels.
/// 11,689,512 trained parameters for 1000 classes. Height and width shrink by 32.
/// Source: He, Zhang, Ren & Sun, 2016, <https://arxiv.org/abs/1512.03385>, table 1.
pub fn resnet18(input: [usize; 3], classes: usize) -> Model {
    let normalization = BatchNormalization { momentum: 0.9, epsilon: 1e-5 };
    let mut network = Residual { model: Model::new(input), last: Model::INPUT.into(), normalization };
    let stem = network.conv(["conv1", "bn1"], Model::INPUT, 64, 7, 2);
    let stem = network.relu(stem);
    let pool = MaxPooling2D { strides: Some(Pair([2, 2])), padding: Padding::Explicit([1; 4]), ..MaxPooling2D::new(3) };
    network.last = network.model.named("maxpool", pool, [stem]);
    network.stages(&[64, 128, 256, 512], 2);
    let Residual { mut model, last, .. } = network;
    let pooled = model.layer(GlobalAveragePooling2D {}, [last]);
    model.named("fc", Dense { activation: Activation::Softmax, ..Dense::new(classes) }, [pooled]);
    model
}
