#![expect(
    clippy::needless_range_loop,
    reason = "a closure of an iterator which is not inlined would pass vectors through memory"
)]

use pulp::{Arch, MemMask, Simd, WithSimd};

use super::{Geometry, Lines, POSITIONS, SIDE};
use crate::simd::{load, store};

/// A row of transformed tiles, to be multiplied with the transformed weight and transformed back.
pub struct TileRow<'a> {
    planes: &'a [f32],
    /// From one position to the next.
    plane: usize,
    tiles: usize,
    channels: usize,
    /// `[16, c, o]`.
    weight: &'a [f32],
    filters: usize,
}

/// What becomes of a tile's results: those of its first row, then of its second.
pub trait Sink {
    /// Panics: if its memory is too short for so many tiles.
    fn check(&self, tiles: usize);

    /// Takes the results of a tile for a vector of filters from `filter` on.
    ///
    /// # Safety
    ///
    /// The tile must be one of those checked, and the filters that the mask lets through must exist.
    unsafe fn take<S: Simd, const MASKED: bool>(
        &mut self,
        simd: S,
        tile: usize,
        filter: usize,
        y: [[S::f32s; 2]; 2],
        mask: MemMask<S::m32s>,
    );
}

impl<'a> TileRow<'a> {
    pub fn new(g: &Geometry, lines: &Lines, planes: &'a [f32], weight: &'a [f32]) -> Self {
        let Lines { plane, tiles, channels, .. } = *lines;
        Self { planes, plane, tiles, channels, weight, filters: g.filters }
    }

    /// Hands the results of all tiles to `sink`.
    pub fn write<K: Sink>(self, sink: K) {
        assert!(self.planes.len() == POSITIONS * self.plane && self.plane == (2 * self.tiles - 1) * self.channels);
        assert!(self.weight.len() >= POSITIONS * self.channels * self.filters);
        sink.check(self.tiles);
        Arch::new().dispatch(Write { row: self, sink });
    }
}

struct Write<'a, K> {
    row: TileRow<'a>,
    sink: K,
}

impl<K: Sink> WithSimd for Write<'_, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (lanes, filters) = (S::F32_LANES, self.row.filters);
        let all = simd.mask_between_m32s(0, lanes as u32);
        let whole = filters / lanes * lanes;
        for filter in (0..whole).step_by(lanes) {
            self.filters::<S, false>(simd, filter, all);
        }
        if whole < filters {
            let rest = simd.mask_between_m32s(0, (filters - whole) as u32);
            self.filters::<S, true>(simd, whole, rest);
        }
    }
}

impl<K: Sink> Write<'_, K> {
    /// A vector of filters: three tiles at a time where their sums and results fit 32 registers.
    #[inline(always)]
    fn filters<S: Simd, const MASKED: bool>(&mut self, simd: S, filter: usize, mask: MemMask<S::m32s>) {
        let tiles = self.row.tiles;
        let mut tile = 0;
        // SAFETY: tiles and filters exist, and `TileRow::write` has checked the memory.
        unsafe {
            while S::REGISTER_COUNT >= 32 && tile + 3 <= tiles {
                self.tiles::<S, 3, MASKED>(simd, tile, filter, mask);
                tile += 3;
            }
            while tile < tiles {
                self.tiles::<S, 1, MASKED>(simd, tile, filter, mask);
                tile += 1;
            }
        }
    }

    /// # Safety
    ///
    /// The tiles, and the filters that the mask lets through, must exist.
    #[inline(always)]
    unsafe fn tiles<S: Simd, const T: usize, const MASKED: bool>(
        &mut self,
        simd: S,
        tile: usize,
        filter: usize,
        mask: MemMask<S::m32s>,
    ) {
        let mut y = [[[simd.splat_f32s(0.0); 2]; 2]; T];
        // SAFETY: as the caller promises.
        unsafe {
            // `[1 1 1 0; 0 1 -1 -1]` along the rows of tiles, column by column.
            for column in 0..SIDE {
                let x = self.column::<S, T, MASKED>(simd, column, tile, filter, mask);
                for t in 0..T {
                    for i in 0..2 {
                        let [left, right] = y[t][i];
                        y[t][i] = match column {
                            0 => [x[t][i], right],
                            1 => [simd.add_f32s(left, x[t][i]), x[t][i]],
                            2 => [simd.add_f32s(left, x[t][i]), simd.sub_f32s(right, x[t][i])],
                            _ => [left, simd.sub_f32s(right, x[t][i])],
                        };
                    }
                }
            }
            for t in 0..T {
                self.sink.take::<S, MASKED>(simd, tile + t, filter, y[t], mask);
            }
        }
    }

    /// `Aᵀ m` of column `j` of the sums of products, for each tile.
    ///
    /// # Safety
    ///
    /// As for [`Self::tiles`].
    #[inline(always)]
    unsafe fn column<S: Simd, const T: usize, const MASKED: bool>(
        &self,
        simd: S,
        j: usize,
        tile: usize,
        filter: usize,
        mask: MemMask<S::m32s>,
    ) -> [[S::f32s; 2]; T] {
        let TileRow { planes, plane, channels, weight, filters, .. } = self.row;
        let mut sums = [[simd.splat_f32s(0.0); T]; SIDE];
        let (down, weight_down) = (SIDE * plane, SIDE * channels * filters);
        // SAFETY: as the caller promises.
        unsafe {
            let mut weight = weight.as_ptr().add(j * channels * filters + filter);
            let mut x = [planes.as_ptr(); T];
            for (t, x) in x.iter_mut().enumerate() {
                *x = x.add(j * plane + 2 * (tile + t) * channels);
            }
            for _ in 0..channels {
                for i in 0..SIDE {
                    let w = load::<S, MASKED>(simd, weight.add(i * weight_down), mask);
                    for t in 0..T {
                        sums[i][t] = simd.mul_add_e_f32s(simd.splat_f32s(*x[t].add(i * down)), w, sums[i][t]);
                    }
                }
                weight = weight.add(filters);
                for x in &mut x {
                    *x = x.add(1);
                }
            }
        }
        let mut result = [[simd.splat_f32s(0.0); 2]; T];
        for t in 0..T {
            let (sum, difference) = (simd.add_f32s(sums[1][t], sums[2][t]), simd.sub_f32s(sums[1][t], sums[2][t]));
            result[t] = [simd.add_f32s(sums[0][t], sum), simd.sub_f32s(difference, sums[3][t])];
        }
        result
    }
}

/// Writes the largest result of each tile.
pub struct Maximum<'a> {
    line: &'a mut [f32],
    filters: usize,
}

impl<'a> Maximum<'a> {
    pub fn new(line: &'a mut [f32], filters: usize) -> Self {
        Self { line, filters }
    }
}

#[inline(always)]
fn largest<S: Simd>(simd: S, [[y0, y1], [y2, y3]]: [[S::f32s; 2]; 2]) -> S::f32s {
    simd.max_f32s(simd.max_f32s(y0, y1), simd.max_f32s(y2, y3))
}

impl Sink for Maximum<'_> {
    fn check(&self, tiles: usize) {
        assert!(self.line.len() >= tiles * self.filters);
    }

    #[inline(always)]
    unsafe fn take<S: Simd, const MASKED: bool>(
        &mut self,
        simd: S,
        tile: usize,
        filter: usize,
        y: [[S::f32s; 2]; 2],
        mask: MemMask<S::m32s>,
    ) {
        // SAFETY: as the caller promises.
        unsafe {
            let to = self.line.as_mut_ptr().add(tile * self.filters + filter);
            store::<S, MASKED>(simd, to, largest(simd, y), mask);
        }
    }
}

/// Writes the gradient of each result: that of its tile's maximum to the first which is as large, 0 to the others.
pub struct MaximumGrad<'a> {
    /// Two lines.
    lines: &'a mut [f32],
    grad: &'a [f32],
    width: usize,
    filters: usize,
}

impl<'a> MaximumGrad<'a> {
    pub fn new(lines: &'a mut [f32], grad: &'a [f32], width: usize, filters: usize) -> Self {
        Self { lines, grad, width, filters }
    }
}

impl Sink for MaximumGrad<'_> {
    fn check(&self, tiles: usize) {
        assert!(self.lines.len() == 2 * self.width * self.filters && self.width == 2 * tiles);
        assert!(self.grad.len() >= tiles * self.filters);
    }

    #[inline(always)]
    unsafe fn take<S: Simd, const MASKED: bool>(
        &mut self,
        simd: S,
        tile: usize,
        filter: usize,
        y: [[S::f32s; 2]; 2],
        mask: MemMask<S::m32s>,
    ) {
        let (zero, largest) = (simd.splat_f32s(0.0), largest(simd, y));
        // SAFETY: as the caller promises.
        unsafe {
            let mut rest = load::<S, MASKED>(simd, self.grad.as_ptr().add(tile * self.filters + filter), mask);
            for row in 0..2 {
                for column in 0..2 {
                    let here = simd.equal_f32s(y[row][column], largest);
                    let at = (row * self.width + 2 * tile + column) * self.filters + filter;
                    let share = simd.select_f32s(here, rest, zero);
                    store::<S, MASKED>(simd, self.lines.as_mut_ptr().add(at), share, mask);
                    rest = simd.select_f32s(here, zero, rest);
                }
            }
        }
    }
}
