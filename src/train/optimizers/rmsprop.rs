use serde::{Deserialize, Serialize};

use crate::graph::{Launch, Layout, Update, UpdatePiece};
use crate::simd::vectorized;

/// RMSprop (Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012) with optional momentum, as in Keras:
/// `v ← ρ v + (1 − ρ) g²`, `m ← momentum m + lr g / √(v + ε)`, `p ← p − m`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsProp {
    /// Decay of the mean square.
    pub rho: f32,
    /// Share of the last step that is kept.
    pub momentum: f32,
    /// Keeps the quotient finite; stands under the root.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Global norm to which gradients are clipped.
    pub clip_norm: Option<f32>,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self { rho: 0.9, momentum: 0.0, epsilon: 1e-7, weight_decay: 0.0, clip_norm: None }
    }
}

impl Update for RmsProp {
    fn moments(&self) -> usize {
        2
    }

    /// Learning rate, 1 − ρ, momentum, ε, factor of weight decay.
    fn scalars(&self, learning_rate: f64, _step: u64) -> Vec<f32> {
        let decay = 1.0 - learning_rate * f64::from(self.weight_decay);
        vec![learning_rate as f32, 1.0 - self.rho, self.momentum, self.epsilon, decay as f32]
    }

    fn cpu(&self, scalars: &[f32], piece: UpdatePiece<'_>) {
        let [rate, share, momentum, epsilon, decay] = *scalars else { unreachable!("the optimizer's own scalars") };
        let decay = if piece.decayed { decay } else { 1.0 };
        let scale = piece.gradient_scale;
        let [v, m] = piece.moments.try_into().expect("two moments");
        vectorized(
            #[inline(always)]
            || {
                for (((p, &g), v), m) in piece.parameters.iter_mut().zip(piece.gradients).zip(v).zip(m) {
                    let g = g * scale;
                    *v += (g * g - *v) * share;
                    *m = momentum * *m + rate * g / (*v + epsilon).sqrt();
                    *p = *p * decay - *m;
                }
            },
        );
    }

    fn launch(&self, layout: &Layout) -> Launch {
        super::arena_launch("rmsprop.wgsl", include_str!("../../../shaders/rmsprop.wgsl"), layout)
    }

    fn clip_norm(&self) -> Option<f32> {
        self.clip_norm
    }
}
