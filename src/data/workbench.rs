use super::resize::Resizer;
use super::{Image, Source};
use crate::error::Result;

/// Reads, decodes and resizes pictures one after another, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Workbench {
    file: Vec<u8>,
    image: Image,
    resizer: Resizer,
}

impl Workbench {
    /// Writes a picture to `target`, as `[height, width, channels]`; see [`Image::fit`].
    ///
    /// Errors: as [`Image::open`].
    pub fn fit(&mut self, source: &Source, shape: [usize; 3], target: &mut [u8]) -> Result<()> {
        match source {
            Source::File(path) => self.image.read(path, &mut self.file)?,
            Source::Stacked { .. } | Source::Tile { .. } => self.image = source.image()?,
        }
        self.image.fit_to(shape, &mut self.resizer, target);
        Ok(())
    }
}
