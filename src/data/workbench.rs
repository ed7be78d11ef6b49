use super::resize::Resizer;
use super::window::Window;
use super::{Image, Source};
use crate::error::Result;

/// What pictures are brought to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// `[height, width, channels]`.
    pub shape: [usize; 3],
    /// How values of more than 8 bits become bytes.
    pub window: Window,
}

/// Reads, decodes and resizes pictures one after another, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Workbench {
    file: Vec<u8>,
    image: Image,
    resizer: Resizer,
}

impl Workbench {
    /// Writes a picture to `target`, brought to a form; see [`Image::fit`].
    ///
    /// Errors: as [`Image::open`].
    pub fn fit(&mut self, source: &Source, form: Form, target: &mut [u8]) -> Result<()> {
        match source {
            Source::File(path) => self.image.read(path, form.window, &mut self.file)?,
            Source::Stacked { .. } | Source::Tile { .. } => self.image = source.image_with(form.window)?,
        }
        self.image.fit_to(form.shape, &mut self.resizer, target);
        Ok(())
    }
}
