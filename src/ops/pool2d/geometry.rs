use std::ops::Range;

use super::Pool2d;
use crate::error::{Error, Result};
use crate::graph::Launch;
use crate::ops::Window;
use crate::tensor::{DType, Meta};

/// A pooling of images of known size: `[n, h, w, c]` to `[n, oh, ow, c]`.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    pub pool: Pool2d,
    pub n: usize,
    pub input: [usize; 2],
    pub output: [usize; 2],
    pub channels: usize,
}

impl Geometry {
    /// Errors, in the name of the op `at`: if the input is not f32 `[n, h, w, c]`, or the window does not fit.
    pub fn new(at: &str, pool: Pool2d, x: &Meta) -> Result<Self> {
        if x.dtype != DType::F32 {
            return Err(Error::shape(at, format!("takes floats, not {x}")));
        }
        let [n, h, w, channels] = x.shape.expect(at, "the input")?;
        let Pool2d { window: size, stride, padding } = pool;
        let output = Window { size, stride, padding, dilation: [1, 1] }.output(at, [h, w])?;
        let [top, bottom, left, right] = padding;
        if top.max(bottom) >= size[0] || left.max(right) >= size[1] {
            let message = format!("padding {padding:?} must be less than the window {}x{}", size[0], size[1]);
            return Err(Error::shape(at, format!("{message}: some positions would hold nothing but padding")));
        }
        Ok(Self { pool, n, input: [h, w], output, channels })
    }

    /// As [`Geometry::new`], of an input which the shape rule has seen.
    pub fn known(pool: Pool2d, x: &Meta) -> Self {
        Self::new("pool2d", pool, x).expect("the shape rule has accepted it")
    }

    /// The pixels under a window along one axis; never empty.
    fn pixels(&self, axis: usize, position: usize) -> Range<usize> {
        let (start, padding) = (position * self.pool.stride[axis], self.pool.padding[2 * axis]);
        let end = (start + self.pool.window[axis]).min(self.input[axis] + padding);
        start.saturating_sub(padding)..end - padding
    }

    /// The windows which contain a pixel, along one axis.
    fn positions(&self, axis: usize, pixel: usize) -> Range<usize> {
        let (at, stride) = (pixel + self.pool.padding[2 * axis], self.pool.stride[axis]);
        let first = (at + 1).saturating_sub(self.pool.window[axis]).div_ceil(stride);
        first..(at / stride + 1).min(self.output[axis])
    }

    /// The pixels under a window, by number within the image, row by row.
    #[inline(always)]
    pub fn taps(&self, row: usize, column: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let (width, columns) = (self.input[1], self.pixels(1, column));
        self.pixels(0, row).flat_map(move |y| columns.clone().map(move |x| y * width + x))
    }

    /// How many pixels lie under a window.
    pub fn count(&self, row: usize, column: usize) -> usize {
        self.pixels(0, row).len() * self.pixels(1, column).len()
    }

    /// The most windows which contain the same pixel.
    pub fn overlap(&self) -> usize {
        [0, 1].map(|axis| self.pool.window[axis].div_ceil(self.pool.stride[axis])).iter().product()
    }

    /// Elements of one image, and of its result.
    pub fn image(&self) -> [usize; 2] {
        [self.input, self.output].map(|size| size[0] * size[1] * self.channels)
    }

    /// Sets the gradient of one image to 0: all of it, or, if windows do not overlap, what lies in none of them.
    pub fn clear(&self, image: &mut [f32]) {
        if self.overlap() > 1 {
            return image.fill(0.0);
        }
        let (width, c) = (self.input[1], self.channels);
        let outside: Vec<usize> = (0..width).filter(|&x| self.positions(1, x).is_empty()).collect();
        for (y, line) in image.chunks_exact_mut(width * c).enumerate() {
            if self.positions(0, y).is_empty() {
                line.fill(0.0);
            } else {
                outside.iter().for_each(|x| line[x * c..][..c].fill(0.0));
            }
        }
    }

    /// Channels an invocation may take: 4 where that divides them.
    pub fn widths(&self) -> &'static [usize] {
        if self.channels.is_multiple_of(4) { &[4, 1] } else { &[1] }
    }

    /// A launch with the header which all shaders of pooling want, for `width` channels an invocation.
    pub fn launch(&self, shader: &'static str, text: &str, width: usize) -> Launch {
        let types = if width == 4 { ("vec4f", "vec4<bool>") } else { ("f32", "bool") };
        let Pool2d { window, stride, padding } = self.pool;
        Launch::new(shader, text).prepend(&format!("alias V = {};\nalias B = {};\n", types.0, types.1)).constants([
            ("C", self.channels / width),
            ("H", self.input[0]),
            ("W", self.input[1]),
            ("OH", self.output[0]),
            ("OW", self.output[1]),
            ("KH", window[0]),
            ("KW", window[1]),
            ("SH", stride[0]),
            ("SW", stride[1]),
            ("TOP", padding[0]),
            ("LEFT", padding[2]),
        ])
    }
}

/// The kernel variant of an invocation for that many channels.
pub(super) fn variant(width: usize) -> &'static str {
    if width == 4 { "vec4" } else { "scalar" }
}
