use std::cmp::Reverse;

use super::chain::{Chain, conv, to_multiple_of_8};
use crate::error::{Error, Result};
use crate::nn::layers::{Concatenate, Conv2D, Interpolation, Resizing, UpSampling2D};
use crate::nn::{Activation, FeatureMap, Initializer, Model, Pair};

/// How many pixels a place of each level stands for, along either axis.
const STRIDES: [usize; 3] = [8, 16, 32];
/// The probability of a class at a place before anything is learned.
const PRIOR: f64 = 0.1;

/// A detector in one stage and without anchors on `backbone`: `[n, h / 8, w / 8, 4 + classes]`. At each place four numbers for
/// how far the left, top, right and bottom edge of a thing are, and a logit for each class.
///
/// The backbone's last maps at an eighth, a sixteenth and a thirty-second of the picture are merged from coarse to fine (Lin
/// et al., 2016, <https://arxiv.org/abs/1612.03144>); where it ends earlier, more convolutions make the coarse ones. Two branches
/// follow, one for edges and one for classes (Tian et al., 2019, <https://arxiv.org/abs/1904.01355>).
///
/// Errors: if the backbone has no map at an eighth of the picture, nor one at a quarter from which to make it.
pub fn detector(backbone: &Model, classes: usize) -> Result<Model> {
    let maps = backbone.feature_maps()?;
    let found = STRIDES.map(|stride| map_of_stride(&maps, backbone.input, stride));
    let quarter = map_of_stride(&maps, backbone.input, STRIDES[0] / 2);
    let first = found[0].or(quarter).ok_or_else(|| {
        let [h, w, _] = backbone.input;
        let message = format!("makes no map of {}x{} or {}x{} places", h / 8, w / 8, h / 4, w / 4);
        Error::shape("network", format!("{message}, as a detector needs: take another, for instance resnet18"))
    })?;
    let channels = to_multiple_of_8(first.channels as f64).clamp(32, 128);
    let kept = found.iter().flatten().chain(found[0].is_none().then_some(&first)).map(|map| &map.layer);
    let no_outputs: [&str; 0] = [];
    let model = backbone.up_to(kept)?.with_outputs(no_outputs);
    let mut chain = Chain { model, last: first.layer.clone(), ..Chain::new(backbone.input) };
    let mut levels: Vec<(String, [usize; 2])> = Vec::new();
    for (map, stride) in found.into_iter().zip(STRIDES) {
        let names = ["conv", "bn"].map(|part| format!("detect.level{stride}.{part}"));
        let names = [names[0].as_str(), names[1].as_str()];
        let extents = match map {
            Some(map) => {
                chain.last.clone_from(&map.layer);
                chain.conv_norm(names, conv(channels, 1, 1), Activation::Relu);
                map.extents
            }
            None => {
                chain.conv_norm(names, conv(channels, 3, 2), Activation::Relu);
                levels.last().map_or(first.extents, |level| level.1).map(|extent| extent.div_ceil(2))
            }
        };
        levels.push((chain.last.clone(), extents));
    }
    merge(&mut chain, levels);
    chain.conv_norm(["detect.merged.conv", "detect.merged.bn"], conv(channels, 3, 1), Activation::Relu);
    let merged = chain.last.clone();
    let edges = branch(&mut chain, "detect.edges", channels, 4, 0.0);
    chain.last = merged;
    let logits = branch(&mut chain, "detect.classes", channels, classes, (PRIOR / (1.0 - PRIOR)).ln());
    chain.model.named("detect.all", Concatenate::default(), [&edges, &logits]);
    Ok(chain.model)
}

/// The last of the maps that comes nearest to the picture's extents by that stride, and within one place.
fn map_of_stride(maps: &[FeatureMap], [h, w, _]: [usize; 3], stride: usize) -> Option<&FeatureMap> {
    let off = |map: &FeatureMap| [(map.extents[0] * stride).abs_diff(h), (map.extents[1] * stride).abs_diff(w)];
    let near = maps.iter().enumerate().filter(|(_, map)| off(map).iter().all(|&off| off <= stride));
    near.min_by_key(|(at, map)| (off(map).iter().sum::<usize>(), Reverse(*at))).map(|(_, map)| map)
}

/// Adds each level, enlarged, to the next finer one.
fn merge(chain: &mut Chain, mut levels: Vec<(String, [usize; 2])>) {
    let Some((top, mut below)) = levels.pop() else { return };
    chain.last = top;
    for ((level, extents), stride) in levels.into_iter().zip(STRIDES).rev() {
        let name = format!("detect.level{stride}.enlarged");
        match below.map(|extent| 2 * extent) == extents {
            true => chain.named(&name, UpSampling2D { size: 2.into(), interpolation: Interpolation::Nearest }),
            false => {
                let [height, width] = extents;
                chain.named(&name, Resizing { height, width, interpolation: Interpolation::Nearest })
            }
        };
        chain.add(&format!("detect.level{stride}.add"), &level);
        below = extents;
    }
}

/// A 3x3 convolution with batch-norm, and one of single places that gives so many numbers.
fn branch(chain: &mut Chain, name: &str, channels: usize, numbers: usize, bias: f64) -> String {
    let names = ["conv", "bn"].map(|part| format!("{name}.{part}"));
    chain.conv_norm([&names[0], &names[1]], conv(channels, 3, 1), Activation::Relu);
    let last = Conv2D { bias_initializer: Initializer::Constant(bias), ..Conv2D::new(numbers, Pair::ONE) };
    chain.named(&format!("{name}.last"), last);
    chain.last.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::zoo;

    #[test]
    fn networks_of_the_zoo_become_detectors() {
        for (name, input) in [
            ("vgg-small", [64, 64, 3]),
            ("resnet18", [96, 160, 3]),
            ("resnet18", [100, 75, 3]),
            ("squeezenet", [224, 224, 3]),
            ("mobilenet_v2", [64, 64, 3]),
            ("mobilenet_v3_small", [64, 96, 3]),
            ("efficientnet_lite0", [64, 64, 3]),
            ("densenet121", [64, 64, 3]),
            ("resnet20", [64, 64, 1]),
            ("convnext_tiny", [64, 64, 3]),
        ] {
            let model = detector(&zoo::build(name, input, 2).unwrap(), 5).unwrap();
            let maps = model.feature_maps().unwrap();
            let last = maps.last().unwrap();
            assert_eq!(last.channels, 9, "{name}");
            let [h, w, _] = input;
            let near = |extent: usize, of: usize| (8 * extent).abs_diff(of) <= 8;
            assert!(near(last.extents[0], h) && near(last.extents[1], w), "{name}: {:?}", last.extents);
            let again = Model::parse(&model.to_toml().unwrap()).unwrap();
            assert_eq!(again.tensors().unwrap(), model.tensors().unwrap(), "{name}");
        }
    }

    #[test]
    fn without_maps_there_is_no_detector() {
        let message = detector(&zoo::build("vit_tiny", [224, 224, 3], 2).unwrap(), 5).unwrap_err().to_string();
        assert!(message.contains("makes no map of 28x28 or 56x56 places"), "{message}");
    }
}
