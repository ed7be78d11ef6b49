use crate::nn::layers::{Conv2D, Dense};
use crate::nn::{Activation, Model, Sequential};

/// The first convolutional network of many a Keras course: one convolution, one pooling, one hidden layer. For two
/// classes it ends in one sigmoid, else in a softmax.
pub fn keras_first(input: [usize; 3], classes: usize) -> Model {
    let (units, last) = if classes == 2 { (1, Activation::Sigmoid) } else { (classes, Activation::Softmax) };
    Sequential::new(input)
        .layer(Conv2D { activation: Activation::Relu, ..Conv2D::new(32, 3) })
        .max_pool2d(2)
        .flatten()
        .layer(Dense { activation: Activation::Relu, ..Dense::new(128) })
        .layer(Dense { activation: last, ..Dense::new(units) })
        .into()
}
