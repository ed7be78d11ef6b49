//! Loops compiled for the widest vectors of the machine: plain ones by [`vectorized`], and [`Product`], the one loop nest
//! that all products of matrices and convolutions on the CPU are made of.

mod buffer;
mod product;

use pulp::{Arch, MemMask, Simd, WithSimd};

pub use buffer::with_buffer;
pub use product::Product;

struct Loop<F>(F);

impl<R, F: FnOnce() -> R> WithSimd for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> R {
        (self.0)()
    }
}

/// Runs `f`, whose loops the compiler turns into AVX-512, AVX2 or NEON instructions where they exist. Only what is inlined
/// profits: `f` must be `#[inline(always)]`, and so must the closures and functions it calls. Results do not depend on which it is: nothing is contracted or reordered.
#[inline(always)]
pub fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(Loop(f))
}

/// Reads a vector, or of it what the mask says.
///
/// # Safety
///
/// What is asked for must be readable.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd, const MASKED: bool>(simd: S, from: *const f32, mask: MemMask<S::m32s>) -> S::f32s {
    // SAFETY: as the caller promises.
    unsafe { if MASKED { simd.mask_load_ptr_f32s(mask, from) } else { from.cast::<S::f32s>().read_unaligned() } }
}

/// Writes a vector, or of it what the mask says.
///
/// # Safety
///
/// What is to be written must be writable.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const MASKED: bool>(simd: S, to: *mut f32, x: S::f32s, mask: MemMask<S::m32s>) {
    // SAFETY: as the caller promises.
    unsafe { if MASKED { simd.mask_store_ptr_f32s(mask, to, x) } else { to.cast::<S::f32s>().write_unaligned(x) } }
}
