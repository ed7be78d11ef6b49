/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float: activations, weights, losses.
    F32,
    /// 16-bit float: how a GPU may keep activations between ops, which compute with them in f32.
    F16,
    /// 32-bit integer: class ids, row indices, counters.
    I32,
    /// Byte: images on their way to the device. On a GPU four share a `u32`, the first in the low bits.
    U8,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F16 => 2,
            Self::U8 => 1,
        }
    }

    /// The WGSL type of the array elements which hold it.
    pub fn wgsl(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I32 => "i32",
            Self::U8 => "u32",
        }
    }
}
