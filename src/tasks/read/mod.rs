//! Reading text. So far: from what a network says at each step to what stands there.

mod decode;

pub use decode::{beam_search, greedy};
