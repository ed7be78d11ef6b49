use std::f32::consts::{LN_2, LOG2_E};

/// A probability `mantissa · 2^exponent`, also where f32 holds none so small: that of a long alignment. Sums and products
/// of it are rounded like those of f32, however small, where logarithms would lose digits as they grow; and they need
/// neither `exp` nor `ln`, nor an infinity that stands for 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wide {
    mantissa: f32,
    exponent: i32,
}

/// Stands with a mantissa of 0, so that it is below what the exponents of other numbers come to.
const LOWEST: i32 = -(1 << 30);
/// What is less likely, in a single step, counts as this likely.
const LEAST_EXPONENT: f32 = -16384.0;

/// `2^exponent` up to 2^127; 2^-126 if it is less.
#[inline(always)]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent.max(-126) + 127) as u32) << 23)
}

impl Wide {
    pub const ZERO: Self = Self { mantissa: 0.0, exponent: LOWEST };
    pub const ONE: Self = Self { mantissa: 1.0, exponent: 0 };

    /// `exp(x) / total` for `x` up to 0 and `total` from 1.
    pub fn share(x: f32, total: f32) -> Self {
        let x = (x * LOG2_E).max(LEAST_EXPONENT);
        let whole = x.floor();
        Self { mantissa: (x - whole).exp2() / total, exponent: whole as i32 }
    }

    #[inline(always)]
    pub fn sum([a, b, c]: [Self; 3]) -> Self {
        let exponent = a.exponent.max(b.exponent).max(c.exponent);
        let aligned = |x: Self| x.mantissa * power_of_two(x.exponent - exponent);
        Self { mantissa: aligned(a) + aligned(b) + aligned(c), exponent }
    }

    /// The product, its mantissa from 1 to 2. What is no number stays none.
    #[inline(always)]
    pub fn times(self, other: Self) -> Self {
        let mantissa = self.mantissa * other.mantissa;
        let shift = (mantissa.to_bits() >> 23 & 0xff) as i32 - 127;
        let exponent = (self.exponent + other.exponent + shift).max(LOWEST);
        Self { mantissa: mantissa * power_of_two(-shift), exponent }
    }

    /// The quotient, which is at most about 1.
    pub fn over(self, other: Self) -> f32 {
        self.mantissa / other.mantissa * power_of_two(self.exponent.saturating_sub(other.exponent).min(127))
    }

    pub fn is_zero(self) -> bool {
        self.mantissa == 0.0
    }

    pub fn ln(self) -> f32 {
        self.mantissa.ln() + self.exponent as f32 * LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_far_below_f32_keep_their_digits() {
        let step = Wide::share(-300.0, 1.0);
        let product = (0..100).fold(Wide::ONE, |p, _| p.times(step));
        assert!((product.ln() + 30_000.0).abs() < 0.02, "{}", product.ln());
        let twice = Wide::sum([product, Wide::ZERO, product]).times(Wide::ONE);
        assert_eq!(twice.over(product), 2.0);
        assert_eq!(product.over(twice), 0.5);
    }

    #[test]
    fn zero_stays_zero_and_what_is_no_number_none() {
        let zero = (0..100_000).fold(Wide::ZERO, |p, _| p.times(Wide::share(-1e30, 1.0)));
        assert!(zero.is_zero() && Wide::sum([zero; 3]).is_zero());
        assert_eq!(Wide::sum([zero, Wide::ONE, zero]), Wide::ONE);
        let unknown = Wide::share(-1.0, f32::NAN);
        assert!(Wide::sum([Wide::ONE, unknown, Wide::ZERO]).times(Wide::ONE).ln().is_nan());
    }
}
