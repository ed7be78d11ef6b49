#![expect(
    clippy::needless_range_loop,
    reason = "a closure of an iterator which is not inlined would pass vectors through memory"
)]

use pulp::{Arch, MemMask, Simd, WithSimd};

use crate::ops::conv2d::points::{AT_FAR, AT_NEAR, AT_ZERO, FAR, FAR2, NEAR, NEAR2};
use crate::simd::{load, store};

/// Where the elements of a small square stand, each of them a vector of channels. Those outside `rows` and `columns` are
/// zeros that stand nowhere.
#[derive(Clone, Copy)]
pub struct Grid {
    start: isize,
    down: usize,
    right: usize,
    rows: [usize; 2],
    columns: [usize; 2],
}

impl Grid {
    /// `n` × `n` elements, one in each of as many planes of `step` floats.
    pub fn of_planes(start: usize, n: usize, step: usize) -> Self {
        Self { start: start as isize, down: n * step, right: step, rows: [0, n], columns: [0, n] }
    }

    /// `n` × `n` pixels of an image of `size` whose first pixel has the number `first`, from `corner` on, counted in an
    /// image with `padding` at its top and left.
    pub fn of_image(
        first: usize,
        corner: [usize; 2],
        padding: [usize; 2],
        n: usize,
        size: [usize; 2],
        channels: usize,
    ) -> Self {
        let inside = |axis: usize| {
            [padding[axis], padding[axis] + size[axis]].map(|edge| edge.saturating_sub(corner[axis]).min(n))
        };
        let [y, x] = [0, 1].map(|axis| corner[axis] as isize - padding[axis] as isize);
        let start = (first as isize + y * size[1] as isize + x) * channels as isize;
        Self { start, down: size[1] * channels, right: channels, rows: inside(0), columns: inside(1) }
    }

    /// The same in a slice that begins `skipped` floats later.
    pub fn before(self, skipped: usize) -> Self {
        Self { start: self.start - skipped as isize, ..self }
    }

    #[inline(always)]
    fn at(&self, row: usize, column: usize) -> Option<isize> {
        let inside = |i: usize, [first, end]: [usize; 2]| first <= i && i < end;
        (inside(row, self.rows) && inside(column, self.columns)).then(|| self.offset(row, column))
    }

    #[inline(always)]
    fn offset(&self, row: usize, column: usize) -> isize {
        self.start + (row * self.down + column * self.right) as isize
    }

    /// Whether vectors of `width` floats lie inside a slice of `len`.
    fn fits(&self, width: usize, len: usize) -> bool {
        let ([top, bottom], [left, right]) = (self.rows, self.columns);
        top >= bottom
            || left >= right
            || (self.offset(top, left) >= 0 && self.offset(bottom - 1, right - 1) + width as isize <= len as isize)
    }
}

/// A transform of one line.
pub trait Line<const N: usize, const M: usize> {
    fn apply<S: Simd>(simd: S, x: [S::f32s; N]) -> [S::f32s; M];
}

/// `Bᵀ d`.
pub struct Data;
/// `A dy`.
pub struct Grad;
/// `Aᵀ m`.
pub struct Output;
/// `G g`.
pub struct Kernel;
/// `Gᵀ dg`.
pub struct KernelGrad;

/// `factor · x + y`.
#[inline(always)]
fn add<S: Simd>(simd: S, factor: f32, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(factor), x, y)
}

#[inline(always)]
fn scale<S: Simd>(simd: S, factor: f32, x: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(factor), x)
}

/// `even + factor · odd` and `even - factor · odd`: values at two opposite points.
#[inline(always)]
fn opposite<S: Simd>(simd: S, factor: f32, even: S::f32s, odd: S::f32s) -> [S::f32s; 2] {
    [add(simd, factor, odd, even), add(simd, -factor, odd, even)]
}

impl Line<6, 6> for Data {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [d0, d1, d2, d3, d4, d5]: [S::f32s; 6]) -> [S::f32s; 6] {
        let [near, minus_near] = opposite(simd, NEAR, add(simd, -FAR2, d2, d4), add(simd, -FAR2, d1, d3));
        let [far, minus_far] = opposite(simd, FAR, add(simd, -NEAR2, d2, d4), add(simd, -NEAR2, d1, d3));
        let first = add(simd, NEAR2 * FAR2, d0, add(simd, -(NEAR2 + FAR2), d2, d4));
        let last = add(simd, NEAR2 * FAR2, d1, add(simd, -(NEAR2 + FAR2), d3, d5));
        [first, near, minus_near, far, minus_far, last]
    }
}

impl Line<4, 6> for Grad {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [y0, y1, y2, y3]: [S::f32s; 4]) -> [S::f32s; 6] {
        let [near, minus_near] = opposite(simd, NEAR, add(simd, NEAR2, y2, y0), add(simd, NEAR2, y3, y1));
        let [far, minus_far] = opposite(simd, FAR, add(simd, FAR2, y2, y0), add(simd, FAR2, y3, y1));
        [y0, near, minus_near, far, minus_far, y3]
    }
}

impl Line<6, 4> for Output {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [m0, m1, m2, m3, m4, m5]: [S::f32s; 6]) -> [S::f32s; 4] {
        let (sum, sum2) = (simd.add_f32s(m1, m2), simd.add_f32s(m3, m4));
        let difference = scale(simd, NEAR, simd.sub_f32s(m1, m2));
        let difference2 = scale(simd, FAR, simd.sub_f32s(m3, m4));
        [
            simd.add_f32s(m0, simd.add_f32s(sum, sum2)),
            simd.add_f32s(difference, difference2),
            add(simd, FAR2, sum2, scale(simd, NEAR2, sum)),
            add(simd, FAR2, difference2, add(simd, NEAR2, difference, m5)),
        ]
    }
}

impl Line<3, 6> for Kernel {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [g0, g1, g2]: [S::f32s; 3]) -> [S::f32s; 6] {
        let [near, minus_near] = opposite(simd, NEAR, add(simd, NEAR2, g2, g0), g1);
        let [far, minus_far] = opposite(simd, FAR, add(simd, FAR2, g2, g0), g1);
        [
            scale(simd, AT_ZERO, g0),
            scale(simd, AT_NEAR, near),
            scale(simd, AT_NEAR, minus_near),
            scale(simd, AT_FAR, far),
            scale(simd, AT_FAR, minus_far),
            g2,
        ]
    }
}

impl Line<6, 3> for KernelGrad {
    #[inline(always)]
    fn apply<S: Simd>(simd: S, [u0, u1, u2, u3, u4, u5]: [S::f32s; 6]) -> [S::f32s; 3] {
        let (near, minus_near) = (scale(simd, AT_NEAR, u1), scale(simd, AT_NEAR, u2));
        let (far, minus_far) = (scale(simd, AT_FAR, u3), scale(simd, AT_FAR, u4));
        let (sum, sum2) = (simd.add_f32s(near, minus_near), simd.add_f32s(far, minus_far));
        let (difference, difference2) = (simd.sub_f32s(near, minus_near), simd.sub_f32s(far, minus_far));
        [
            add(simd, AT_ZERO, u0, simd.add_f32s(sum, sum2)),
            add(simd, FAR, difference2, scale(simd, NEAR, difference)),
            add(simd, FAR2, sum2, add(simd, NEAR2, sum, u5)),
        ]
    }
}

/// Transforms the columns, then the rows, of each square that the first grid of a pair finds in `from`, and writes the
/// result where the second one says in `to`; each element `width` channels.
///
/// Panics: if a grid does not lie in its slice.
pub fn transform<T: Line<N, M>, const N: usize, const M: usize>(
    _line: T,
    from: &[f32],
    to: &mut [f32],
    width: usize,
    grids: impl Iterator<Item = (Grid, Grid)>,
) {
    Arch::new().dispatch(Transform { from, to, width, grids, line: std::marker::PhantomData::<T> });
}

struct Transform<'a, T, I, const N: usize, const M: usize> {
    from: &'a [f32],
    to: &'a mut [f32],
    width: usize,
    grids: I,
    line: std::marker::PhantomData<T>,
}

impl<T, I, const N: usize, const M: usize> WithSimd for Transform<'_, T, I, N, M>
where
    T: Line<N, M>,
    I: Iterator<Item = (Grid, Grid)>,
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let all = simd.mask_between_m32s(0, S::F32_LANES as u32);
        let whole = self.width / S::F32_LANES * S::F32_LANES;
        let rest = simd.mask_between_m32s(0, (self.width - whole) as u32);
        for (from, to) in self.grids {
            assert!(from.fits(self.width, self.from.len()) && to.fits(self.width, self.to.len()));
            for channel in (0..whole).step_by(S::F32_LANES) {
                // SAFETY: both grids lie in their slices with all their channels.
                unsafe { square::<S, T, N, M, false>(simd, self.from, self.to, from, to, channel, all) };
            }
            if whole < self.width {
                // SAFETY: as above; the mask leaves out what is beyond the last channel.
                unsafe { square::<S, T, N, M, true>(simd, self.from, self.to, from, to, whole, rest) };
            }
        }
    }
}

/// A vector of channels of one square.
///
/// # Safety
///
/// The grids must lie in their slices with the channels from `channel` on that the mask lets through.
#[inline(always)]
unsafe fn square<S: Simd, T: Line<N, M>, const N: usize, const M: usize, const MASKED: bool>(
    simd: S,
    from: &[f32],
    to: &mut [f32],
    from_grid: Grid,
    to_grid: Grid,
    channel: usize,
    mask: MemMask<S::m32s>,
) {
    let zero = simd.splat_f32s(0.0);
    let mut halfway = [[zero; M]; N];
    for j in 0..N {
        let mut x = [zero; N];
        for i in 0..N {
            if let Some(at) = from_grid.at(i, j) {
                // SAFETY: as the caller promises.
                x[i] = unsafe { load::<S, MASKED>(simd, from.as_ptr().offset(at).add(channel), mask) };
            }
        }
        halfway[j] = T::apply(simd, x);
    }
    for i in 0..M {
        let mut row = [zero; N];
        for j in 0..N {
            row[j] = halfway[j][i];
        }
        let result = T::apply(simd, row);
        for j in 0..M {
            if let Some(at) = to_grid.at(i, j) {
                // SAFETY: as the caller promises.
                unsafe { store::<S, MASKED>(simd, to.as_mut_ptr().offset(at).add(channel), result[j], mask) };
            }
        }
    }
}
