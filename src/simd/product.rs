use pulp::{Arch, MemMask, Simd, WithSimd};

use super::{load, store};

/// A product of matrices whose first operand is read in place, wherever its elements stand:
/// `c[r, j] = Σ_i a[rows[r] + s(i)] · b[i, j]`, where `s(i)` runs through `segments`, in order.
///
/// With `rows` the pixels under a window's first tap and `segments` the lines of the window, it is a convolution without
/// patches laid out; with `rows` the taps of a window and `segments` the lines of an image, the gradient for its weight.
///
/// A tile of `c`, some rows by two vectors, stays in registers while `i` runs: each step multiplies one element for each
/// row with the vectors (the microkernel of Goto & van de Geijn 2008, <https://doi.org/10.1145/1356052.1356053>).
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// The elements of the first operand.
    pub a: &'a [f32],
    /// Where in `a` each row starts.
    pub rows: &'a [usize],
    /// Runs of elements within a row: where each starts, and how many it has.
    pub segments: &'a [(usize, usize)],
    /// From one element of a run to the next.
    pub step: usize,
    /// The elements of the second operand: a row of `columns` for each element of a row of the first.
    pub b: &'a [f32],
    /// From one row of `b` to the next.
    pub b_step: usize,
    /// Columns of `b` and of the result.
    pub columns: usize,
    /// Whether the result is added to what is there.
    pub accumulate: bool,
}

impl Product<'_> {
    /// Writes the result, whose rows start `c_step` apart.
    ///
    /// Panics: if an operand is too short.
    pub fn write(self, c: &mut [f32], c_step: usize) {
        let terms: usize = self.segments.iter().map(|s| s.1).sum();
        let (Some(&last), true, true) = (self.rows.iter().max(), self.columns > 0, terms > 0) else { return };
        let ends = self.segments.iter().filter(|s| s.1 > 0).map(|&(start, n)| start + (n - 1) * self.step);
        assert!(last + ends.max().unwrap_or(0) < self.a.len());
        assert!((terms - 1) * self.b_step + self.columns <= self.b.len());
        assert!((self.rows.len() - 1) * c_step + self.columns <= c.len());
        Arch::new().dispatch(Tiles { product: self, c: c.as_mut_ptr(), c_step });
    }
}

/// A product whose operands are known to be long enough.
struct Tiles<'a> {
    product: Product<'a>,
    c: *mut f32,
    c_step: usize,
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (lanes, columns) = (S::F32_LANES, self.product.columns);
        let all = simd.mask_between_m32s(0, lanes as u32);
        let mut column = 0;
        while column + 2 * lanes <= columns {
            self.panel::<S, 2, false>(simd, column, all);
            column += 2 * lanes;
        }
        if column + lanes <= columns {
            self.panel::<S, 1, false>(simd, column, all);
            column += lanes;
        }
        if column < columns {
            let rest = simd.mask_between_m32s(0, (columns - column) as u32);
            self.panel::<S, 1, true>(simd, column, rest);
        }
    }
}

/// Most rows of a tile: with two vectors each, they and their operands fill 32 registers, or 16.
const fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 12 } else { 6 }
}

impl Tiles<'_> {
    /// `V` vectors of columns from `column` on, or what `mask` says of them.
    #[inline(always)]
    fn panel<S: Simd, const V: usize, const MASKED: bool>(&self, simd: S, column: usize, mask: MemMask<S::m32s>) {
        let rows = self.product.rows;
        let tiles = rows.len().div_ceil(most_rows::<S>());
        let (least, longer) = (rows.len() / tiles, rows.len() % tiles);
        let mut first = 0;
        for i in 0..tiles {
            let n = least + usize::from(i < longer);
            // SAFETY: `rows[first..first + n]` exist, and so do the columns: `Product::write` has seen to it.
            unsafe {
                match n {
                    1 => self.tile::<S, 1, V, MASKED>(simd, first, column, mask),
                    2 => self.tile::<S, 2, V, MASKED>(simd, first, column, mask),
                    3 => self.tile::<S, 3, V, MASKED>(simd, first, column, mask),
                    4 => self.tile::<S, 4, V, MASKED>(simd, first, column, mask),
                    5 => self.tile::<S, 5, V, MASKED>(simd, first, column, mask),
                    6 => self.tile::<S, 6, V, MASKED>(simd, first, column, mask),
                    7 => self.tile::<S, 7, V, MASKED>(simd, first, column, mask),
                    8 => self.tile::<S, 8, V, MASKED>(simd, first, column, mask),
                    9 => self.tile::<S, 9, V, MASKED>(simd, first, column, mask),
                    10 => self.tile::<S, 10, V, MASKED>(simd, first, column, mask),
                    11 => self.tile::<S, 11, V, MASKED>(simd, first, column, mask),
                    _ => self.tile::<S, 12, V, MASKED>(simd, first, column, mask),
                }
            }
            first += n;
        }
    }

    /// `R` rows from `first` on by `V` vectors.
    ///
    /// # Safety
    ///
    /// The rows and columns must exist; `mask` must leave out what lies beyond the last column.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize, const MASKED: bool>(
        &self,
        simd: S,
        first: usize,
        column: usize,
        mask: MemMask<S::m32s>,
    ) {
        if R > most_rows::<S>() {
            return;
        }
        let Product { a, rows, segments, step, b, b_step, accumulate, .. } = self.product;
        let lanes = S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        // SAFETY: every element and every masked vector lies inside its slice, as the caller promises.
        unsafe {
            let mut b = b.as_ptr().add(column);
            for &(start, n) in segments {
                let mut x = [a.as_ptr(); R];
                for r in 0..R {
                    x[r] = a.as_ptr().add(rows[first + r] + start);
                }
                for i in 0..n {
                    let mut vectors = [simd.splat_f32s(0.0); V];
                    for (v, vector) in vectors.iter_mut().enumerate() {
                        *vector = load::<S, MASKED>(simd, b.add(v * lanes), mask);
                    }
                    for r in 0..R {
                        let x = simd.splat_f32s(*x[r].add(i * step));
                        for v in 0..V {
                            sums[r][v] = simd.mul_add_e_f32s(x, vectors[v], sums[r][v]);
                        }
                    }
                    b = b.add(b_step);
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let c = self.c.add((first + r) * self.c_step + column);
                for (v, sum) in sums.into_iter().enumerate() {
                    let c = c.add(v * lanes);
                    let sum = if accumulate { simd.add_f32s(load::<S, MASKED>(simd, c, mask), sum) } else { sum };
                    store::<S, MASKED>(simd, c, sum, mask);
                }
            }
        }
    }
}
