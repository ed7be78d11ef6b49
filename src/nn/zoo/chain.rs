use crate::nn::layers::{ActivationLayer, Add, BatchNormalization, Concatenate, Conv2D, Dense, Dropout, MaxPooling2D};
use crate::nn::{Activation, Initializer, Layer, Model, Pair};
use crate::ops::Padding;

/// A network in the making, whose newest layer the next one follows unless it is told otherwise. Names are those of
/// torchvision's state dictionaries, so that its weights fit.
pub(super) struct Chain {
    pub model: Model,
    /// The newest result.
    pub last: String,
    pub normalization: BatchNormalization,
}

impl Chain {
    /// With PyTorch's batch-norm.
    pub fn new(input: [usize; 3]) -> Self {
        let normalization = BatchNormalization { momentum: 0.9, epsilon: 1e-5 };
        Self { model: Model::new(input), last: Model::INPUT.into(), normalization }
    }

    pub fn put(&mut self, layer: impl Layer) -> &mut Self {
        self.last = self.model.layer(layer, [&self.last]);
        self
    }

    pub fn named(&mut self, name: &str, layer: impl Layer) -> &mut Self {
        self.last = self.model.named(name, layer, [&self.last]);
        self
    }

    pub fn activation(&mut self, activation: Activation) -> &mut Self {
        match activation {
            Activation::Linear => self,
            activation => self.put(ActivationLayer { activation }),
        }
    }

    /// A convolution without bias, batch-norm and an activation.
    pub fn conv_norm(&mut self, [conv, norm]: [&str; 2], layer: Conv2D, activation: Activation) -> &mut Self {
        let layer = Conv2D { use_bias: false, kernel_initializer: Initializer::HeNormal, ..layer };
        let normalization = self.normalization.clone();
        self.named(conv, layer).named(norm, normalization).activation(activation)
    }

    /// The sum with an earlier result.
    pub fn add(&mut self, name: &str, other: &str) -> &mut Self {
        self.last = self.model.named(name, Add {}, [self.last.as_str(), other]);
        self
    }

    /// Earlier results and the newest, by channels.
    pub fn concatenate(&mut self, earlier: &[String]) -> &mut Self {
        let inputs = earlier.iter().chain([&self.last]);
        self.last = self.model.layer(Concatenate::default(), inputs);
        self
    }

    /// A pooling of 3x3 with stride 2.
    pub fn max_pool3(&mut self, padding: usize) -> &mut Self {
        let padding = Padding::Explicit([padding; 4]);
        self.put(MaxPooling2D { strides: Some(Pair([2, 2])), padding, ..MaxPooling2D::new(3) })
    }

    pub fn dropout(&mut self, rate: f64) -> &mut Self {
        self.put(Dropout { rate })
    }

    /// A dense layer with a probability for each class.
    pub fn classes(mut self, name: &str, classes: usize) -> Model {
        self.named(name, Dense { activation: Activation::Softmax, ..Dense::new(classes) });
        self.model
    }
}

/// A convolution with padding that keeps the extents at stride 1.
pub(super) fn conv(filters: usize, kernel: usize, stride: usize) -> Conv2D {
    let padding = Padding::Explicit([kernel / 2; 4]);
    Conv2D {
        strides: stride.into(),
        padding,
        kernel_initializer: Initializer::HeNormal,
        ..Conv2D::new(filters, kernel)
    }
}

/// So many channels in a network of that width.
pub(super) fn scaled(channels: usize, width: f64) -> usize {
    if width == 1.0 { channels } else { to_multiple_of_8(channels as f64 * width) }
}

/// The multiple of 8 next to `value`, at least 8, and not less than nine tenths of it: how mobile networks count channels.
pub(super) fn to_multiple_of_8(value: f64) -> usize {
    let rounded = ((value + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * value { rounded + 8 } else { rounded }
}
