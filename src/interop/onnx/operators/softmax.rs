//! Softmax and its logarithm.

use super::super::Outcome;
use super::super::call::Call;
use super::super::emitter::Emitter;
use super::super::tensor::Tensor;
use crate::ops;

/// The axes over which a softmax goes: one since version 13, before that all from one on.
pub fn axes(call: &Call<'_>, x: &Tensor) -> Outcome<(usize, usize)> {
    let one = call.opset >= 13;
    let axis = call.axis(call.int("axis", if one { -1 } else { 1 }), x.rank())?;
    Ok((axis, if one { axis + 1 } else { x.rank() }))
}

/// `Softmax` and `LogSoftmax`.
pub fn softmax(e: &mut Emitter, call: &Call<'_>, log: bool) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let (first, last) = axes(call, x)?;
    let order: Vec<usize> = if last - first == 1 {
        x.order().into_iter().filter(|&a| a != first).chain([first]).collect()
    } else {
        (0..x.rank()).collect()
    };
    let value = e.ordered(x, &order)?;
    let dims = e.graph.shape(value).dims().to_vec();
    let columns: usize = x.dims[first..last].iter().product();
    let g = &mut e.graph;
    let rows = ops::reshape(g, value, [x.elements() / columns.max(1), columns])?;
    let rows = if log { ops::log_softmax(g, rows)? } else { ops::softmax(g, rows)? };
    let value = ops::reshape(g, rows, dims)?;
    Ok(vec![e.result_ordered(x.element, value, order)])
}
