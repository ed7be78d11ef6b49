use super::chain::Chain;
use crate::nn::layers::{Conv2D, Dense, DropPath, GlobalAveragePooling2D, LayerNormalization, LayerScale};
use crate::nn::{Activation, Initializer, Model};
use crate::ops::Padding;

/// ConvNeXt-T: 28,589,128 trained parameters for 1000 classes.
/// Source: Liu et al., 2022, <https://arxiv.org/abs/2201.03545>.
pub fn convnext_tiny(input: [usize; 3], classes: usize) -> Model {
    const STAGES: [(usize, usize); 4] = [(96, 3), (192, 3), (384, 9), (768, 3)];
    /// Share of the last block's pictures that skip it; of earlier blocks, in proportion to their number.
    const DROPPED: f64 = 0.1;
    let total: usize = STAGES.iter().map(|(_, blocks)| blocks).sum();
    let mut chain = Chain::new(input);
    chain.named("features.0.0", patches(96, 4)).named("features.0.1", normalization());
    let mut number = 0;
    for (stage, (filters, blocks)) in STAGES.into_iter().enumerate() {
        if stage > 0 {
            let name = |part: usize| format!("features.{}.{part}", 2 * stage);
            chain.named(&name(0), normalization()).named(&name(1), patches(filters, 2));
        }
        for index in 0..blocks {
            let rate = DROPPED * number as f64 / (total - 1) as f64;
            block(&mut chain, &format!("features.{}.{index}", 2 * stage + 1), filters, rate);
            number += 1;
        }
    }
    chain.put(GlobalAveragePooling2D {}).named("classifier.0", normalization());
    chain.classes("classifier.2", classes)
}

fn normalization() -> LayerNormalization {
    LayerNormalization { epsilon: 1e-6 }
}

/// A convolution of patches that do not overlap.
fn patches(filters: usize, size: usize) -> Conv2D {
    let kernel_initializer = Initializer::TruncatedNormal;
    Conv2D { strides: size.into(), kernel_initializer, ..Conv2D::new(filters, size) }
}

/// Each channel by itself over 7x7 places, then four times as many and back at each place.
fn block(chain: &mut Chain, name: &str, filters: usize, rate: f64) {
    let input = chain.last.clone();
    let part = |part: usize| format!("{name}.block.{part}");
    let kernel_initializer = Initializer::TruncatedNormal;
    let padding = Padding::Explicit([3; 4]);
    chain.named(&part(0), Conv2D { padding, groups: filters, kernel_initializer, ..Conv2D::new(filters, 7) });
    chain.named(&part(2), normalization());
    chain.named(&part(3), Dense { activation: Activation::Gelu, kernel_initializer, ..Dense::new(4 * filters) });
    chain.named(&part(5), Dense { kernel_initializer, ..Dense::new(filters) });
    chain.named(name, LayerScale::default());
    if rate > 0.0 {
        chain.put(DropPath { rate });
    }
    chain.add(&format!("{name}.add"), &input);
}
