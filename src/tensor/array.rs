use super::Shape;

/// Values in f64, whatever their element type: the form in which the reference computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extents.
    pub shape: Shape,
    /// Elements, row-major.
    pub data: Vec<f64>,
}

impl Array {
    /// All zeros.
    pub fn zeros(shape: &Shape) -> Self {
        Self { shape: shape.clone(), data: vec![0.0; shape.elements()] }
    }

    /// Element `i` is `f(i)`, counted row-major.
    pub fn from_fn(shape: &Shape, f: impl FnMut(usize) -> f64) -> Self {
        Self { shape: shape.clone(), data: (0..shape.elements()).map(f).collect() }
    }

    /// The same shape with `f` of every element.
    pub fn map(&self, f: impl FnMut(f64) -> f64) -> Self {
        Self { shape: self.shape.clone(), data: self.data.iter().copied().map(f).collect() }
    }

    /// The position of `index` in [`Array::data`].
    pub fn offset(&self, index: &[usize]) -> usize {
        debug_assert_eq!(index.len(), self.shape.rank());
        index.iter().zip(self.shape.dims()).fold(0, |sum, (i, d)| sum * d + i)
    }

    /// The element at `index`.
    pub fn at(&self, index: &[usize]) -> f64 {
        self.data[self.offset(index)]
    }

    /// The element at `index`, to be written.
    pub fn at_mut(&mut self, index: &[usize]) -> &mut f64 {
        let offset = self.offset(index);
        &mut self.data[offset]
    }
}
