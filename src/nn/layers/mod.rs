//! The layers, one file each or a small family, under Keras's names and with its defaults.

mod activation;
mod attention;
mod batch_normalization;
mod conv1d;
mod conv2d;
mod conv2d_transpose;
mod cosine_dense;
mod cropping2d;
mod dense;
mod depthwise_conv2d;
mod dropout;
mod embedding;
mod expression;
mod frames;
mod global_pooling;
mod layer_scale;
mod merge;
mod normalization;
mod onnx;
mod permute;
mod pooling;
mod pooling1d;
mod prelu;
mod recurrent;
mod rescaling;
mod reshape;
mod resizing;
mod sampling;
mod separable_conv2d;
mod squeeze_excite;
mod unit_normalization;
mod up_sampling2d;
mod zero_padding2d;

pub use activation::ActivationLayer;
pub use attention::{ClassToken, CrossAttention, FirstToken, MultiHeadAttention, PositionEmbedding};
pub use batch_normalization::BatchNormalization;
pub use conv1d::Conv1D;
pub use conv2d::Conv2D;
pub use conv2d_transpose::Conv2DTranspose;
pub use cosine_dense::CosineDense;
pub use cropping2d::Cropping2D;
pub use dense::Dense;
pub use depthwise_conv2d::DepthwiseConv2D;
pub use dropout::{DropPath, Dropout, SpatialDropout2D};
pub use embedding::Embedding;
pub use expression::{Expression, Formula};
pub use frames::{JoinFrames, SplitFrames};
pub use global_pooling::{GlobalAveragePooling2D, GlobalMaxPooling2D};
pub use layer_scale::LayerScale;
pub use merge::{Add, Average, Concatenate, Maximum, Multiply};
pub use normalization::{GroupNormalization, InstanceNormalization, LayerNormalization, RmsNormalization};
pub use onnx::OnnxNetwork;
pub use permute::Permute;
pub use pooling::{AveragePooling2D, MaxPooling2D};
pub use pooling1d::{AveragePooling1D, GlobalAveragePooling1D, GlobalMaxPooling1D, MaxPooling1D};
pub use prelu::PReLU;
pub use recurrent::{GRU, LSTM, SimpleRNN};
pub use rescaling::Rescaling;
pub use reshape::{Flatten, Reshape};
pub use resizing::{Interpolation, Resizing};
pub use sampling::Sampling;
pub use separable_conv2d::SeparableConv2D;
pub use squeeze_excite::SqueezeExcite;
pub use unit_normalization::UnitNormalization;
pub use up_sampling2d::UpSampling2D;
pub use zero_padding2d::ZeroPadding2D;

use super::LayerType;

/// Every layer that model files know.
pub const TYPES: &[LayerType] = &[
    LayerType::of::<Conv2D>("conv2d"),
    LayerType::of::<Conv2DTranspose>("conv2d_transpose"),
    LayerType::of::<DepthwiseConv2D>("depthwise_conv2d"),
    LayerType::of::<SeparableConv2D>("separable_conv2d"),
    LayerType::of::<MaxPooling2D>("max_pool2d"),
    LayerType::of::<AveragePooling2D>("average_pool2d"),
    LayerType::of::<GlobalAveragePooling2D>("global_average_pool2d"),
    LayerType::of::<GlobalMaxPooling2D>("global_max_pool2d"),
    LayerType::of::<Conv1D>("conv1d"),
    LayerType::of::<MaxPooling1D>("max_pool1d"),
    LayerType::of::<AveragePooling1D>("average_pool1d"),
    LayerType::of::<GlobalAveragePooling1D>("global_average_pool1d"),
    LayerType::of::<GlobalMaxPooling1D>("global_max_pool1d"),
    LayerType::of::<Flatten>("flatten"),
    LayerType::of::<Reshape>("reshape"),
    LayerType::of::<Dense>("dense"),
    LayerType::of::<CosineDense>("cosine_dense"),
    LayerType::of::<ActivationLayer>("activation"),
    LayerType::of::<Dropout>("dropout"),
    LayerType::of::<SpatialDropout2D>("spatial_dropout2d"),
    LayerType::of::<DropPath>("drop_path"),
    LayerType::of::<PReLU>("prelu"),
    LayerType::of::<LayerNormalization>("layer_normalization"),
    LayerType::of::<GroupNormalization>("group_normalization"),
    LayerType::of::<InstanceNormalization>("instance_normalization"),
    LayerType::of::<RmsNormalization>("rms_normalization"),
    LayerType::of::<UnitNormalization>("unit_normalization"),
    LayerType::of::<BatchNormalization>("batch_normalization"),
    LayerType::of::<Add>("add"),
    LayerType::of::<Multiply>("multiply"),
    LayerType::of::<Average>("average"),
    LayerType::of::<Maximum>("maximum"),
    LayerType::of::<Concatenate>("concatenate"),
    LayerType::of::<SqueezeExcite>("squeeze_excite"),
    LayerType::of::<LayerScale>("layer_scale"),
    LayerType::of::<MultiHeadAttention>("multi_head_attention"),
    LayerType::of::<CrossAttention>("cross_attention"),
    LayerType::of::<ClassToken>("class_token"),
    LayerType::of::<FirstToken>("first_token"),
    LayerType::of::<PositionEmbedding>("position_embedding"),
    LayerType::of::<Embedding>("embedding"),
    LayerType::of::<SplitFrames>("split_frames"),
    LayerType::of::<JoinFrames>("join_frames"),
    LayerType::of::<SimpleRNN>("simple_rnn"),
    LayerType::of::<LSTM>("lstm"),
    LayerType::of::<GRU>("gru"),
    LayerType::of::<Sampling>("sampling"),
    LayerType::of::<Permute>("permute"),
    LayerType::of::<Cropping2D>("cropping2d"),
    LayerType::of::<UpSampling2D>("up_sampling2d"),
    LayerType::of::<Resizing>("resizing"),
    LayerType::of::<ZeroPadding2D>("zero_padding2d"),
    LayerType::of::<Rescaling>("rescaling"),
    LayerType::of::<Expression>("expression"),
    LayerType::of::<OnnxNetwork>("onnx"),
];

/// For attributes that are on unless switched off.
fn yes() -> bool {
    true
}

/// For attributes that count, and change nothing if they are 1.
fn one() -> usize {
    1
}
