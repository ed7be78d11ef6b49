//! What ops that only move elements share: they see words of 32 bits, whatever those mean.

use crate::error::{Error, Result};
use crate::graph::Launch;
use crate::tensor::{DType, Meta, View, ViewMut};

/// Words that make a task of the CPU worth its overhead.
pub(super) const TASK: usize = 16 << 10;

/// Errors: if the elements are bytes, of which a GPU holds four in a word.
pub(super) fn expect_words(at: &str, input: &Meta) -> Result<()> {
    if input.dtype == DType::U8 {
        return Err(Error::shape(at, format!("{input}: bytes must be converted to floats first")));
    }
    Ok(())
}

/// The elements as words.
pub(super) fn words<'a>(view: &View<'a>) -> &'a [u32] {
    bytemuck::cast_slice(view.bytes())
}

/// The elements as words, to be written.
pub(super) fn words_mut<'a>(view: &'a mut ViewMut<'_>) -> &'a mut [u32] {
    bytemuck::cast_slice_mut(view.bytes())
}

/// Words that a kernel moves at once, if all of `extents` are to be divided by it: 4 or 1.
pub(super) fn width(extents: &[usize]) -> usize {
    if extents.iter().all(|e| e.is_multiple_of(4)) { 4 } else { 1 }
}

/// A kernel's name by its width.
pub(super) fn variant(width: usize) -> &'static str {
    if width == 4 { "vec4" } else { "scalar" }
}

/// A launch whose type V is `width` words.
pub(super) fn launch(shader: &'static str, text: &str, width: usize) -> Launch {
    Launch::new(shader, text).prepend(if width == 4 { "alias V = vec4u;\n" } else { "alias V = u32;\n" })
}
