use super::layers::{
    ActivationLayer, AveragePooling2D, BatchNormalization, Conv2D, Dense, DepthwiseConv2D, Dropout, Flatten,
    GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D, Rescaling, Reshape, SeparableConv2D, ZeroPadding2D,
};
use super::{Activation, Edges, Layer, Model, Pair};

/// A network in which each layer takes the result of the one before, described from front to back.
///
/// ```
/// use ocellus::nn::{Model, Sequential};
///
/// let model: Model = Sequential::new([64, 64, 3])
///     .conv2d(32, 3).relu()
///     .max_pool2d(2)
///     .flatten()
///     .dense(128).relu()
///     .dense(1).sigmoid()
///     .into();
/// assert_eq!(model.summary()?.trained, 3_937_409);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Arguments are the attributes that must be given; for the others, pass the layer:
/// `.layer(Conv2D { padding: Padding::Same, ..Conv2D::new(32, 3) })`.
#[derive(Clone, Debug)]
pub struct Sequential {
    model: Model,
    last: String,
}

impl From<Sequential> for Model {
    fn from(sequential: Sequential) -> Self {
        sequential.model
    }
}

impl Sequential {
    /// For pictures of that height, width and number of channels.
    pub fn new(input: [usize; 3]) -> Self {
        Self { model: Model::new(input), last: Model::INPUT.into() }
    }

    /// Any layer.
    pub fn layer(mut self, layer: impl Layer) -> Self {
        self.last = self.model.layer(layer, [&self.last]);
        self
    }

    /// Any layer, under a name.
    pub fn named(mut self, name: &str, layer: impl Layer) -> Self {
        self.last = self.model.named(name, layer, [&self.last]);
        self
    }

    /// [`Conv2D`].
    pub fn conv2d(self, filters: usize, kernel: impl Into<Pair>) -> Self {
        self.layer(Conv2D::new(filters, kernel))
    }

    /// [`DepthwiseConv2D`].
    pub fn depthwise_conv2d(self, kernel: impl Into<Pair>) -> Self {
        self.layer(DepthwiseConv2D::new(kernel))
    }

    /// [`SeparableConv2D`].
    pub fn separable_conv2d(self, filters: usize, kernel: impl Into<Pair>) -> Self {
        self.layer(SeparableConv2D::new(filters, kernel))
    }

    /// [`MaxPooling2D`].
    pub fn max_pool2d(self, size: impl Into<Pair>) -> Self {
        self.layer(MaxPooling2D::new(size))
    }

    /// [`AveragePooling2D`].
    pub fn average_pool2d(self, size: impl Into<Pair>) -> Self {
        self.layer(AveragePooling2D::new(size))
    }

    /// [`GlobalAveragePooling2D`].
    pub fn global_average_pool2d(self) -> Self {
        self.layer(GlobalAveragePooling2D {})
    }

    /// [`GlobalMaxPooling2D`].
    pub fn global_max_pool2d(self) -> Self {
        self.layer(GlobalMaxPooling2D {})
    }

    /// [`Flatten`].
    pub fn flatten(self) -> Self {
        self.layer(Flatten {})
    }

    /// [`Reshape`].
    pub fn reshape(self, target_shape: impl Into<Vec<i64>>) -> Self {
        self.layer(Reshape { target_shape: target_shape.into() })
    }

    /// [`Dense`].
    pub fn dense(self, units: usize) -> Self {
        self.layer(Dense::new(units))
    }

    /// [`Dropout`].
    pub fn dropout(self, rate: f64) -> Self {
        self.layer(Dropout { rate })
    }

    /// [`BatchNormalization`].
    pub fn batch_normalization(self) -> Self {
        self.layer(BatchNormalization::default())
    }

    /// [`ZeroPadding2D`].
    pub fn zero_padding2d(self, padding: impl Into<Edges>) -> Self {
        self.layer(ZeroPadding2D { padding: padding.into() })
    }

    /// [`Rescaling`].
    pub fn rescaling(self, scale: f64, offset: f64) -> Self {
        self.layer(Rescaling { scale, offset })
    }

    /// [`ActivationLayer`].
    pub fn activation(self, activation: Activation) -> Self {
        self.layer(ActivationLayer { activation })
    }

    /// [`Activation::Relu`].
    pub fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// [`Activation::Tanh`].
    pub fn tanh(self) -> Self {
        self.activation(Activation::Tanh)
    }

    /// [`Activation::Silu`].
    pub fn silu(self) -> Self {
        self.activation(Activation::Silu)
    }

    /// [`Activation::Gelu`].
    pub fn gelu(self) -> Self {
        self.activation(Activation::Gelu)
    }

    /// [`Activation::Sigmoid`].
    pub fn sigmoid(self) -> Self {
        self.activation(Activation::Sigmoid)
    }

    /// [`Activation::Softmax`].
    pub fn softmax(self) -> Self {
        self.activation(Activation::Softmax)
    }
}
