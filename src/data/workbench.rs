use super::resize::Resizer;
use super::{Canvas, Image, Source};
use crate::error::Result;

/// Reads, decodes and resizes pictures one after another, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Workbench {
    file: Vec<u8>,
    image: Image,
    resizer: Resizer,
}

impl Workbench {
    /// Writes a picture to `target`, brought to `canvas`; see [`Image::fit`].
    ///
    /// Errors: as [`Image::open`].
    pub fn fit(&mut self, source: &Source, canvas: Canvas, target: &mut [u8]) -> Result<()> {
        match source {
            Source::File(path) => self.image.read(path, &mut self.file)?,
            Source::Stacked { .. } | Source::Tile { .. } | Source::Frames(_) => self.image = source.image()?,
        }
        canvas.draw(&mut self.image, &mut self.resizer, target);
        Ok(())
    }
}
