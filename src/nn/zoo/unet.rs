use super::chain::{Chain, conv, scaled};
use crate::nn::layers::{Conv2D, Conv2DTranspose, MaxPooling2D, ZeroPadding2D};
use crate::nn::{Activation, Model, Pair};

/// U-Net with batch-norm: 31,037,633 trained parameters for two classes on colour pictures. Four halvings and as many
/// doublings, each joined with the map of its size from the way down; odd extents are made up by zeros.
///
/// The result has the pictures' height and width: for two classes the probability of the second, else one for each class.
/// Names are those of milesial's Pytorch-UNet.
/// Source: Ronneberger, Fischer & Brox, 2015, <https://arxiv.org/abs/1505.04597>.
pub fn unet(input: [usize; 3], classes: usize, width: f64) -> Model {
    let filters = [64, 128, 256, 512, 1024].map(|channels| scaled(channels, width));
    let mut chain = Chain::new(input);
    double_conv(&mut chain, "inc.double_conv", filters[0]);
    // Results on the way down, with their extents.
    let mut passed = Vec::new();
    let mut extents = [input[0], input[1]];
    for number in 1..filters.len() {
        passed.push((chain.last.clone(), extents, filters[number - 1]));
        extents = extents.map(|extent| extent / 2);
        chain.put(MaxPooling2D::new(2));
        double_conv(&mut chain, &format!("down{number}.maxpool_conv.1.double_conv"), filters[number]);
    }
    for (number, (skipped, size, filters)) in (1..).zip(passed.into_iter().rev()) {
        let up = Conv2DTranspose { strides: 2.into(), ..Conv2DTranspose::new(filters, 2) };
        chain.named(&format!("up{number}.up"), up);
        let [below, right] = [0, 1].map(|axis| size[axis] - 2 * extents[axis]);
        if below + right > 0 {
            chain.put(ZeroPadding2D { padding: [[0, below], [0, right]].into() });
        }
        chain.concatenate(&[skipped]);
        double_conv(&mut chain, &format!("up{number}.conv.double_conv"), filters);
        extents = size;
    }
    let (channels, activation) = if classes > 2 { (classes, Activation::Softmax) } else { (1, Activation::Sigmoid) };
    chain.named("outc.conv", Conv2D { activation, ..Conv2D::new(channels, Pair::ONE) });
    chain.model
}

/// Two 3x3 convolutions with batch-norm.
fn double_conv(chain: &mut Chain, name: &str, filters: usize) {
    for part in [0, 3] {
        let names = [part, part + 1].map(|part| format!("{name}.{part}"));
        chain.conv_norm([&names[0], &names[1]], conv(filters, 3, 1), Activation::Relu);
    }
}
