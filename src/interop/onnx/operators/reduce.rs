//! Reductions over axes.

use super::super::Outcome;
use super::super::call::Call;
use super::super::element::Element;
use super::super::emitter::Emitter;
use super::super::tensor::{self, Tensor};
use crate::graph::{Function, Value};
use crate::ops;
use crate::tensor::Array;

/// What becomes of the elements.
#[derive(Clone, Copy, PartialEq)]
pub enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
    Product,
    L1,
    L2,
    LogSum,
    LogSumExp,
    SumOfSquares,
}

use Reduction as R;

impl Reduction {
    fn of(self, values: &[f64], element: Element) -> f64 {
        let sum = |f: fn(f64) -> f64| values.iter().copied().map(f).sum::<f64>();
        let (least, most) = element.range();
        match self {
            R::Sum => sum(|x| x),
            R::Mean => sum(|x| x) / values.len() as f64,
            R::Max => values.iter().copied().fold(least, f64::max),
            R::Min => values.iter().copied().fold(most, f64::min),
            R::Product => values.iter().product(),
            R::L1 => sum(f64::abs),
            R::L2 => sum(|x| x * x).sqrt(),
            R::LogSum => sum(|x| x).ln(),
            R::LogSumExp => {
                let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                if largest.is_finite() {
                    largest + values.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
                } else {
                    largest
                }
            }
            R::SumOfSquares => sum(|x| x * x),
        }
    }

    fn emit(self, e: &mut Emitter, x: Value, axes: &[usize]) -> Outcome<Value> {
        let g = &mut e.graph;
        Ok(match self {
            R::Sum => ops::sum(g, x, axes, true)?,
            R::Mean => ops::mean(g, x, axes, true)?,
            R::Max => ops::max_over(g, x, axes, true)?,
            R::Min => {
                let negative = ops::unary(g, Function::Neg, x)?;
                let largest = ops::max_over(g, negative, axes, true)?;
                ops::unary(g, Function::Neg, largest)?
            }
            R::L1 => {
                let absolute = ops::unary(g, Function::Abs, x)?;
                ops::sum(g, absolute, axes, true)?
            }
            R::LogSum => {
                let sum = ops::sum(g, x, axes, true)?;
                ops::log(g, sum)?
            }
            R::LogSumExp => {
                let largest = ops::max_over(g, x, axes, true)?;
                let below = ops::sub(g, x, largest)?;
                let powers = ops::exp(g, below)?;
                let sum = ops::sum(g, powers, axes, true)?;
                let log = ops::log(g, sum)?;
                ops::add(g, log, largest)?
            }
            R::SumOfSquares | R::L2 => {
                let squares = ops::mul(g, x, x)?;
                let sum = ops::sum(g, squares, axes, true)?;
                if self == R::L2 { ops::sqrt(g, sum)? } else { sum }
            }
            R::Product => unreachable!("products are computed here"),
        })
    }
}

/// `ReduceSum`, `ReduceMean`, ….
pub fn reduce(e: &mut Emitter, call: &Call<'_>, reduction: Reduction) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let given = call.ints_or_input("axes", 1)?.unwrap_or_default();
    if given.is_empty() && call.flag("noop_with_empty_axes", false) {
        return Ok(vec![x.clone()]);
    }
    let mut axes = given.iter().map(|&a| call.axis(a, x.rank())).collect::<Outcome<Vec<_>>>()?;
    if axes.is_empty() {
        axes = (0..x.rank()).collect();
    }
    let kept: Vec<usize> = (0..x.rank()).map(|a| if axes.contains(&a) { 1 } else { x.dims[a] }).collect();
    let here = reduction == R::Product || !x.element.is_float() || tensor::is_here(&[x], x.elements())?;
    let result = if here {
        let (array, element) = (x.array()?, x.element);
        let array = gather_runs(array, &axes, &kept, |values| element.hold(reduction.of(values, element)))?;
        Tensor::known(element, array, tensor::origin(&[x]))
    } else {
        let order = x.order();
        let value = e.ordered(x, &order)?;
        let physical: Vec<usize> = (0..order.len()).filter(|&k| axes.contains(&order[k])).collect();
        let value = if physical.is_empty() { value } else { reduction.emit(e, value, &physical)? };
        e.result_ordered(x.element, value, order)
    };
    if call.flag("keepdims", true) {
        return Ok(vec![result]);
    }
    let dims = (0..x.rank()).filter(|a| !axes.contains(a)).map(|a| x.dims[a]).collect();
    Ok(vec![e.reshape(&result, dims)?])
}

/// `f` of the elements along `axes`, for each index of `kept`.
fn gather_runs(array: &Array, axes: &[usize], kept: &[usize], f: impl Fn(&[f64]) -> f64) -> Outcome<Array> {
    let runs: Vec<usize> = axes.iter().map(|&a| array.shape.dims()[a]).collect();
    let n: usize = runs.iter().product();
    tensor::build(kept, |index| {
        let mut at = index.to_vec();
        let mut step = vec![0; runs.len()];
        let mut values = Vec::with_capacity(n);
        for _ in 0..n {
            axes.iter().zip(&step).for_each(|(&a, &i)| at[a] = i);
            values.push(array.at(&at));
            tensor::advance(&mut step, &runs);
        }
        f(&values)
    })
}

/// `ArgMax` and `ArgMin`.
pub fn arg(e: &mut Emitter, call: &Call<'_>, largest: bool) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let axis = call.axis(call.int("axis", 0), x.rank())?;
    let last = call.flag("select_last_index", false);
    let mut kept = x.dims.clone();
    kept[axis] = 1;
    let result = if last || !x.element.is_float() || tensor::is_here(&[x], x.elements())? {
        let better = |new: f64, old: f64| match (largest, last) {
            (true, false) => new > old,
            (true, true) => new >= old,
            (false, false) => new < old,
            (false, true) => new <= old,
        };
        let best = |values: &[f64]| (0..values.len()).reduce(|a, b| if better(values[b], values[a]) { b } else { a });
        let array = gather_runs(x.array()?, &[axis], &kept, |values| best(values).unwrap_or(0) as f64)?;
        Tensor::known(Element::Int64, array, tensor::origin(&[x]))
    } else {
        let mut value = e.plain(x)?;
        if !largest {
            value = ops::unary(&mut e.graph, Function::Neg, value)?;
        }
        let places = ops::argmax(&mut e.graph, value, axis)?;
        let places = ops::reshape(&mut e.graph, places, kept)?;
        e.result(Element::Int64, places)
    };
    if call.flag("keepdims", true) {
        return Ok(vec![result]);
    }
    let mut dims = x.dims.clone();
    dims.remove(axis);
    Ok(vec![e.reshape(&result, dims)?])
}
