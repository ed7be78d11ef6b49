use super::Image;
use super::image::check_shape;
use super::resize::Resizer;
use crate::error::{Error, Result};

/// What pictures are brought to: one shape, and how. From a shape alone it stretches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canvas {
    /// `[height, width, channels]`, 1 or 3 channels.
    pub shape: [usize; 3],
    /// How a picture of another size gets there.
    pub fit: Fit,
}

/// How pictures are brought to one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// Stretched: the aspect ratio is not kept.
    #[default]
    Stretch,
    /// For lines of text: as high as the canvas, in the picture's own aspect ratio, at its left. What is left of the width gets
    /// the mean colour of the picture's last column; a picture that is too long is narrowed.
    Line,
    /// For sequences: so many frames, two or more, stand below one another; each is stretched to its part of the height.
    Frames(usize),
}

impl From<[usize; 3]> for Canvas {
    fn from(shape: [usize; 3]) -> Self {
        Self { shape, fit: Fit::Stretch }
    }
}

impl Canvas {
    /// For so many frames of `shape`.
    pub fn of_frames(frames: usize, [height, width, channels]: [usize; 3]) -> Self {
        let fit = if frames > 1 { Fit::Frames(frames) } else { Fit::Stretch };
        Self { shape: [frames.max(1) * height, width, channels], fit }
    }

    /// How many frames stand below one another; 1 where pictures are no sequences.
    pub fn frames(&self) -> usize {
        if let Fit::Frames(frames) = self.fit { frames } else { 1 }
    }

    /// `[height, width]` of one frame.
    pub fn frame_size(&self) -> [usize; 2] {
        let [height, width, _] = self.shape;
        [height / self.frames(), width]
    }

    /// Columns that a picture of `[height, width]` takes; the rest is empty.
    pub fn covered(&self, [height, width]: [usize; 2]) -> usize {
        let [own_height, own_width, _] = self.shape;
        match self.fit {
            Fit::Line => {
                let covered = (width * own_height + height / 2) / height.max(1);
                covered.clamp(1, own_width)
            }
            Fit::Stretch | Fit::Frames(_) => own_width,
        }
    }

    /// Errors: if pictures cannot be brought to this shape, or its height does not divide into the frames.
    pub(super) fn check(&self) -> Result<()> {
        check_shape(self.shape)?;
        match self.fit {
            Fit::Frames(frames) if frames < 2 || !self.shape[0].is_multiple_of(frames) => {
                let height = self.shape[0];
                Err(Error::config(format!("a height of {height} does not divide into {frames} frames")))
            }
            _ => Ok(()),
        }
    }

    /// Bytes of a picture.
    pub(super) fn bytes(&self) -> usize {
        self.shape.iter().product()
    }

    /// A number for each way to fit, by which caches tell them apart.
    pub(super) fn fit_code(&self) -> u64 {
        match self.fit {
            Fit::Stretch => 0,
            Fit::Line => 1,
            Fit::Frames(frames) => frames as u64,
        }
    }

    /// Writes the picture to `target`, for a canvas that can be. What is left of `image` is of no use.
    pub(super) fn draw(&self, image: &mut Image, resizer: &mut Resizer, target: &mut [u8]) {
        let [height, width, channels] = self.shape;
        match self.fit {
            Fit::Line if self.covered(image.size) < width => {
                let covered = self.covered(image.size);
                let mut line = vec![0; height * covered * channels];
                image.fit_to([height, covered, channels], resizer, &mut line);
                lay_left(&line, [height, covered, channels], target);
            }
            Fit::Frames(frames) if image.size[0].is_multiple_of(frames) => {
                image.convert_to(channels);
                let (from, to) = ([image.size[0] / frames, image.size[1]], [height / frames, width]);
                let parts = image.pixels.chunks_exact(image.pixels.len() / frames);
                for (part, target) in parts.zip(target.chunks_exact_mut(to[0] * width * channels)) {
                    match from == to {
                        true => target.copy_from_slice(part),
                        false => resizer.resize(part, from, channels, target, to),
                    }
                }
            }
            _ => image.fit_to(self.shape, resizer, target),
        }
    }
}

/// Lays a picture of that shape at the left of a wider one of the same height.
fn lay_left(line: &[u8], [height, covered, channels]: [usize; 3], target: &mut [u8]) {
    let background: Vec<u8> = (0..channels)
        .map(|channel| {
            let column = line.chunks_exact(covered * channels).map(|row| row[(covered - 1) * channels + channel]);
            let sum: usize = column.map(usize::from).sum();
            ((sum + height / 2) / height) as u8
        })
        .collect();
    let rows = target.chunks_exact_mut(target.len() / height);
    for (row, line) in rows.zip(line.chunks_exact(covered * channels)) {
        row[..line.len()].copy_from_slice(line);
        row[line.len()..].chunks_exact_mut(channels).for_each(|pixel| pixel.copy_from_slice(&background));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(size: [usize; 2], pixels: &[u8]) -> Image {
        Image { size, channels: 1, pixels: pixels.to_vec() }
    }

    #[test]
    fn a_line_keeps_its_aspect_ratio_and_ends_in_its_last_columns_colour() {
        let canvas = Canvas { shape: [2, 5, 1], fit: Fit::Line };
        let fitted = grey([2, 3], &[1, 2, 30, 4, 5, 61]).fit(canvas).unwrap();
        assert_eq!(fitted.pixels, [1, 2, 30, 46, 46, 4, 5, 61, 46, 46]);
        let larger = grey([4, 4], &[[7; 8], [90; 8]].concat()).fit(canvas).unwrap();
        assert_eq!(larger.size, [2, 5]);
        assert_eq!(larger.pixels[2..5], [49, 49, 49], "two columns are left of four");
        let colour = grey([1, 1], &[8]).fit(Canvas { shape: [2, 3, 3], fit: Fit::Line }).unwrap();
        assert_eq!(colour.pixels, [8; 18]);
    }

    #[test]
    fn columns_that_a_picture_takes() {
        let canvas = Canvas { shape: [32, 100, 3], fit: Fit::Line };
        let covered = [[32, 40], [64, 41], [16, 90], [1000, 1], [1, 100_000]].map(|size| canvas.covered(size));
        assert_eq!(covered, [40, 21, 100, 1, 100]);
        assert_eq!(Canvas::from([32, 100, 3]).covered([32, 40]), 100);
    }

    #[test]
    fn a_long_line_is_narrowed() {
        let canvas = Canvas { shape: [2, 3, 1], fit: Fit::Line };
        let long: Vec<u8> = (0..24).map(|i| 10 * (i % 12) as u8).collect();
        let stretched = grey([2, 12], &long).fit([2, 3, 1]).unwrap();
        assert_eq!(grey([2, 12], &long).fit(canvas).unwrap(), stretched);
    }

    #[test]
    fn frames_do_not_run_into_each_other() {
        let canvas = Canvas::of_frames(2, [1, 1, 1]);
        assert_eq!((canvas.shape, canvas.frame_size(), canvas.frames()), ([2, 1, 1], [1, 1], 2));
        let fitted = grey([4, 2], &[0, 0, 0, 0, 200, 200, 200, 200]).fit(canvas).unwrap();
        assert_eq!(fitted.pixels, [0, 200]);
        assert_eq!(Canvas::of_frames(1, [4, 4, 3]), [4, 4, 3].into());
        let odd = Canvas { shape: [5, 4, 1], fit: Fit::Frames(2) };
        assert!(odd.check().unwrap_err().to_string().contains("does not divide into 2 frames"));
    }
}
