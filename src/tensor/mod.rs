//! Arrays in host memory: shapes, element types, values.
//!
//! What comes in: numbers from files and users. What goes out: [`Tensor`]s, which every other room passes around, and
//! [`Array`]s, the f64 form in which the reference computes. Nothing here knows of graphs or devices.

mod array;
mod dtype;
mod shape;
mod view;

pub use array::Array;
pub use dtype::DType;
pub use shape::{Meta, Shape};
pub use view::{View, ViewMut};

use half::f16;

use crate::error::{Error, Result};

/// A dense array in host memory, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: Data,
}

/// The elements of a [`Tensor`].
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats.
    F16(Vec<f16>),
    /// Class ids and row indices.
    I32(Vec<i32>),
    /// Image bytes.
    U8(Vec<u8>),
}

impl Tensor {
    /// A tensor of `shape` from its elements in row-major order.
    ///
    /// Errors: if the number of elements is not the product of the shape.
    pub fn new(shape: impl Into<Shape>, data: impl Into<Data>) -> Result<Self> {
        let (shape, data) = (shape.into(), data.into());
        if shape.elements() != data.len() {
            let message = format!("{} values for shape {shape}, which has {}", data.len(), shape.elements());
            return Err(Error::shape("tensor", message));
        }
        Ok(Self { shape, data })
    }

    /// All zeros.
    pub fn zeros(meta: &Meta) -> Self {
        let n = meta.shape.elements();
        let data = match meta.dtype {
            DType::F32 => Data::F32(vec![0.0; n]),
            DType::F16 => Data::F16(vec![f16::ZERO; n]),
            DType::I32 => Data::I32(vec![0; n]),
            DType::U8 => Data::U8(vec![0; n]),
        };
        Self { shape: meta.shape.clone(), data }
    }

    /// One f32 without dimensions.
    pub fn scalar(value: f32) -> Self {
        Self { shape: Shape::scalar(), data: Data::F32(vec![value]) }
    }

    /// A tensor from an f64 array, rounded to `dtype`.
    pub fn from_array(array: &Array, dtype: DType) -> Self {
        let data = match dtype {
            DType::F32 => Data::F32(array.data.iter().map(|&x| x as f32).collect()),
            DType::F16 => Data::F16(array.data.iter().map(|&x| f16::from_f64(x)).collect()),
            DType::I32 => Data::I32(array.data.iter().map(|&x| x as i32).collect()),
            DType::U8 => Data::U8(array.data.iter().map(|&x| x as u8).collect()),
        };
        Self { shape: array.shape.clone(), data }
    }

    /// The same values in f64.
    pub fn to_array(&self) -> Array {
        let data = match &self.data {
            Data::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::F16(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::I32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            Data::U8(v) => v.iter().map(|&x| f64::from(x)).collect(),
        };
        Array { shape: self.shape.clone(), data }
    }

    /// The same values in f32.
    pub fn to_f32(&self) -> Self {
        Self::from_array(&self.to_array(), DType::F32)
    }

    /// A tensor from raw bytes, little-endian.
    ///
    /// Errors: if they are not as many as the shape needs.
    pub fn from_bytes(meta: &Meta, bytes: &[u8]) -> Result<Self> {
        let data = match meta.dtype {
            DType::F32 => Data::F32(bytemuck::pod_collect_to_vec(bytes)),
            DType::F16 => Data::F16(bytemuck::pod_collect_to_vec(bytes)),
            DType::I32 => Data::I32(bytemuck::pod_collect_to_vec(bytes)),
            DType::U8 => Data::U8(bytes.to_vec()),
        };
        Self::new(meta.shape.clone(), data)
    }

    /// Tensors after one another along their first dimension.
    ///
    /// Errors: if there are none, or they differ in more than that.
    pub fn join(tensors: &[&Self]) -> Result<Self> {
        let rest = |t: &Self| t.shape.dims().get(1..).map(<[usize]>::to_vec);
        let first = tensors.first().ok_or_else(|| Error::shape("join", "there are no tensors"))?;
        let same = |t: &&Self| rest(t).is_some() && rest(t) == rest(first) && t.dtype() == first.dtype();
        if !tensors.iter().all(same) {
            return Err(Error::shape("join", "the tensors differ in more than their first dimension"));
        }
        let mut dims = first.shape.dims().to_vec();
        dims[0] = tensors.iter().map(|t| t.shape.dims()[0]).sum();
        let bytes: Vec<u8> = tensors.iter().flat_map(|t| t.bytes()).copied().collect();
        Self::from_bytes(&Meta::new(dims, first.dtype()), &bytes)
    }

    /// The mean of f32 tensors, element by element.
    ///
    /// Errors: if there are none, or they differ in shape.
    pub fn mean(tensors: &[&Self]) -> Result<Self> {
        let first = tensors.first().ok_or_else(|| Error::shape("mean", "there are no tensors"))?;
        if tensors.iter().any(|t| t.meta() != Meta::f32(first.shape.clone())) {
            return Err(Error::shape("mean", "the tensors are not all floats of one shape"));
        }
        let mut sums = vec![0.0; first.f32().len()];
        tensors.iter().for_each(|t| sums.iter_mut().zip(t.f32()).for_each(|(sum, x)| *sum += x));
        sums.iter_mut().for_each(|sum| *sum /= tensors.len() as f32);
        Self::new(first.shape.clone(), sums)
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Its element type.
    pub fn dtype(&self) -> DType {
        match self.data {
            Data::F32(_) => DType::F32,
            Data::F16(_) => DType::F16,
            Data::I32(_) => DType::I32,
            Data::U8(_) => DType::U8,
        }
    }

    /// Shape and element type.
    pub fn meta(&self) -> Meta {
        Meta::new(self.shape.clone(), self.dtype())
    }

    /// The elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The elements as f32.
    ///
    /// # Panics
    /// If the element type is another one: a bug of the caller.
    pub fn f32(&self) -> &[f32] {
        match &self.data {
            Data::F32(v) => v,
            other => panic!("an f32 tensor was expected, this one holds {:?}", other.dtype()),
        }
    }

    /// The elements as i32.
    ///
    /// # Panics
    /// If the element type is another one: a bug of the caller.
    pub fn i32(&self) -> &[i32] {
        match &self.data {
            Data::I32(v) => v,
            other => panic!("an i32 tensor was expected, this one holds {:?}", other.dtype()),
        }
    }

    /// The elements as raw bytes, little-endian.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::F32(v) => bytemuck::cast_slice(v),
            Data::F16(v) => bytemuck::cast_slice(v),
            Data::I32(v) => bytemuck::cast_slice(v),
            Data::U8(v) => v,
        }
    }
}

impl Data {
    /// How many elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::U8(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F16(_) => DType::F16,
            Self::I32(_) => DType::I32,
            Self::U8(_) => DType::U8,
        }
    }
}

impl From<Vec<f32>> for Data {
    fn from(v: Vec<f32>) -> Self {
        Self::F32(v)
    }
}

impl From<Vec<i32>> for Data {
    fn from(v: Vec<i32>) -> Self {
        Self::I32(v)
    }
}

impl From<Vec<u8>> for Data {
    fn from(v: Vec<u8>) -> Self {
        Self::U8(v)
    }
}
