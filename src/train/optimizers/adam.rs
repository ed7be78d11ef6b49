use serde::{Deserialize, Serialize};

use crate::graph::{Launch, Layout, Update, UpdatePiece};
use crate::simd::vectorized;

/// Adam with bias correction (Kingma & Ba 2015, <https://arxiv.org/abs/1412.6980>), and with decoupled weight decay
/// AdamW (Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>).
///
/// `m ← m + (g − m)(1 − β₁)`, `v ← v + (g² − v)(1 − β₂)`, `p ← p − lr √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε)`. As in
/// Keras, `epsilon` stands outside the bias correction (the paper's "epsilon hat"); PyTorch puts it inside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Keeps the quotient finite.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Global norm to which gradients are clipped.
    pub clip_norm: Option<f32>,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay: 0.0, clip_norm: None }
    }
}

impl Update for Adam {
    fn moments(&self) -> usize {
        2
    }

    /// Corrected learning rate, 1 − β₁, 1 − β₂, ε, factor of weight decay.
    fn scalars(&self, learning_rate: f64, step: u64) -> Vec<f32> {
        let power = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
        let rate = learning_rate * power(self.beta2).sqrt() / power(self.beta1);
        let decay = 1.0 - learning_rate * f64::from(self.weight_decay);
        vec![rate as f32, 1.0 - self.beta1, 1.0 - self.beta2, self.epsilon, decay as f32]
    }

    fn cpu(&self, scalars: &[f32], piece: UpdatePiece<'_>) {
        let [rate, first, second, epsilon, decay] = *scalars else { unreachable!("the optimizer's own scalars") };
        let decay = if piece.decayed { decay } else { 1.0 };
        let scale = piece.gradient_scale;
        let [m, v] = piece.moments.try_into().expect("two moments");
        vectorized(
            #[inline(always)]
            || {
                for (((p, &g), m), v) in piece.parameters.iter_mut().zip(piece.gradients).zip(m).zip(v) {
                    let g = g * scale;
                    *m += (g - *m) * first;
                    *v += (g * g - *v) * second;
                    *p = *p * decay - rate * *m / (v.sqrt() + epsilon);
                }
            },
        );
    }

    fn launch(&self, layout: &Layout) -> Launch {
        super::arena_launch("adam.wgsl", include_str!("../../../shaders/adam.wgsl"), layout)
    }

    fn clip_norm(&self) -> Option<f32> {
        self.clip_norm
    }
}
