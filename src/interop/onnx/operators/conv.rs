//! Convolution over one, two and three axes, and its transpose.

use super::super::Outcome;
use super::super::call::Call;
use super::super::emitter::Emitter;
use super::super::tensor::Tensor;
use super::window::{Sliding, channels_last};
use crate::graph::Value;
use crate::ops::{self, Conv2d};

/// The attributes over the last two of a window's axes; a missing one has extent 1.
fn flat(window: &Sliding, groups: usize) -> Conv2d {
    let last = |values: &[usize]| match values {
        [.., h, w] => [*h, *w],
        [w] => [1, *w],
        [] => [1, 1],
    };
    let padding = match &window.padding[..] {
        [.., [top, bottom], [left, right]] => [*top, *bottom, *left, *right],
        [[left, right]] => [0, 0, *left, *right],
        [] => [0; 4],
    };
    Conv2d { stride: last(&window.stride), padding, dilation: last(&window.dilation), groups }
}

/// A kernel `[out, in, ..]` as `[depth, h, w, in, out]`; missing extents are 1.
fn kernel(e: &mut Emitter, weight: &Tensor) -> Outcome<Value> {
    let order: Vec<usize> = (2..weight.rank()).chain([1, 0]).collect();
    let value = e.ordered(weight, &order)?;
    let dims = e.graph.shape(value).dims().to_vec();
    let missing = 5 - dims.len();
    Ok(ops::reshape(&mut e.graph, value, [&vec![1; missing], &dims[..]].concat())?)
}

/// A picture `[n, channels, ..]` as `[n, depth, h, w, channels]`.
fn volume(e: &mut Emitter, x: &Tensor) -> Outcome<Value> {
    let value = e.ordered(x, &channels_last(x.rank()))?;
    let dims = e.graph.shape(value).dims().to_vec();
    let missing = vec![1; 5 - dims.len()];
    Ok(ops::reshape(&mut e.graph, value, [&dims[..1], &missing, &dims[1..]].concat())?)
}

/// `[n, depth, h, w, channels]` as a result over `axes` axes, with a bias.
fn finish(
    e: &mut Emitter,
    call: &Call<'_>,
    mut value: Value,
    axes: usize,
    bias: Option<&Tensor>,
) -> Outcome<Vec<Tensor>> {
    let dims = e.graph.shape(value).dims().to_vec();
    let (batch, rest) = (dims[0], &dims[4 - axes..]);
    value = ops::reshape(&mut e.graph, value, [&[batch], rest].concat())?;
    if let Some(bias) = bias {
        let bias = e.plain(bias)?;
        value = ops::add(&mut e.graph, value, bias)?;
    }
    Ok(vec![e.result_ordered(call.input(0)?.element, value, channels_last(axes + 2))])
}

fn fold_depth(e: &mut Emitter, value: Value) -> Outcome<Value> {
    let &[n, d, h, w, c] = e.graph.shape(value).dims() else { unreachable!("volumes have five axes") };
    Ok(ops::reshape(&mut e.graph, value, [n * d, h, w, c])?)
}

fn unfold_depth(e: &mut Emitter, value: Value, n: usize) -> Outcome<Value> {
    let &[nd, h, w, c] = e.graph.shape(value).dims() else { unreachable!("pictures have four axes") };
    Ok(ops::reshape(&mut e.graph, value, [n, nd / n, h, w, c])?)
}

/// The slice of a kernel at a depth.
fn kernel_slice(e: &mut Emitter, kernel: Value, depth: usize) -> Outcome<Value> {
    let slice = e.take_value(kernel, 0, &[Some(depth)], 0.0)?;
    let dims = e.graph.shape(slice).dims()[1..].to_vec();
    Ok(ops::reshape(&mut e.graph, slice, dims)?)
}

struct Shapes {
    axes: usize,
    groups: usize,
}

fn check(call: &Call<'_>) -> Outcome<Shapes> {
    let (x, w) = (call.input(0)?, call.input(1)?);
    if !(3..=5).contains(&x.rank()) || w.rank() != x.rank() {
        return Err(call.error(format!("shapes {:?} and {:?} do not fit together", x.dims, w.dims)).into());
    }
    Ok(Shapes { axes: x.rank() - 2, groups: call.sizes("group", &[call.int("group", 1)])?[0] })
}

/// `Conv`.
pub fn conv(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let Shapes { axes, groups } = check(call)?;
    let (x, weight) = (call.input(0)?, call.input(1)?);
    let window = Sliding::of(call, weight.dims[2..].to_vec(), &x.dims[2..])?;
    let value = convolve(e, call, x, weight, &window, groups)?;
    finish(e, call, value, axes, call.optional(2))
}

fn convolve(
    e: &mut Emitter,
    call: &Call<'_>,
    x: &Tensor,
    weight: &Tensor,
    window: &Sliding,
    groups: usize,
) -> Outcome<Value> {
    let conv = flat(window, groups);
    let (n, volume, kernel) = (x.dims[0], volume(e, x)?, kernel(e, weight)?);
    if window.size.len() < 3 {
        let (picture, kernel) = (fold_depth(e, volume)?, kernel_slice(e, kernel, 0)?);
        let value = ops::conv2d(&mut e.graph, picture, kernel, conv)?;
        return unfold_depth(e, value, n);
    }
    // The sum, over the kernel's slices, of convolutions of the pictures that lie under them.
    let extent = x.dims[2];
    let positions = window.positions(call, 0, extent)?;
    let mut sum = None;
    for depth in 0..window.size[0] {
        let under = window.taps(0, depth, positions, extent);
        let pictures = e.take_value(volume, 1, &under, 0.0)?;
        let (pictures, slice) = (fold_depth(e, pictures)?, kernel_slice(e, kernel, depth)?);
        let part = ops::conv2d(&mut e.graph, pictures, slice, conv)?;
        sum = Some(match sum {
            Some(sum) => ops::add(&mut e.graph, sum, part)?,
            None => part,
        });
    }
    let sum = sum.ok_or_else(|| call.error("has an empty kernel"))?;
    unfold_depth(e, sum, n)
}

/// `ConvTranspose`: the gradient of a convolution for its input.
pub fn conv_transpose(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let Shapes { axes, groups } = check(call)?;
    let (x, weight) = (call.input(0)?, call.input(1)?);
    let spatial = &x.dims[2..];
    let mut window = Sliding::of(call, weight.dims[2..].to_vec(), spatial)?;
    window.padding = Sliding::explicit(call, axes)?;
    let extra = call.ints("output_padding").unwrap_or_else(|| vec![0; axes]);
    let extra = call.sizes("output_padding", &extra)?;
    let wanted = call
        .ints("output_shape")
        .map(|s| call.sizes("output_shape", &s[s.len().saturating_sub(axes)..]))
        .transpose()?;
    let mode = call.text("auto_pad", "NOTSET");
    if extra.len() != axes || wanted.as_ref().is_some_and(|w| w.len() != axes) {
        return Err(call.error(format!("attributes do not fit {axes} axes")).into());
    }
    // What the kernel reaches, where in it the result begins, and the result's extents.
    let (mut full, mut begin, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for a in 0..axes {
        let reach = window.stride[a] * (spatial[a] - 1) + window.span(a);
        let [before, after] = window.padding[a];
        let size = match (&wanted, mode.as_str()) {
            (Some(wanted), _) => wanted[a],
            (None, "SAME_UPPER" | "SAME_LOWER") => spatial[a] * window.stride[a],
            (None, "VALID") => reach + extra[a],
            _ => (reach + extra[a]).saturating_sub(before + after),
        };
        let total = (reach + extra[a]).saturating_sub(size);
        let given = wanted.is_none() && !mode.starts_with("SAME");
        begin.push(match mode.as_str() {
            "SAME_UPPER" => total / 2,
            "SAME_LOWER" => total - total / 2,
            "VALID" => 0,
            _ if given => before,
            _ => total / 2,
        });
        if size == 0 {
            return Err(call.error("has an empty result").into());
        }
        full.push(reach);
        sizes.push(size);
    }
    window.padding = vec![[0; 2]; axes];
    // Where a convolution of the result's size has as many positions as the input, it needs no cutting afterwards.
    for a in axes - axes.min(2)..axes {
        let after = full[a].saturating_sub(sizes[a] + begin[a]);
        let room = (sizes[a] + begin[a] + after).checked_sub(window.span(a));
        if room.is_some_and(|room| room / window.stride[a] + 1 == spatial[a]) {
            window.padding[a] = [begin[a], after];
            (full[a], begin[a]) = (sizes[a], 0);
        }
    }
    let mut value = spread(e, call, x, weight, &window, groups, &full)?;
    for a in 0..axes {
        let axis = 4 - axes + a;
        let indices: Vec<Option<usize>> =
            (begin[a]..begin[a] + sizes[a]).map(|i| Some(i).filter(|&i| i < full[a])).collect();
        if indices.len() != full[a] || begin[a] > 0 {
            value = e.take_value(value, axis, &indices, 0.0)?;
        }
    }
    finish(e, call, value, axes, call.optional(2))
}

fn spread(
    e: &mut Emitter,
    call: &Call<'_>,
    x: &Tensor,
    weight: &Tensor,
    window: &Sliding,
    groups: usize,
    full: &[usize],
) -> Outcome<Value> {
    let conv = flat(window, groups);
    let plane = match full {
        [.., h, w] => [*h, *w],
        _ => [1, full[0]],
    };
    let (n, volume, kernel) = (x.dims[0], volume(e, x)?, kernel(e, weight)?);
    let pictures = fold_depth(e, volume)?;
    if window.size.len() < 3 {
        let slice = kernel_slice(e, kernel, 0)?;
        let value = ops::conv2d_grad_input(&mut e.graph, pictures, slice, conv, plane)?;
        return unfold_depth(e, value, n);
    }
    let mut sum = None;
    for depth in 0..window.size[0] {
        let slice = kernel_slice(e, kernel, depth)?;
        let part = ops::conv2d_grad_input(&mut e.graph, pictures, slice, conv, plane)?;
        let part = unfold_depth(e, part, n)?;
        let from = |d: usize| {
            let at = d.checked_sub(depth * window.dilation[0])?;
            (at.is_multiple_of(window.stride[0]) && at / window.stride[0] < x.dims[2]).then(|| at / window.stride[0])
        };
        let indices: Vec<Option<usize>> = (0..full[0]).map(from).collect();
        let part = e.take_value(part, 1, &indices, 0.0)?;
        sum = Some(match sum {
            Some(sum) => ops::add(&mut e.graph, sum, part)?,
            None => part,
        });
    }
    Ok(sum.ok_or_else(|| call.error("has an empty kernel"))?)
}
