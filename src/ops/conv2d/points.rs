//! Where Winograd's F(4×4, 3×3) evaluates its polynomials, on the CPU and on a GPU: at 0, ±[`NEAR`], ±[`FAR`] and infinity.
//! Their powers are exact in f32, and rounding weighs half as much as at the customary ±1 and ±2 (how points matter:
//! Barabasz et al. 2020, <https://arxiv.org/abs/1803.10986>).

pub(super) const NEAR: f32 = 0.75;
pub(super) const FAR: f32 = 1.5;
pub(super) const NEAR2: f32 = NEAR * NEAR;
pub(super) const FAR2: f32 = FAR * FAR;
/// What the other points leave of the product of differences at 0, ±`NEAR` and ±`FAR`.
pub(super) const AT_ZERO: f32 = 1.0 / (NEAR2 * FAR2);
pub(super) const AT_NEAR: f32 = 0.5 / (NEAR2 * (NEAR2 - FAR2));
pub(super) const AT_FAR: f32 = 0.5 / (FAR2 * (FAR2 - NEAR2));

/// All of them, for the header of a shader.
pub(super) const HEADER: [(&str, f32); 7] = [
    ("NEAR", NEAR),
    ("FAR", FAR),
    ("NEAR2", NEAR2),
    ("FAR2", FAR2),
    ("AT_ZERO", AT_ZERO),
    ("AT_NEAR", AT_NEAR),
    ("AT_FAR", AT_FAR),
];
