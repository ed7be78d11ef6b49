use crate::tensor::Array;

/// Allowed difference from the f64 reference. The bounds stand in one place: [`Tolerance::bound`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// The same value: relu, max pooling, reshape, gather.
    Exact,
    /// A few rounded additions or multiplications.
    Arithmetic,
    /// WGSL's own accuracy of exp, log, pow and the like.
    Transcendental,
    /// A sum over that many terms, measured against the same sum over absolute values.
    Sum(usize),
    /// Normalised by statistics: measured against the largest value of the result.
    Normalized,
    /// Taken from between two of so many neighbours, at a place that is rounded as well: measured against the largest value
    /// of the result, which is about what neighbours can differ by.
    Interpolated(usize),
    /// Statistics, a row for each along the first axis: measured against the largest value of the row.
    Statistics,
}

impl Tolerance {
    /// The allowed difference where the reference is `reference`, the same computation on absolute values is
    /// `magnitude`, and the largest absolute value of the result is `largest`.
    pub fn bound(self, reference: f64, magnitude: f64, largest: f64) -> f64 {
        let ulp = f64::from(f32::EPSILON) / 2.0;
        match self {
            Self::Exact => 0.0,
            Self::Arithmetic => 8.0 * ulp * magnitude.max(reference.abs()) + 1e-37,
            Self::Transcendental => 1e-5 * reference.abs() + 1e-5,
            Self::Sum(terms) => 4.0 * (terms as f64).sqrt().max(2.0) * ulp * magnitude.max(reference.abs()) + 1e-37,
            Self::Normalized | Self::Statistics => 1e-5 * largest + 1e-6,
            Self::Interpolated(extent) => (1e-5 + 8.0 * ulp * extent as f64) * largest + 1e-6,
        }
    }
}

/// The largest f16.
const LARGEST: f64 = 65504.0;

/// What an f16 may be off: half of its last bit, and a bit more where two numbers close to each other round apart.
fn rounding(value: f64) -> f64 {
    1.001 * value.abs() * 2_f64.powi(-11) + 2_f64.powi(-25)
}

/// A result beside what it should be.
#[derive(Clone, Copy)]
pub struct Comparison<'a> {
    /// What it should be.
    pub expected: &'a Array,
    /// The same computation on absolute values.
    pub magnitude: &'a Array,
    /// How far it may lie from it.
    pub tolerance: Tolerance,
    /// Whether it is kept in 16 bits.
    pub half: bool,
}

impl Comparison<'_> {
    /// What is wrong with `result`: the worst element. `allowed` makes the allowed difference of an element from its
    /// number and its bound; where it gives none, the element does not count.
    pub fn objection(&self, result: &Array, allowed: impl Fn(usize, f64) -> Option<f64>) -> Option<String> {
        let Self { expected, magnitude, tolerance, half } = self;
        if result.shape != expected.shape {
            return Some(format!("shape {} instead of {}", result.shape, expected.shape));
        }
        let row = match tolerance {
            Tolerance::Statistics => expected.data.len() / expected.shape.dims().first().map_or(1, |&rows| rows.max(1)),
            _ => expected.data.len(),
        };
        let largest = |values: &[f64]| values.iter().filter(|x| x.is_finite()).fold(0.0, |m: f64, x| m.max(x.abs()));
        let largest: Vec<f64> = expected.data.chunks(row.max(1)).map(largest).collect();
        let mut worst: Option<(f64, String)> = None;
        for (i, (&got, &wanted)) in result.data.iter().zip(&expected.data).enumerate() {
            let bound = tolerance.bound(wanted, magnitude.data[i].abs(), largest[i / row]);
            let (wanted, bound) =
                if *half { (wanted.clamp(-LARGEST, LARGEST), bound + rounding(wanted)) } else { (wanted, bound) };
            let Some(allowed) = allowed(i, bound) else { continue };
            let off = (got - wanted).abs();
            let fails = off > allowed || off.is_nan();
            if fails && worst.as_ref().is_none_or(|(w, _)| off / allowed > *w || off.is_nan()) {
                let text = format!("element {i}: {got:e} instead of {wanted:e}, allowed difference {allowed:e}");
                worst = Some((off / allowed, text));
            }
        }
        worst.map(|(_, text)| text)
    }
}
