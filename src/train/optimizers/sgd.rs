use serde::{Deserialize, Serialize};

use crate::graph::{Launch, Layout, Update, UpdatePiece};
use crate::simd::vectorized;

/// Stochastic gradient descent.
///
/// `v ← momentum v − lr g`, then `p ← p + v`; in Nesterov's form `p ← p + momentum v − lr g` (Sutskever et al. 2013,
/// <https://proceedings.mlr.press/v28/sutskever13.html>), as in Keras.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Share of the velocity that is kept.
    pub momentum: f32,
    /// Nesterov's form.
    pub nesterov: bool,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Global norm to which gradients are clipped.
    pub clip_norm: Option<f32>,
}

impl Default for Sgd {
    fn default() -> Self {
        Self { momentum: 0.0, nesterov: false, weight_decay: 0.0, clip_norm: None }
    }
}

impl Update for Sgd {
    fn moments(&self) -> usize {
        1
    }

    /// Learning rate, momentum, factor of weight decay, 1 for Nesterov's form.
    fn scalars(&self, learning_rate: f64, _step: u64) -> Vec<f32> {
        let decay = 1.0 - learning_rate * f64::from(self.weight_decay);
        vec![learning_rate as f32, self.momentum, decay as f32, f32::from(u8::from(self.nesterov))]
    }

    fn cpu(&self, scalars: &[f32], piece: UpdatePiece<'_>) {
        let [rate, momentum, decay, _] = *scalars else { unreachable!("the optimizer's own scalars") };
        let decay = if piece.decayed { decay } else { 1.0 };
        let scale = piece.gradient_scale;
        let [velocity] = piece.moments.try_into().expect("one moment");
        vectorized(
            #[inline(always)]
            || {
                for ((p, &g), v) in piece.parameters.iter_mut().zip(piece.gradients).zip(velocity) {
                    let step = rate * (g * scale);
                    *v = momentum * *v - step;
                    *p = *p * decay + if self.nesterov { momentum * *v - step } else { *v };
                }
            },
        );
    }

    fn launch(&self, layout: &Layout) -> Launch {
        super::arena_launch("sgd.wgsl", include_str!("../../../shaders/sgd.wgsl"), layout)
    }

    fn clip_norm(&self) -> Option<f32> {
        self.clip_norm
    }
}
