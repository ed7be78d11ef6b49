use super::{DType, Meta};

/// Values of a tensor which lives elsewhere, to be read.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Shape and element type.
    pub meta: &'a Meta,
    bytes: &'a [u8],
}

impl<'a> View<'a> {
    /// A view of `bytes`, which hold exactly the elements of `meta`, aligned for their type.
    pub fn new(meta: &'a Meta, bytes: &'a [u8]) -> Self {
        debug_assert_eq!(bytes.len(), meta.bytes());
        Self { meta, bytes }
    }

    /// Extents.
    pub fn dims(&self) -> &'a [usize] {
        self.meta.dims()
    }

    /// The elements of an f32 tensor.
    pub fn f32(&self) -> &'a [f32] {
        debug_assert_eq!(self.meta.dtype, DType::F32);
        bytemuck::cast_slice(self.bytes)
    }

    /// The elements of an i32 tensor.
    pub fn i32(&self) -> &'a [i32] {
        debug_assert_eq!(self.meta.dtype, DType::I32);
        bytemuck::cast_slice(self.bytes)
    }

    /// The bytes, whatever the element type.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Values of a tensor which lives elsewhere, to be written.
pub struct ViewMut<'a> {
    /// Shape and element type.
    pub meta: &'a Meta,
    bytes: &'a mut [u8],
}

impl<'a> ViewMut<'a> {
    /// A view of `bytes`, which hold exactly the elements of `meta`, aligned for their type.
    pub fn new(meta: &'a Meta, bytes: &'a mut [u8]) -> Self {
        debug_assert_eq!(bytes.len(), meta.bytes());
        Self { meta, bytes }
    }

    /// Extents.
    pub fn dims(&self) -> &'a [usize] {
        self.meta.dims()
    }

    /// The elements of an f32 tensor.
    pub fn f32(&mut self) -> &mut [f32] {
        debug_assert_eq!(self.meta.dtype, DType::F32);
        bytemuck::cast_slice_mut(self.bytes)
    }

    /// The elements of an i32 tensor.
    pub fn i32(&mut self) -> &mut [i32] {
        debug_assert_eq!(self.meta.dtype, DType::I32);
        bytemuck::cast_slice_mut(self.bytes)
    }

    /// The bytes, whatever the element type.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.bytes
    }
}
