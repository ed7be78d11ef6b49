use std::sync::Arc;

use super::element::Element;
use super::{Halt, Outcome};
use crate::error::Error;
use crate::graph::Value;
use crate::tensor::{Array, Shape};

/// A value of an ONNX graph on the way into ours.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Element type.
    pub element: Element,
    /// Extents, in ONNX's order of axes.
    pub dims: Vec<usize>,
    /// Where the elements are.
    pub content: Content,
}

/// Where a tensor's elements are.
#[derive(Clone, Debug)]
pub enum Content {
    /// Here, in ONNX's order of axes.
    Known {
        /// The elements.
        array: Arc<Array>,
        /// What they follow from.
        origin: Origin,
    },
    /// Computed by our graph. Axis `k` of `value` is axis `order[k]` of the tensor: permutations cost nothing until an op
    /// needs the axes in a certain order.
    Device {
        /// The value: f32, or i32 for whole numbers that do not fit f32.
        value: Value,
        /// The order of its axes.
        order: Vec<usize>,
    },
}

/// What known elements follow from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// The file alone; the name is that of the initializer whose elements they are.
    File(Option<Arc<str>>),
    /// What was given for this run.
    Run,
}

/// Most elements of a tensor that is computed here rather than on a device.
const MOST_ELEMENTS: usize = 1 << 28;
/// What is known for this run only is computed here when it is no larger than this.
const SMALL: usize = 4096;

impl Tensor {
    /// Of elements that follow from the file alone.
    pub fn fixed(element: Element, array: Array) -> Self {
        Self::known(element, array, Origin::File(None))
    }

    /// Of known elements.
    pub fn known(element: Element, array: Array, origin: Origin) -> Self {
        let dims = array.shape.dims().to_vec();
        Self { element, dims, content: Content::Known { array: Arc::new(array), origin } }
    }

    /// Of a value of our graph in ONNX's order of axes.
    pub fn plain(element: Element, value: Value, dims: Vec<usize>) -> Self {
        let order = (0..dims.len()).collect();
        Self { element, dims, content: Content::Device { value, order } }
    }

    /// Of a value of our graph whose axis `k` is the tensor's axis `order[k]`.
    pub fn ordered(element: Element, value: Value, physical: &[usize], order: Vec<usize>) -> Self {
        let mut dims = vec![0; physical.len()];
        order.iter().zip(physical).for_each(|(&axis, &extent)| dims[axis] = extent);
        Self { element, dims, content: Content::Device { value, order } }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// The elements.
    ///
    /// Halts if they must be computed first.
    pub fn array(&self) -> Outcome<&Arc<Array>> {
        match &self.content {
            Content::Known { array, .. } => Ok(array),
            Content::Device { .. } => Err(Halt::NeedsValues),
        }
    }

    /// The elements as whole numbers. Halts as [`Tensor::array`].
    pub fn ints(&self) -> Outcome<Vec<i64>> {
        Ok(self.array()?.data.iter().map(|&x| x as i64).collect())
    }

    /// The only element. Halts as [`Tensor::array`].
    pub fn scalar(&self) -> Outcome<f64> {
        match self.array()?.data[..] {
            [x] => Ok(x),
            _ => Err(Error::shape("onnx", format!("one number was expected, not {:?}", self.dims)).into()),
        }
    }

    /// Whether the elements are known.
    pub fn is_known(&self) -> bool {
        matches!(self.content, Content::Known { .. })
    }

    /// Whether the elements are known for this run only.
    pub fn is_of_run(&self) -> bool {
        matches!(self.content, Content::Known { origin: Origin::Run, .. })
    }

    /// The order of axes in which the elements stand.
    pub fn order(&self) -> Vec<usize> {
        match &self.content {
            Content::Known { .. } => (0..self.rank()).collect(),
            Content::Device { order, .. } => order.clone(),
        }
    }

    /// The same elements as another type.
    pub fn with_element(&self, element: Element) -> Self {
        Self { element, ..self.clone() }
    }
}

/// What a result of these tensors follows from.
pub fn origin(inputs: &[&Tensor]) -> Origin {
    if inputs.iter().any(|t| t.is_of_run()) { Origin::Run } else { Origin::File(None) }
}

/// Whether a simple op on these tensors, with a result of that many elements, is done here: because devices cannot, because
/// it follows from the file alone, or because it is small.
///
/// Halts if devices cannot, but a value must be computed first.
pub fn is_here(inputs: &[&Tensor], elements: usize) -> Outcome<bool> {
    let known = inputs.iter().all(|t| t.is_known());
    let must = elements == 0 || inputs.iter().any(|t| !t.element.fits_device() || t.elements() == 0);
    if must && !known {
        return Err(Halt::NeedsValues);
    }
    Ok(known && (must || elements <= SMALL || !inputs.iter().any(|t| t.is_of_run())))
}

/// The number of elements of a tensor that is computed here.
///
/// Errors: if there are too many.
pub fn count(dims: &[usize]) -> Outcome<usize> {
    let elements = dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= MOST_ELEMENTS);
    elements.ok_or_else(|| Error::shape("onnx", format!("a tensor of shape {dims:?} is too large")).into())
}

/// The array of shape `dims` whose element at each index is `f` of that index.
pub fn build(dims: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Outcome<Array> {
    let n = count(dims)?;
    let mut index = vec![0; dims.len()];
    let mut data = Vec::with_capacity(n);
    for _ in 0..n {
        data.push(f(&index));
        advance(&mut index, dims);
    }
    Ok(Array { shape: Shape::from(dims), data })
}

/// Moves to the next index of a shape, row-major.
pub fn advance(index: &mut [usize], dims: &[usize]) {
    for (i, &extent) in index.iter_mut().zip(dims).rev() {
        *i += 1;
        if *i < extent {
            return;
        }
        *i = 0;
    }
}

/// `array` with its axes in that order.
pub fn permuted(array: &Array, order: &[usize]) -> Array {
    let strides = array.shape.strides();
    let (dims, strides): (Vec<usize>, Vec<usize>) =
        order.iter().map(|&axis| (array.shape.dims()[axis], strides[axis])).unzip();
    let mut index = vec![0; dims.len()];
    let mut data = Vec::with_capacity(array.data.len());
    for _ in 0..array.data.len() {
        data.push(array.data[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
        advance(&mut index, &dims);
    }
    Array { shape: dims.into(), data }
}
