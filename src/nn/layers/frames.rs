use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::Value;
use crate::nn::builder::sample;
use crate::nn::{Builder, Layer};
use crate::ops;

/// Makes a picture of each frame of a sequence, so that the layers that follow see one frame at a time, with the same weights:
/// `[n, frames · h, w, c]`, frames one below another, to `[n · frames, h, w, c]`. The counterpart is [`JoinFrames`]; what stands
/// between them is what Keras wraps in `TimeDistributed`. Dropout there counts frames: a step that is computed in parts drops others
/// than one computed at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFrames {
    /// Frames of a sequence.
    pub frames: usize,
}

/// Makes sequences of the frames' features: `[n · frames, ..]` to `[n, frames, c]`, for recurrent layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinFrames {
    /// Frames of a sequence.
    pub frames: usize,
}

impl Layer for SplitFrames {
    fn type_name(&self) -> &'static str {
        "split_frames"
    }

    fn frames(&self) -> Option<usize> {
        Some(self.frames)
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.expect_positive(&[("frames", self.frames)])?;
        let [n, h, w, c] = builder.feature_map(inputs[0])?;
        if !h.is_multiple_of(self.frames) {
            return Err(builder.error(format!("a height of {h} does not divide into {} frames", self.frames)));
        }
        ops::reshape(builder.graph(), inputs[0], [n * self.frames, h / self.frames, w, c])
    }
}

impl Layer for JoinFrames {
    fn type_name(&self) -> &'static str {
        "join_frames"
    }

    fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
        builder.expect_positive(&[("frames", self.frames)])?;
        let dims = builder.dims(inputs[0]);
        let (n, features) = (dims[0], dims[1..].iter().product());
        if !n.is_multiple_of(self.frames) {
            let message = format!(
                "gets {n} pictures of {}, which are no sequences of {} frames: a split_frames of as many goes before",
                sample(&dims),
                self.frames
            );
            return Err(builder.error(message));
        }
        ops::reshape(builder.graph(), inputs[0], [n / self.frames, self.frames, features])
    }
}
