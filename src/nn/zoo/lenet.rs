use crate::nn::layers::{Conv2D, Dense};
use crate::nn::{Activation, Edges, Model, Sequential};

/// LeNet-5 for handwritten digits: 61,706 parameters for ten classes of grey pictures. Smaller pictures are padded to
/// 32x32, as in the paper; as is usual today, pooling has no weights, the second convolution sees all channels, and the
/// end is a softmax.
/// Source: LeCun, Bottou, Bengio & Haffner, 1998, <https://doi.org/10.1109/5.726791>.
pub fn lenet(input: [usize; 3], classes: usize) -> Model {
    let tanh = Activation::Tanh;
    let conv = |filters| Conv2D { activation: tanh, ..Conv2D::new(filters, 5) };
    let dense = |units| Dense { activation: tanh, ..Dense::new(units) };
    let missing = |extent: usize| 32_usize.saturating_sub(extent);
    let [vertical, horizontal] = [missing(input[0]), missing(input[1])];
    let mut network = Sequential::new(input);
    if vertical + horizontal > 0 {
        let edges = [vertical / 2, vertical.div_ceil(2), horizontal / 2, horizontal.div_ceil(2)];
        network = network.zero_padding2d(Edges(edges));
    }
    network
        .layer(conv(6))
        .average_pool2d(2)
        .layer(conv(16))
        .average_pool2d(2)
        .flatten()
        .layer(dense(120))
        .layer(dense(84))
        .dense(classes)
        .softmax()
        .into()
}
