use bytemuck::{Pod, Zeroable};

use crate::ops::random::scramble;

/// What happens to one image, as the kernel reads it: 32 numbers. See [`augment`](super::augment()).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct AugmentRow {
    /// `[a, b, t, g]`: the image's column is `(a·x + b·y + t) / (1 + g·x + h·y)`.
    pub column: [f32; 4],
    /// `[c, d, u, h]`: the image's row is `(c·x + d·y + u) / (1 + g·x + h·y)`.
    pub line: [f32; 4],
    /// Shares of red, green and blue in the new red.
    pub red: [f32; 3],
    /// What is added to every value.
    pub brightness: f32,
    /// Shares of red, green and blue in the new green.
    pub green: [f32; 3],
    /// The factor of every value's difference from one half.
    pub contrast: f32,
    /// Shares of red, green and blue in the new blue.
    pub blue: [f32; 3],
    /// Standard deviation of the Gaussian that `sharpen` looks through, in pixels; 0 for none.
    pub blur: f32,
    /// `[left, top, right, bottom]` of what is erased; right and bottom are outside it.
    pub erase: [f32; 4],
    /// How much of the difference from the blurred image is added; -1 blurs.
    pub sharpen: f32,
    /// Values from here on are turned to 1 - value; above 1 none are.
    pub solarize: f32,
    /// Values are rounded down to multiples of this many 255ths; 0 leaves them.
    pub posterize: f32,
    /// Standard deviation of the noise.
    pub noise: f32,
    /// A whole number from which the noise follows, below 2²⁴.
    pub key: f32,
    /// Makes the row a whole number of vectors.
    pub unused: [f32; 3],
}

impl AugmentRow {
    /// How many numbers it is.
    pub const LEN: usize = size_of::<Self>() / size_of::<f32>();

    /// No change.
    pub const STILL: Self = Self {
        column: [1.0, 0.0, 0.0, 0.0],
        line: [0.0, 1.0, 0.0, 0.0],
        red: [1.0, 0.0, 0.0],
        brightness: 0.0,
        green: [0.0, 1.0, 0.0],
        contrast: 1.0,
        blue: [0.0, 0.0, 1.0],
        blur: 0.0,
        erase: [0.0; 4],
        sharpen: 0.0,
        solarize: 2.0,
        posterize: 0.0,
        noise: 0.0,
        key: 0.0,
        unused: [0.0; 3],
    };

    /// Column and row of the image which are seen at a column and row of the view; perhaps beyond its edges.
    pub fn source(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let depth = 1.0 + self.column[3] * x + self.line[3] * y;
        [self.column, self.line].map(|[a, b, shift, _]| (a * x + b * y + shift) / depth)
    }

    /// The colours of the result as shares of those of the image.
    pub(super) fn colours(&self) -> [[f32; 3]; 3] {
        [self.red, self.green, self.blue]
    }

    /// Whether each pixel comes from the one in its place.
    pub(super) fn keeps_places(&self) -> bool {
        self.column == Self::STILL.column && self.line == Self::STILL.line
    }

    /// Whether each colour comes from itself alone.
    pub(super) fn keeps_colours(&self) -> bool {
        self.colours() == Self::STILL.colours()
    }

    /// Columns and rows within which pixels are erased.
    pub(super) fn erased(&self, [height, width]: [usize; 2]) -> [std::ops::Range<usize>; 2] {
        let [left, top, right, bottom] = self.erase.map(|at| at.max(0.0) as usize);
        [left.min(width)..right.min(width), top.min(height)..bottom.min(height)]
    }

    /// Pixels to each side that the blur looks at: two standard deviations.
    pub(super) fn radius(&self) -> usize {
        (2.0 * self.blur).ceil() as usize
    }
}

/// Noise with mean 0 and variance 1: four whole numbers of 16 bits, hashed from `key` and position and added up (Irwin-Hall's
/// distribution), which every device gets exactly.
pub(super) fn noise(key: u32, position: u32) -> f32 {
    const MEAN: i32 = 2 * 65535;
    let first = scramble(position ^ scramble(key));
    let second = scramble(first ^ 0x9e37_79b9);
    let sum = (first & 0xffff) + (first >> 16) + (second & 0xffff) + (second >> 16);
    (sum as i32 - MEAN) as f32 * NOISE_SCALE
}

/// One over the standard deviation of such a sum, `√(4 · 65536² / 12)`.
const NOISE_SCALE: f32 = 1.0 / 37837.227;
