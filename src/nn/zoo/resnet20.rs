use super::resnet::Residual;
use crate::nn::layers::{BatchNormalization, Dense, GlobalAveragePooling2D};
use crate::nn::{Activation, Model};

/// ResNet-20 in its form for CIFAR: three stages of three blocks with 16, 32 and 64 channels; shortcuts that change
/// shape are 1x1 convolutions with batch-norm (the paper's option B). 272,474 trained parameters for ten classes.
/// Source: He, Zhang, Ren & Sun, 2016, <https://arxiv.org/abs/1512.03385>, section 4.2.
pub fn resnet20(input: [usize; 3], classes: usize) -> Model {
    let normalization = BatchNormalization { momentum: 0.9, epsilon: 1e-5 };
    let mut network = Residual { model: Model::new(input), last: Model::INPUT.into(), normalization };
    let stem = network.conv(["conv1", "bn1"], Model::INPUT, 16, 3, 1);
    network.last = network.relu(stem);
    network.stages(&[16, 32, 64], 3);
    let Residual { mut model, last, .. } = network;
    let pooled = model.layer(GlobalAveragePooling2D {}, [last]);
    model.named("fc", Dense { activation: Activation::Softmax, ..Dense::new(classes) }, [pooled]);
    model
}
