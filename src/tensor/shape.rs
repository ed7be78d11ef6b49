use std::fmt;

use super::DType;
use crate::error::{Error, Result};

/// Extents of a tensor, outermost first; row-major.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The shape without dimensions: one element.
    pub fn scalar() -> Self {
        Self(Vec::new())
    }

    /// Extents.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// The extents of a tensor which must have `N` dimensions; `what` names it in the error.
    ///
    /// Errors: if the rank is another one.
    pub fn expect<const N: usize>(&self, at: &str, what: &str) -> Result<[usize; N]> {
        self.0
            .as_slice()
            .try_into()
            .map_err(|_| Error::shape(at, format!("{what} must have {N} dimensions, but its shape is {self}")))
    }

    /// The innermost extent; 1 for a scalar.
    pub fn last(&self) -> usize {
        self.0.last().copied().unwrap_or(1)
    }

    /// Elements from one step along each dimension to the next.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.rank()];
        for axis in (1..self.rank()).rev() {
            strides[axis - 1] = strides[axis] * self.0[axis];
        }
        strides
    }

    /// The common shape of two operands after numpy's rule: dimensions are aligned at the end, and an extent of 1 (or a
    /// missing one) stretches. `None` if they do not fit.
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        let rank = self.rank().max(other.rank());
        let extent = |s: &Self, axis: usize| (axis + s.rank()).checked_sub(rank).map_or(1, |i| s.0[i]);
        (0..rank)
            .map(|axis| match (extent(self, axis), extent(other, axis)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// Strides with which this shape is read as if it had the extents of `target`: 0 along stretched dimensions.
    pub fn broadcast_strides(&self, target: &Self) -> Vec<usize> {
        let missing = target.rank() - self.rank();
        let own = self.strides();
        (0..target.rank())
            .map(|axis| match axis.checked_sub(missing) {
                Some(i) if self.0[i] == target.0[axis] => own[i],
                _ => 0,
            })
            .collect()
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self(dims.to_vec())
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Self(dims)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self(dims.to_vec())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[")?;
        for (i, d) in self.0.iter().enumerate() {
            write!(f, "{}{d}", if i == 0 { "" } else { ", " })?;
        }
        write!(f, "]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Shape and element type: all that is known of a tensor before it has values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Extents.
    pub shape: Shape,
    /// Element type.
    pub dtype: DType,
}

impl Meta {
    /// From its parts.
    pub fn new(shape: impl Into<Shape>, dtype: DType) -> Self {
        Self { shape: shape.into(), dtype }
    }

    /// An f32 tensor of `shape`.
    pub fn f32(shape: impl Into<Shape>) -> Self {
        Self::new(shape, DType::F32)
    }

    /// An i32 tensor of `shape`.
    pub fn i32(shape: impl Into<Shape>) -> Self {
        Self::new(shape, DType::I32)
    }

    /// As ops see it: whatever is kept in 16 bits is f32 to them.
    pub fn computed(&self) -> Self {
        let dtype = if self.dtype == DType::F16 { DType::F32 } else { self.dtype };
        Self::new(self.shape.clone(), dtype)
    }

    /// Extents.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// Bytes in memory, without padding.
    pub fn bytes(&self) -> usize {
        self.elements() * self.dtype.size()
    }
}

impl fmt::Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", format!("{:?}", self.dtype).to_lowercase(), self.shape)
    }
}
