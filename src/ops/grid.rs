use crate::tensor::Shape;

/// All indices of a shape, row-major.
pub(super) fn indices(shape: &Shape) -> impl Iterator<Item = Vec<usize>> + '_ {
    let strides = shape.strides();
    (0..shape.elements())
        .map(move |i| shape.dims().iter().zip(&strides).map(|(&extent, &stride)| i / stride % extent).collect())
}
