//! Pooling over any number of axes.

use super::super::Outcome;
use super::super::call::Call;
use super::super::element::Element;
use super::super::emitter::Emitter;
use super::super::tensor::{self, Tensor};
use super::window::{Sliding, channels_last};
use crate::graph::{Function, Value};
use crate::ops::{self, Pool2d};
use crate::tensor::{Array, DType, Tensor as HostTensor};

/// Less than anything a network computes.
const LEAST: f64 = -3.4e38;

fn window(call: &Call<'_>, x: &Tensor) -> Outcome<Sliding> {
    if x.rank() < 3 {
        return Err(call.error(format!("takes [n, channels, ..], not {:?}", x.dims)).into());
    }
    let size = call.ints("kernel_shape").ok_or_else(|| call.error("has no kernel_shape"))?;
    Sliding::of(call, call.sizes("kernel_shape", &size)?, &x.dims[2..])
}

/// The attributes of our pooling, if it does the same: over two axes, without dilation, with less padding than window.
fn plain(window: &Sliding) -> Option<Pool2d> {
    let (&[h, w], &[sh, sw], &[[top, bottom], [left, right]]) =
        (&window.size[..], &window.stride[..], &window.padding[..])
    else {
        return None;
    };
    let fits = !window.ceil && window.dilation == [1, 1] && top.max(bottom) < h && left.max(right) < w;
    fits.then_some(Pool2d { window: [h, w], stride: [sh, sw], padding: [top, bottom, left, right] })
}

/// `MaxPool`.
pub fn max_pool(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let window = window(call, x)?;
    if call.node.output.get(1).is_some_and(|name| !name.is_empty()) || !x.element.is_float() {
        return max_with_places(call, x, &window);
    }
    let order = channels_last(x.rank());
    let mut value = e.ordered(x, &order)?;
    value = match plain(&window) {
        Some(pool) => ops::max_pool2d(&mut e.graph, value, pool)?,
        None => slide(e, call, value, &window, LEAST, Function::Max)?,
    };
    Ok(vec![e.result_ordered(x.element, value, order)])
}

/// Combines what lies under a window, axis by axis.
fn slide(
    e: &mut Emitter,
    call: &Call<'_>,
    mut value: Value,
    window: &Sliding,
    outside: f64,
    function: Function,
) -> Outcome<Value> {
    for axis in 0..window.size.len() {
        let extent = e.graph.shape(value).dims()[axis + 1];
        let positions = window.positions(call, axis, extent)?;
        // So that a tap is never padding between elements.
        let reach = (positions - 1) * window.stride[axis] + window.span(axis);
        let before = window.padding[axis][0];
        let framed: Vec<Option<usize>> = (0..reach).map(|i| i.checked_sub(before).filter(|&i| i < extent)).collect();
        let framed = e.take_value(value, axis + 1, &framed, outside)?;
        let mut sum = None;
        for tap in 0..window.size[axis] {
            let under =
                (0..positions).map(|p| Some(p * window.stride[axis] + tap * window.dilation[axis])).collect::<Vec<_>>();
            let part = e.take_value(framed, axis + 1, &under, 0.0)?;
            sum = Some(match sum {
                Some(sum) => ops::binary(&mut e.graph, function, sum, part)?,
                None => part,
            });
        }
        value = sum.ok_or_else(|| call.error("has an empty window"))?;
    }
    Ok(value)
}

/// Maxima of known values, and where they stand, counted as if each picture and channel lay behind the one before.
fn max_with_places(call: &Call<'_>, x: &Tensor, window: &Sliding) -> Outcome<Vec<Tensor>> {
    let array = x.array()?;
    let axes = window.size.len();
    let column_major = call.int("storage_order", 0) == 1;
    let spatial = &x.dims[2..];
    let plane: usize = spatial.iter().product();
    let mut dims = x.dims[..2].to_vec();
    for (axis, &extent) in spatial.iter().enumerate() {
        dims.push(window.positions(call, axis, extent)?);
    }
    let mut places = Vec::new();
    let values = tensor::build(&dims, |index| {
        let image = index[0] * x.dims[1] + index[1];
        let mut tap = vec![0; axes];
        let mut best = (f64::NEG_INFINITY, 0);
        for _ in 0..window.size.iter().product() {
            let at = |a: usize| {
                let i = (index[a + 2] * window.stride[a] + tap[a] * window.dilation[a])
                    .checked_sub(window.padding[a][0])?;
                (i < spatial[a]).then_some(i)
            };
            if let Some(at) = (0..axes).map(at).collect::<Option<Vec<_>>>() {
                let row = at.iter().zip(spatial).fold(0, |sum, (i, d)| sum * d + i);
                let column = at.iter().zip(spatial).rev().fold(0, |sum, (i, d)| sum * d + i);
                let value = array.data[image * plane + row];
                if value > best.0 {
                    best = (value, image * plane + if column_major { column } else { row });
                }
            }
            tensor::advance(&mut tap, &window.size);
        }
        places.push(best.1 as f64);
        best.0
    })?;
    let places = Array { shape: values.shape.clone(), data: places };
    let origin = tensor::origin(&[x]);
    Ok(vec![Tensor::known(x.element, values, origin.clone()), Tensor::known(Element::Int64, places, origin)])
}

/// `AveragePool`.
pub fn average_pool(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let window = window(call, x)?;
    let with_padding = call.flag("count_include_pad", false);
    let order = channels_last(x.rank());
    let mut value = e.ordered(x, &order)?;
    let unpadded = window.padding.iter().all(|p| *p == [0, 0]);
    if let Some(pool) = plain(&window).filter(|_| unpadded || !with_padding) {
        value = ops::average_pool2d(&mut e.graph, value, pool)?;
        return Ok(vec![e.result_ordered(x.element, value, order)]);
    }
    value = slide(e, call, value, &window, 0.0, Function::Add)?;
    for (axis, &extent) in x.dims[2..].iter().enumerate() {
        let positions = window.positions(call, axis, extent)?;
        let [before, after] = window.padding[axis];
        // The padding told counts if it is to; what only rounding up adds behind it never does.
        let counted = |p: usize| {
            let taps = (0..window.size[axis]).map(|tap| p * window.stride[axis] + tap * window.dilation[axis]);
            let inside = |i: &usize| {
                if with_padding { *i < extent + before + after } else { (before..extent + before).contains(i) }
            };
            taps.filter(inside).count()
        };
        let shares = (0..positions).map(|p| 1.0 / counted(p).max(1) as f32).collect::<Vec<_>>();
        let mut shape = vec![1; x.rank()];
        shape[axis + 1] = positions;
        let shares = e.graph.constant(HostTensor::new(shape, shares)?);
        value = ops::mul(&mut e.graph, value, shares)?;
    }
    Ok(vec![e.result_ordered(x.element, value, order)])
}

/// `LpPool`: the p-norm of what lies under a window.
pub fn lp_pool(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let window = window(call, x)?;
    let p = call.int("p", 2) as f32;
    let order = channels_last(x.rank());
    let value = e.ordered(x, &order)?;
    let powers = ops::apply(&mut e.graph, value, |x| x.call(Function::Abs).with(Function::Pow, p))?;
    let sum = slide(e, call, powers, &window, 0.0, Function::Add)?;
    let value = ops::apply(&mut e.graph, sum, |x| x.with(Function::Pow, 1.0 / p))?;
    Ok(vec![e.result_ordered(x.element, value, order)])
}

/// Over all of a channel.
#[derive(Clone, Copy)]
pub enum Global {
    Average,
    Max,
    Lp,
}

/// `GlobalAveragePool`, `GlobalMaxPool`, `GlobalLpPool`.
pub fn global(e: &mut Emitter, call: &Call<'_>, pooling: Global) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    if x.rank() < 2 {
        return Err(call.error(format!("takes [n, channels, ..], not {:?}", x.dims)).into());
    }
    let order = channels_last(x.rank());
    let value = e.ordered(x, &order)?;
    let axes: Vec<usize> = (1..x.rank() - 1).collect();
    let g = &mut e.graph;
    let value = match pooling {
        Global::Average => ops::mean(g, value, &axes, true)?,
        Global::Max => ops::max_over(g, value, &axes, true)?,
        Global::Lp => {
            let p = call.int("p", 2) as f32;
            let powers = ops::apply(g, value, |x| x.call(Function::Abs).with(Function::Pow, p))?;
            let sum = ops::sum(g, powers, &axes, true)?;
            ops::apply(g, sum, |x| x.with(Function::Pow, 1.0 / p))?
        }
    };
    debug_assert_eq!(e.graph.meta(value).dtype, DType::F32);
    Ok(vec![e.result_ordered(x.element, value, order)])
}
