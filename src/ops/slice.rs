//! A box cut out of a tensor.

use std::ops::Range;

use super::pad::change_margins;
use crate::error::{Error, Result};
use crate::graph::{Graph, Value};

/// The elements of `x` at the indices in `ranges`, one per axis. It is [`Pad`](super::Pad) with negative margins; its
/// gradient is padded with zeros.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let x = graph.input("x", Meta::f32([8, 5, 5, 3]));
/// let centre = ops::slice(&mut graph, x, &[0..8, 1..4, 1..4, 0..3])?;
/// assert_eq!(graph.shape(centre).dims(), [8, 3, 3, 3]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if `ranges` has not an entry for each axis, if a range is empty or reaches beyond the tensor, or if `x` holds
/// bytes.
pub fn slice(graph: &mut Graph, x: Value, ranges: &[Range<usize>]) -> Result<Value> {
    let shape = graph.shape(x);
    let inside = |(range, &extent): (&Range<usize>, &usize)| range.start < range.end && range.end <= extent;
    if ranges.len() != shape.rank() || !ranges.iter().zip(shape.dims()).all(inside) {
        return Err(Error::shape("slice", format!("ranges {ranges:?} do not lie inside shape {shape}")));
    }
    let margin =
        |(range, &extent): (&Range<usize>, &usize)| [-(range.start as isize), range.end as isize - extent as isize];
    let margins: Vec<[isize; 2]> = ranges.iter().zip(shape.dims()).map(margin).collect();
    change_margins(graph, x, &margins, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{assert_gradient, evaluate};
    use crate::tensor::Meta;

    #[test]
    fn known_box() {
        let values: Vec<f64> = (0..24).map(f64::from).collect();
        let cut = |g: &mut Graph, v: &[Value]| slice(g, v[0], &[1..2, 0..2, 1..3]);
        let result = evaluate(&[(&[2, 3, 4], &values)], cut);
        assert_eq!((result.shape.dims(), result.data.as_slice()), (&[1, 2, 2][..], &[13.0, 14.0, 17.0, 18.0][..]));
        assert_gradient(&[(&[2, 3, 4], &values)], cut);
    }

    #[test]
    fn a_whole_tensor_is_itself() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([2, 3]));
        assert_eq!(slice(&mut graph, x, &[0..2, 0..3]).unwrap(), x);
    }

    #[test]
    fn ranges_lie_inside() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([2, 3]));
        assert!(slice(&mut graph, x, &[0..2, 0..3, 0..1]).is_err());
        assert!(slice(&mut graph, x, &[0..2, 1..4]).is_err());
        assert!(slice(&mut graph, x, &[0..2, 1..1]).is_err());
    }
}
