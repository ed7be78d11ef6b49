//! Random bits as a function of seed, step and position, which every device gets exactly: nothing of them need be kept for the
//! gradient. Positions count from the step's first picture, so that it does not matter in how many parts a step is computed.
//! The same in WGSL is `shaders/common/random.wgsl`.

/// The random bits of an op in one step.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    key: u32,
    step_key: u32,
    /// Position of the first element.
    start: u32,
}

impl Stream {
    /// Of the op with that seed in step number `step`, from its picture number `first` on, where each picture has
    /// `per_picture` elements.
    pub fn new(seed: u32, [step, first]: [i32; 2], per_picture: usize) -> Self {
        let key = scramble(seed);
        let start = (first as u32).wrapping_mul(per_picture as u32);
        Self { key, step_key: scramble(key ^ step as u32), start }
    }

    pub fn bits(self, position: usize) -> u32 {
        scramble(scramble(self.start.wrapping_add(position as u32) ^ self.key).wrapping_add(self.step_key))
    }
}

/// A permutation of the 32-bit numbers whose output bits depend evenly on the input bits: lowbias32 (C. Wellons,
/// <https://github.com/skeeto/hash-prospector>).
pub(super) fn scramble(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Elements of each picture: of all but the first dimension.
pub(super) fn per_picture(dims: &[usize]) -> usize {
    dims.iter().skip(1).product()
}
