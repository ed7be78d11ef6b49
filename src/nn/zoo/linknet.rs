use super::chain::{Chain, conv, scaled};
use crate::nn::layers::{Conv2D, Conv2DTranspose, Interpolation, MaxPooling2D, Resizing};
use crate::nn::{Activation, Model, Pair};
use crate::ops::Padding;

/// LinkNet with half the channels of the original and a plain pair of convolutions in place of each two residual blocks: a light
/// network for maps of classes, 1,278,507 trained parameters for two classes on colour pictures. Five halvings, as many
/// doublings, and sums with the maps from the way down. Extents that are no multiples of 32 are interpolated on the way up.
///
/// The result has the pictures' height and width: for two classes the probability of the second, else one for each class.
/// Source: Chaurasia & Culurciello, 2017, <https://arxiv.org/abs/1707.03718>.
pub fn linknet(input: [usize; 3], classes: usize, width: f64) -> Model {
    let filters = [32, 64, 128, 256].map(|channels| scaled(channels, width));
    let mut chain = Chain::new(input);
    chain.conv_norm(["stem.conv", "stem.norm"], conv(filters[0], 7, 2), Activation::Relu);
    let mut extents = [input[0].div_ceil(2), input[1].div_ceil(2)];
    let stem = (chain.last.clone(), extents);
    chain.put(MaxPooling2D { padding: Padding::Same, ..MaxPooling2D::new(2) });
    extents = extents.map(|extent| extent.div_ceil(2));
    let mut passed = Vec::new();
    for (number, &channels) in (1..).zip(&filters) {
        let stride = if number == 1 { 1 } else { 2 };
        if stride == 2 {
            passed.push((chain.last.clone(), extents, channels));
            extents = extents.map(|extent| extent.div_ceil(2));
        }
        encode(&mut chain, &format!("encoder{number}"), channels, stride);
    }
    for (number, (skipped, extents, below)) in (1..).zip(passed.into_iter().rev()) {
        let channels = filters[filters.iter().position(|&f| f == below).unwrap_or(1) - 1];
        let name = format!("decoder{number}");
        decode(&mut chain, &name, [below / 4, channels], extents).add(&format!("{name}.sum"), &skipped);
    }
    let (stem, extents) = stem;
    decode(&mut chain, "decoder4", [filters[0] / 4, filters[0]], extents).add("decoder4.sum", &stem);
    chain.conv_norm(["head.conv", "head.norm"], conv(filters[0], 3, 1), Activation::Relu);
    let (channels, activation) = if classes > 2 { (classes, Activation::Softmax) } else { (1, Activation::Sigmoid) };
    double(&mut chain, "head.up", channels, [input[0], input[1]])
        .named("head.classes", Conv2D { activation, ..Conv2D::new(channels, Pair::ONE) });
    chain.model
}

/// Two 3x3 convolutions and a sum around them.
fn encode(chain: &mut Chain, name: &str, filters: usize, stride: usize) {
    let part = |what: &str| format!("{name}.{what}");
    chain.conv_norm([&part("conv1"), &part("norm1")], conv(filters, 3, stride), Activation::Relu);
    let first = chain.last.clone();
    chain.conv_norm([&part("conv2"), &part("norm2")], conv(filters, 3, 1), Activation::Linear);
    chain.add(&part("sum"), &first).activation(Activation::Relu);
}

/// Twice the extents, in a quarter of the channels.
fn decode<'a>(chain: &'a mut Chain, name: &str, [inner, outer]: [usize; 2], extents: [usize; 2]) -> &'a mut Chain {
    let part = |what: &str| format!("{name}.{what}");
    chain.conv_norm([&part("conv1"), &part("norm1")], Conv2D::new(inner, 1), Activation::Relu);
    double(chain, &part("up"), inner, extents);
    chain.conv_norm([&part("conv2"), &part("norm2")], Conv2D::new(outer, 1), Activation::Relu)
}

fn double<'a>(chain: &'a mut Chain, name: &str, filters: usize, extents: [usize; 2]) -> &'a mut Chain {
    let up = Conv2DTranspose { strides: 2.into(), padding: Padding::Same, ..Conv2DTranspose::new(filters, 3) };
    chain.named(name, up);
    let [height, width] = extents;
    if height % 2 + width % 2 > 0 {
        chain.put(Resizing { height, width, interpolation: Interpolation::Bilinear });
    }
    chain
}
