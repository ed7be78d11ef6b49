//! A window sliding over an image: what convolution and pooling have in common.

use crate::error::{Error, Result};

/// A window which slides over `[height, width]`. Pairs are in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Taps.
    pub size: [usize; 2],
    /// Pixels from one position to the next.
    pub stride: [usize; 2],
    /// Pixels added at the top, bottom, left and right.
    pub padding: [usize; 4],
    /// Pixels from one tap to the next.
    pub dilation: [usize; 2],
}

impl Window {
    /// Pixels from the first tap to the last, both included.
    pub fn span(&self) -> [usize; 2] {
        [0, 1].map(|axis| span(self.size[axis], self.dilation[axis]))
    }

    /// The number of positions on an image of `input` pixels.
    ///
    /// Errors, in the name of the op `at`: if an attribute is 0, or if the window does not fit the padded image.
    pub fn output(&self, at: &str, input: [usize; 2]) -> Result<[usize; 2]> {
        for (what, pair) in [("window", self.size), ("stride", self.stride), ("dilation", self.dilation)] {
            if pair.contains(&0) {
                return Err(Error::shape(at, format!("{what} {} must be at least 1", by(pair))));
            }
        }
        let [top, bottom, left, right] = self.padding;
        let padded = [input[0] + top + bottom, input[1] + left + right];
        let span = self.span();
        if span[0] > padded[0] || span[1] > padded[1] || input.contains(&0) {
            let dilated = if span == self.size { String::new() } else { format!(" (dilated to {})", by(span)) };
            return Err(Error::shape(
                at,
                format!(
                    "window {}{dilated} does not fit the padded input {}; reduce the window or add padding",
                    by(self.size),
                    by(padded)
                ),
            ));
        }
        Ok([0, 1].map(|axis| (padded[axis] - span[axis]) / self.stride[axis] + 1))
    }

    /// The pixel under tap `tap` of position `position` along an axis of `extent` pixels; `None` in the padding.
    pub fn pixel(&self, axis: usize, position: usize, tap: usize, extent: usize) -> Option<usize> {
        let padded = position * self.stride[axis] + tap * self.dilation[axis];
        padded.checked_sub(self.padding[2 * axis]).filter(|&pixel| pixel < extent)
    }
}

/// What is added around an image before a window slides over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub enum Padding {
    /// Nothing.
    #[default]
    Valid,
    /// As much that there are `ceil(input / stride)` positions; an odd pixel goes to the bottom and the right, as in
    /// TensorFlow.
    Same,
    /// Pixels at the top, bottom, left and right.
    Explicit([usize; 4]),
}

impl Padding {
    /// Pixels at the top, bottom, left and right, for an image of `input` pixels. A stride of 0 counts as 1: the op
    /// refuses it later.
    pub fn resolve(
        self,
        input: [usize; 2],
        window: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
    ) -> [usize; 4] {
        match self {
            Self::Valid => [0; 4],
            Self::Explicit(padding) => padding,
            Self::Same => {
                let total = |axis: usize| {
                    let stride = stride[axis].max(1);
                    let covered =
                        (input[axis].div_ceil(stride).max(1) - 1) * stride + span(window[axis], dilation[axis]);
                    covered.saturating_sub(input[axis])
                };
                let (vertical, horizontal) = (total(0), total(1));
                [vertical / 2, vertical.div_ceil(2), horizontal / 2, horizontal.div_ceil(2)]
            }
        }
    }
}

fn span(size: usize, dilation: usize) -> usize {
    size.saturating_sub(1) * dilation + 1
}

fn by([height, width]: [usize; 2]) -> String {
    format!("{height}x{width}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_pixel_at_the_end() {
        let resolve = |input, stride, dilation| Padding::Same.resolve(input, [3, 3], stride, dilation);
        assert_eq!(resolve([5, 6], [1, 1], [1, 1]), [1, 1, 1, 1]);
        assert_eq!(resolve([5, 6], [2, 2], [1, 1]), [1, 1, 0, 1]);
        assert_eq!(resolve([5, 6], [1, 1], [2, 3]), [2, 2, 3, 3]);
        assert_eq!(resolve([1, 9], [4, 5], [1, 1]), [1, 1, 0, 0]);
    }

    #[test]
    fn output_counts_the_positions_of_the_window() {
        let window = |size, stride, padding, dilation| Window { size, stride, padding, dilation };
        let count = |w: Window, input| w.output("conv2d", input).unwrap();
        assert_eq!(count(window([3, 2], [2, 3], [0, 1, 0, 0], [1, 1]), [6, 8]), [3, 3]);
        assert_eq!(count(window([3, 3], [1, 1], [0; 4], [2, 1]), [5, 3]), [1, 1]);
        let error = window([4, 4], [1, 1], [0; 4], [1, 1]).output("max_pool2d", [3, 5]).unwrap_err();
        let expected = "max_pool2d: window 4x4 does not fit the padded input 3x5; reduce the window or add padding";
        assert_eq!(error.to_string(), expected);
    }
}
