use super::chain::Chain;
use crate::nn::layers::{
    ClassToken, Conv2D, Dense, FirstToken, LayerNormalization, MultiHeadAttention, PositionEmbedding, Reshape,
};
use crate::nn::{Activation, Model};

/// ViT-Ti/16: 5,717,416 trained parameters for 1000 classes on 224x224 pictures; names are those of timm.
/// Source: Dosovitskiy et al., 2021, <https://arxiv.org/abs/2010.11929>; Touvron et al., 2021,
/// <https://arxiv.org/abs/2012.12877>.
pub fn vit_tiny(input: [usize; 3], classes: usize) -> Model {
    vit(input, classes, 192, 3)
}

/// ViT-S/16: 22,050,664 trained parameters for 1000 classes on 224x224 pictures.
/// Source: as [`vit_tiny`].
pub fn vit_small(input: [usize; 3], classes: usize) -> Model {
    vit(input, classes, 384, 6)
}

/// Patches of 16x16 pixels become tokens, which twelve blocks of attention and dense layers work on.
fn vit(input: [usize; 3], classes: usize, width: usize, heads: usize) -> Model {
    const BLOCKS: usize = 12;
    const PATCH: usize = 16;
    let normalization = || LayerNormalization { epsilon: 1e-6 };
    let mut chain = Chain::new(input);
    chain.named("patch_embed.proj", Conv2D { strides: PATCH.into(), ..Conv2D::new(width, PATCH) });
    chain.put(Reshape { target_shape: vec![-1, width as i64] });
    chain.named("cls_token", ClassToken {}).named("pos_embed", PositionEmbedding {});
    for block in 0..BLOCKS {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let input = chain.last.clone();
        chain.named(&name("norm1"), normalization()).named(&name("attn"), MultiHeadAttention { heads });
        chain.add(&name("add1"), &input);
        let input = chain.last.clone();
        chain.named(&name("norm2"), normalization());
        chain.named(&name("mlp.fc1"), Dense { activation: Activation::Gelu, ..Dense::new(4 * width) });
        chain.named(&name("mlp.fc2"), Dense::new(width));
        chain.add(&name("add2"), &input);
    }
    chain.named("norm", normalization()).put(FirstToken {});
    chain.classes("head", classes)
}
