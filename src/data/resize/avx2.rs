//! With AVX2: one instruction multiplies the two bytes of a pair with their weights and adds them, for 16 output values at
//! once. It wants them side by side. Two rows are interleaved for it; in a row, a shuffle brings them together.
//!
//! It takes bytes as signed, so 128 is taken off first and added at the end. The sums stay within 16 bits, as the weights of
//! an output add up to 256.

use std::arch::x86_64::*;

use super::axis::{Axis, Pair};
use super::{HALF, PADDING};

/// Bytes of a row that are mixed at once; no row may be shorter.
pub const BLOCK: usize = 64;

/// As [`super::mix_rows`]; `None`, and nothing done, if this machine has no AVX2 or the row is shorter than a block.
pub fn mix_rows(source: &[u8], pairs: &[Pair], row: &mut [u8]) -> Option<()> {
    if row.len() < BLOCK || !is_x86_feature_detected!("avx2") {
        return None;
    }
    // SAFETY: there is AVX2.
    unsafe { mix_rows_with_avx2(source, pairs, row) };
    Some(())
}

#[target_feature(enable = "avx2")]
fn mix_rows_with_avx2(source: &[u8], pairs: &[Pair], row: &mut [u8]) {
    let length = row.len();
    let sign = _mm256_set1_epi8(i8::MIN);
    for start in (0..length).step_by(BLOCK) {
        // The last block overlaps the one before.
        let start = start.min(length - BLOCK);
        let mut sums = [_mm256_set1_epi16(HALF as i16); 4];
        for pair in pairs {
            let weights = _mm256_set1_epi16(i16::from_le_bytes(pair.weights));
            let a = block(source, pair.at[0] * length + start);
            let b = block(source, pair.at[1] * length + start);
            for half in 0..2 {
                let a = _mm256_xor_si256(a[half], sign);
                let b = _mm256_xor_si256(b[half], sign);
                let low = _mm256_maddubs_epi16(weights, _mm256_unpacklo_epi8(a, b));
                let high = _mm256_maddubs_epi16(weights, _mm256_unpackhi_epi8(a, b));
                sums[2 * half] = _mm256_add_epi16(sums[2 * half], low);
                sums[2 * half + 1] = _mm256_add_epi16(sums[2 * half + 1], high);
            }
        }
        for half in 0..2 {
            let low = _mm256_srai_epi16::<8>(sums[2 * half]);
            let high = _mm256_srai_epi16::<8>(sums[2 * half + 1]);
            let bytes = _mm256_xor_si256(_mm256_packs_epi16(low, high), sign);
            row[start + 32 * half..][..32].copy_from_slice(&bytemuck::cast::<__m256i, [u8; 32]>(bytes));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn block(source: &[u8], start: usize) -> [__m256i; 2] {
    let bytes: &[u8; BLOCK] = source[start..][..BLOCK].try_into().expect("the slice is as long");
    bytemuck::cast(*bytes)
}

/// Output values that one shuffle is for.
const GROUP: usize = 8;

/// For every four groups in turn: shuffles for groups 0 and 2, then as many for 1 and 3. So packing their sums to bytes,
/// which goes by halves of vectors, puts them in order.
#[derive(Debug)]
pub struct Shuffles {
    steps: Vec<Step>,
    /// How many of them for each two groups.
    each: usize,
}

/// For two groups of output values, one pair of bytes each and their weights.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
struct Step {
    /// Which byte of the window of 16; 128 and above for none.
    bytes: [[u8; 16]; 2],
    weights: [[u8; 16]; 2],
    /// Where in the row the windows begin.
    windows: [u32; 2],
}

/// The half of a step that is for one group.
struct Half {
    window: usize,
    bytes: [u8; 16],
    weights: [u8; 16],
}

impl Shuffles {
    /// `None` if this machine has no AVX2.
    pub fn new(axis: &Axis, channels: usize) -> Option<Self> {
        is_x86_feature_detected!("avx2").then(|| Self::of(axis, channels))
    }

    fn of(axis: &Axis, channels: usize) -> Self {
        let outputs = axis.len() * channels;
        let groups = outputs.div_ceil(4 * GROUP) * 4;
        let (mut halves, mut bounds) = (Vec::with_capacity(groups), vec![0]);
        for group in 0..groups {
            let mut waiting: [(usize, &[Pair]); GROUP] = [(0, &[]); GROUP];
            for (output, waiting) in (group * GROUP..outputs).zip(&mut waiting) {
                *waiting = (output % channels, axis.pairs(output / channels));
            }
            halves.extend(std::iter::from_fn(|| Half::next(&mut waiting, channels)));
            bounds.push(halves.len());
        }
        let each = bounds.windows(2).map(|bounds| bounds[1] - bounds[0]).max().unwrap_or(0);
        let nothing = Step { bytes: [[0x80; 16]; 2], weights: [[0; 16]; 2], windows: [0; 2] };
        let mut steps = vec![nothing; groups / 2 * each];
        for (group, bounds) in bounds.windows(2).enumerate() {
            let (two, side) = (group / 4 * 2 + group % 2, group % 4 / 2);
            for (step, half) in steps[two * each..].iter_mut().zip(&halves[bounds[0]..bounds[1]]) {
                step.windows[side] = half.window as u32;
                step.bytes[side] = half.bytes;
                step.weights[side] = half.weights;
            }
        }
        Self { steps, each }
    }

    /// From a source row and its padding to an output row.
    pub fn mix(&self, row: &[u8], out: &mut [u8]) {
        // SAFETY: there are no shuffles without AVX2.
        unsafe { self.mix_with_avx2(row, out) }
    }

    #[target_feature(enable = "avx2")]
    fn mix_with_avx2(&self, row: &[u8], out: &mut [u8]) {
        let sign = _mm256_set1_epi8(i8::MIN);
        for (out, steps) in out.chunks_mut(4 * GROUP).zip(self.steps.chunks_exact(2 * self.each)) {
            let (even, odd) = steps.split_at(self.each);
            let signed = _mm256_packs_epi16(sums(even, row), sums(odd, row));
            let bytes = bytemuck::cast::<__m256i, [u8; 32]>(_mm256_xor_si256(signed, sign));
            match <&mut [u8; 32]>::try_from(&mut *out) {
                Ok(out) => *out = bytes,
                Err(_) => out.copy_from_slice(&bytes[..out.len()]),
            }
        }
    }
}

/// Output values less 128, for two groups.
#[inline]
#[target_feature(enable = "avx2")]
fn sums(steps: &[Step], row: &[u8]) -> __m256i {
    let sign = _mm256_set1_epi8(i8::MIN);
    let mut sum = _mm256_set1_epi16(HALF as i16);
    for step in steps {
        let [a, b] = [window(row, step.windows[0]), window(row, step.windows[1])];
        let pixels = _mm256_xor_si256(_mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b), sign);
        let pairs = _mm256_shuffle_epi8(pixels, bytemuck::cast(step.bytes));
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(bytemuck::cast(step.weights), pairs));
    }
    _mm256_srai_epi16::<8>(sum)
}

#[inline]
#[target_feature(enable = "avx2")]
fn window(row: &[u8], start: u32) -> __m128i {
    let bytes: &[u8; PADDING] = row[start as usize..][..PADDING].try_into().expect("the slice is as long");
    bytemuck::cast(*bytes)
}

impl Half {
    /// The next pair of each output value, as far as they lie close enough to the first of them.
    fn next(waiting: &mut [(usize, &[Pair]); GROUP], channels: usize) -> Option<Self> {
        let byte = |pair: &Pair, side: usize, channel: usize| pair.at[side] * channels + channel;
        let firsts = waiting.iter().filter_map(|(channel, pairs)| Some(byte(pairs.first()?, 0, *channel)));
        let mut half = Self { window: firsts.min()?, bytes: [0x80; 16], weights: [0; 16] };
        for (output, (channel, pairs)) in waiting.iter_mut().enumerate() {
            let Some((pair, rest)) = pairs.split_first() else { continue };
            if byte(pair, 1, *channel) < half.window + PADDING {
                for side in 0..2 {
                    half.bytes[2 * output + side] = (byte(pair, side, *channel) - half.window) as u8;
                    half.weights[2 * output + side] = pair.weights[side];
                }
                *pairs = rest;
            }
        }
        Some(half)
    }
}
