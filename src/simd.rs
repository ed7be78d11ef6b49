//! Plain loops compiled for the widest vectors this machine has.

use pulp::{Arch, Simd, WithSimd};

struct Loop<F>(F);

impl<R, F: FnOnce() -> R> WithSimd for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> R {
        (self.0)()
    }
}

/// Runs `f`, whose loops the compiler turns into AVX-512, AVX2 or NEON instructions where they exist. Only what is inlined
/// into `f` profits. Results do not depend on which it is: nothing is contracted or reordered.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(Loop(f))
}
