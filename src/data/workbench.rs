use super::resize::Resizer;
use super::window::Window;
use super::{Canvas, Image, Source};
use crate::error::Result;

/// What pictures are brought to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Shape, and how pictures of other shapes are fitted to it.
    pub canvas: Canvas,
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
            Source::Stacked { .. } | Source::Tile { .. } | Source::Frames(_) => {
                self.image = source.image_with(form.window)?;
            }
        }
        form.canvas.draw(&mut self.image, &mut self.resizer, target);
        Ok(())
    }
}
