//! Stretching pictures of bytes to another size.
//!
//! An output pixel is the mean of the source pixels under a triangle about its centre, of a radius of one source pixel
//! where pictures are enlarged (bilinear interpolation) and of one output pixel where they shrink, so that no pixel is
//! passed over. First the rows of the source that an output row needs are mixed into one, then the columns of that one.
//!
//! Weights are 256ths, and sums of them times bytes exact: the result is the same on every machine. On photographs it
//! was never more than 2 away from that of a resizer with weights of 16 bits, and 0.03 in the mean.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod axis;

use std::collections::HashMap;
use std::hash::Hash;

use axis::{Axis, Pair};

use crate::simd::vectorized;

/// Resizes pictures one after another; what it has worked out for one, it keeps for the next of the same size.
#[derive(Debug, Default)]
pub(super) struct Resizer {
    /// One row as wide as the source, and [`PADDING`].
    row: Vec<u8>,
    /// By the extents of source and output.
    rows: HashMap<[usize; 2], Axis>,
    /// By the extents of source and output, and the channels.
    columns: HashMap<[usize; 3], Columns>,
}

/// Bytes after a row which may be read, but have no weight.
const PADDING: usize = 16;

/// What is kept at most of each kind; more than data sets have that were not gathered at random.
const MOST_KEPT: usize = 256;

impl Resizer {
    /// Stretches `source`, `[height, width, channels]` with `from` as `[height, width]`, over `target` of size `to`. No
    /// extent may be 0.
    pub fn resize(&mut self, source: &[u8], from: [usize; 2], channels: usize, target: &mut [u8], to: [usize; 2]) {
        let length = from[1] * channels;
        self.row.clear();
        self.row.resize(length + PADDING, 0);
        let rows = kept(&mut self.rows, [from[0], to[0]], || Axis::new(from[0], to[0]));
        let columns =
            kept(&mut self.columns, [from[1], to[1], channels], || Columns::new(Axis::new(from[1], to[1]), channels));
        for (y, out) in target.chunks_exact_mut(to[1] * channels).enumerate() {
            mix_rows(source, rows.pairs(y), &mut self.row[..length]);
            columns.mix(&self.row, out);
        }
    }
}

fn kept<K: Eq + Hash, V>(known: &mut HashMap<K, V>, key: K, make: impl FnOnce() -> V) -> &V {
    if known.len() >= MOST_KEPT && !known.contains_key(&key) {
        known.clear();
    }
    known.entry(key).or_insert_with(make)
}

/// Means of the rows of `source` that `pairs` name, each as long as `row`.
fn mix_rows(source: &[u8], pairs: &[Pair], row: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::mix_rows(source, pairs, row).is_some() {
        return;
    }
    mix_rows_in_blocks(source, pairs, row);
}

fn mix_rows_in_blocks(source: &[u8], pairs: &[Pair], row: &mut [u8]) {
    const BLOCK: usize = 64;
    let length = row.len();
    vectorized(|| {
        for (block, out) in row.chunks_mut(BLOCK).enumerate() {
            let mut sums = [HALF; BLOCK];
            for pair in pairs {
                let [a, b] = pair.at.map(|at| &source[at * length + block * BLOCK..][..out.len()]);
                let [p, q] = pair.weights.map(u16::from);
                for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += u16::from(a) * p + u16::from(b) * q;
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = (sum >> 8) as u8;
            }
        }
    });
}

/// Half of a 256th's whole, for rounding. With it, bytes times weights add up to at most 65408.
const HALF: u16 = 128;

/// How the columns of an output row follow from those of a source row.
#[derive(Debug)]
struct Columns {
    axis: Axis,
    channels: usize,
    #[cfg(target_arch = "x86_64")]
    shuffles: Option<avx2::Shuffles>,
}

impl Columns {
    fn new(axis: Axis, channels: usize) -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            shuffles: avx2::Shuffles::new(&axis, channels),
            axis,
            channels,
        }
    }

    /// From `[source columns, channels]` and [`PADDING`] to `[columns, channels]`.
    fn mix(&self, row: &[u8], out: &mut [u8]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(shuffles) = &self.shuffles {
            return shuffles.mix(row, out);
        }
        self.mix_portably(row, out);
    }

    fn mix_portably(&self, row: &[u8], out: &mut [u8]) {
        match self.channels {
            3 => self.mix_colours(row, out),
            _ => self.mix_one_by_one(row, out),
        }
    }

    /// Three channels as a vector of four: one byte more is read, from the next pixel or the padding.
    fn mix_colours(&self, row: &[u8], out: &mut [u8]) {
        for (column, pixel) in out.chunks_exact_mut(3).enumerate() {
            let mut sums = [HALF; 4];
            for pair in self.axis.pairs(column) {
                let [a, b] = pair.at.map(|at| &row[3 * at..][..4]);
                let [p, q] = pair.weights.map(u16::from);
                for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += u16::from(a) * p + u16::from(b) * q;
                }
            }
            pixel.iter_mut().zip(sums).for_each(|(out, sum)| *out = (sum >> 8) as u8);
        }
    }

    fn mix_one_by_one(&self, row: &[u8], out: &mut [u8]) {
        for (column, pixel) in out.chunks_exact_mut(self.channels).enumerate() {
            for (channel, out) in pixel.iter_mut().enumerate() {
                let add = |sum: u16, pair: &Pair| {
                    let [a, b] = pair.at.map(|at| u16::from(row[at * self.channels + channel]));
                    let [p, q] = pair.weights.map(u16::from);
                    sum + a * p + b * q
                };
                *out = (self.axis.pairs(column).iter().fold(HALF, add) >> 8) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Triangles with exact weights, no rounding.
    fn exact(source: &[u8], from: [usize; 2], channels: usize, to: [usize; 2]) -> Vec<f64> {
        let weights = |from: usize, to: usize, at: usize| -> Vec<f64> {
            let ratio = from as f64 / to as f64;
            let distance = |i: usize| (i as f64 + 0.5 - (at as f64 + 0.5) * ratio).abs() / ratio.max(1.0);
            let weights: Vec<f64> = (0..from).map(|i| (1.0 - distance(i)).max(0.0)).collect();
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / sum).collect()
        };
        let mut result = Vec::new();
        for y in 0..to[0] {
            let rows = weights(from[0], to[0], y);
            for x in 0..to[1] {
                let columns = weights(from[1], to[1], x);
                for channel in 0..channels {
                    let value = |i: usize, j: usize| f64::from(source[(i * from[1] + j) * channels + channel]);
                    let row = |i: usize| -> f64 { (0..from[1]).map(|j| columns[j] * value(i, j)).sum() };
                    result.push((0..from[0]).filter(|&i| rows[i] > 0.0).map(|i| rows[i] * row(i)).sum());
                }
            }
        }
        result
    }

    fn resized(source: &[u8], from: [usize; 2], channels: usize, to: [usize; 2]) -> Vec<u8> {
        let mut target = vec![0; to[0] * to[1] * channels];
        Resizer::default().resize(source, from, channels, &mut target, to);
        target
    }

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        use rand::{Rng, SeedableRng};
        let mut bytes = vec![0; length];
        rand_pcg::Pcg64::seed_from_u64(seed).fill_bytes(&mut bytes);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn it_is_the_mean_under_a_triangle(
            from in [1..80usize, 1..80usize], to in [1..60usize, 1..60usize], colour: bool, sharp: bool, seed: u64,
        ) {
            let channels = if colour { 3 } else { 1 };
            let mut source = noise(from[0] * from[1] * channels, seed);
            if sharp {
                source.iter_mut().for_each(|byte| *byte = if *byte < 128 { 0 } else { 255 });
            }
            // Each pass rounds once. Sums of its weights are off by up to half a 256th, and that much of each step from
            // one source position to the next is lost or gained.
            let pass = |axis: usize| 0.5 + 0.5 * (2.0 * (from[axis] as f64 / to[axis] as f64).max(1.0)).floor();
            let found = resized(&source, from, channels, to);
            for (found, exact) in found.iter().zip(exact(&source, from, channels, to)) {
                prop_assert!((f64::from(*found) - exact).abs() < pass(0) + pass(1), "{found} instead of {exact}");
            }
        }

        #[test]
        fn where_neighbours_differ_little_so_does_the_result(from in [20..80usize, 20..80usize], to in [1..60usize, 1..60usize]) {
            let wave = |at: usize| (127.5 + 127.0 * (at as f64 / 9.0).sin()) as u8;
            let source: Vec<u8> = (0..from[0] * from[1]).map(|at| wave(at % from[1] + at / from[1])).collect();
            for (found, exact) in resized(&source, from, 1, to).iter().zip(exact(&source, from, 1, to)) {
                prop_assert!((f64::from(*found) - exact).abs() < 1.5, "{found} instead of {exact}");
            }
        }

        #[test]
        fn vectors_change_nothing(from in 1..3000usize, to in 1..300usize, colour: bool, seed: u64) {
            let channels = if colour { 3 } else { 1 };
            let columns = Columns::new(Axis::new(from, to), channels);
            let mut row = noise(from * channels, seed);
            row.resize(from * channels + PADDING, 0);
            let mut found = [0, 1, 2].map(|_| vec![0; to * channels]);
            columns.mix(&row, &mut found[0]);
            columns.mix_portably(&row, &mut found[1]);
            columns.mix_one_by_one(&row, &mut found[2]);
            prop_assert_eq!(&found[0], &found[2]);
            prop_assert_eq!(&found[1], &found[2]);

            // The same bytes as rows.
            let rows = noise(from * 100, seed);
            for pairs in (0..to).step_by(7).map(|position| columns.axis.pairs(position)) {
                let mut found = [[0; 100]; 2];
                mix_rows(&rows, pairs, &mut found[0]);
                mix_rows_in_blocks(&rows, pairs, &mut found[1]);
                prop_assert_eq!(found[0], found[1]);
            }
        }
    }

    #[test]
    fn one_colour_stays_what_it_is() {
        for value in [0, 1, 127, 128, 254, 255] {
            for (from, to) in [([7, 300], [224, 5]), ([300, 9], [3, 224]), ([1, 1], [9, 9])] {
                let source = vec![value; from[0] * from[1] * 3];
                assert!(resized(&source, from, 3, to).iter().all(|&byte| byte == value));
            }
        }
    }

    #[test]
    fn an_axis_that_keeps_its_extent_keeps_its_values() {
        let source = noise(40 * 3 * 7, 1);
        let taller = resized(&source, [7, 40], 3, [14, 40]);
        assert_eq!(resized(&taller, [14, 40], 3, [14, 40]), taller);
        let column = resized(&noise(64, 2), [64, 1], 1, [64, 5]);
        assert!(column.chunks(5).zip(noise(64, 2)).all(|(row, value)| row == [value; 5]));
    }

    #[test]
    fn what_is_kept_from_one_picture_fits_the_next() {
        let mut resizer = Resizer::default();
        for width in (1..2 * MOST_KEPT).chain(1..9) {
            let source = noise(width * 2 * 3, width as u64);
            let mut found = vec![0; 4 * 4 * 3];
            resizer.resize(&source, [2, width], 3, &mut found, [4, 4]);
            assert_eq!(found, resized(&source, [2, width], 3, [4, 4]), "{width}");
            assert!(resizer.columns.len() <= MOST_KEPT);
        }
    }
}
