//! Operators that take or put elements where indices say.

use super::super::Outcome;
use super::super::call::Call;
use super::super::emitter::Emitter;
use super::super::tensor::{self, Tensor};
use super::shape::{join, part};

/// Indices into an axis, counted from its front.
fn indices(call: &Call<'_>, tensor: &Tensor, extent: usize) -> Outcome<Vec<usize>> {
    tensor.ints()?.into_iter().map(|i| call.axis(i, extent)).collect()
}

/// `Gather`: rows along an axis.
pub fn gather(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (x, at) = (call.input(0)?, call.input(1)?);
    let axis = call.axis(call.int("axis", 0), x.rank())?;
    let rows: Vec<Option<usize>> = indices(call, at, x.dims[axis])?.into_iter().map(Some).collect();
    let taken = e.take(x, axis, &rows, 0.0)?;
    let dims = [&x.dims[..axis], &at.dims, &x.dims[axis + 1..]].concat();
    Ok(vec![e.reshape(&taken, dims)?])
}

/// `GatherElements`.
pub fn gather_elements(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (x, at) = (call.input(0)?, call.input(1)?);
    let axis = call.axis(call.int("axis", 0), x.rank())?;
    let picked = element_positions(call, x, at, axis)?;
    Ok(vec![e.pick(x, &picked, at.dims.clone())?])
}

/// Where in `x` the elements stand that `at` names along an axis.
fn element_positions(call: &Call<'_>, x: &Tensor, at: &Tensor, axis: usize) -> Outcome<Vec<usize>> {
    if at.rank() != x.rank() || (0..x.rank()).any(|a| a != axis && at.dims[a] > x.dims[a]) {
        return Err(call.error(format!("indices of shape {:?} do not fit shape {:?}", at.dims, x.dims)).into());
    }
    let strides = crate::tensor::Shape::from(&x.dims[..]).strides();
    let rows = indices(call, at, x.dims[axis])?;
    let mut index = vec![0; at.rank()];
    let mut picked = Vec::with_capacity(rows.len());
    for row in rows {
        let position = |a: usize| strides[a] * if a == axis { row } else { index[a] };
        picked.push((0..x.rank()).map(position).sum());
        tensor::advance(&mut index, &at.dims);
    }
    Ok(picked)
}

/// Where in `x` each slice starts that a row of indices names, and the slices' shape.
fn slice_positions(call: &Call<'_>, x: &[usize], at: &Tensor) -> Outcome<(Vec<usize>, Vec<usize>)> {
    let depth = at.dims.last().copied().filter(|&d| d <= x.len());
    let depth = depth.ok_or_else(|| call.error(format!("indices of shape {:?} do not fit shape {x:?}", at.dims)))?;
    let strides = crate::tensor::Shape::from(x).strides();
    let numbers = at.ints()?;
    let mut starts = Vec::new();
    let rows: usize = at.dims[..at.rank() - 1].iter().product();
    for row in 0..rows {
        let mut start = 0;
        for a in 0..depth {
            start += strides[a] * call.axis(numbers[row * depth + a], x[a])?;
        }
        starts.push(start);
    }
    Ok((starts, x[depth..].to_vec()))
}

/// `GatherND`.
pub fn gather_nd(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (x, at) = (call.input(0)?, call.input(1)?);
    let batch_axes = usize::try_from(call.int("batch_dims", 0)).ok().filter(|&b| b < at.rank() && b < x.rank());
    let batch_axes = batch_axes.ok_or_else(|| call.error("has no such batch_dims"))?;
    let (batch_dims, rest) = x.dims.split_at(batch_axes);
    let batches: usize = batch_dims.iter().product();
    let block: usize = rest.iter().product();
    let flat = e.reshape(at, [&[batches], &at.dims[batch_axes..]].concat())?;
    let (mut picked, mut inner) = (Vec::new(), Vec::new());
    for b in 0..batches {
        let of_batch = part(e, &flat, 0, b, b + 1)?;
        let of_batch = e.reshape(&of_batch, at.dims[batch_axes..].to_vec())?;
        let (starts, slice) = slice_positions(call, rest, &of_batch)?;
        let n: usize = slice.iter().product();
        picked.extend(starts.into_iter().flat_map(|s| (0..n).map(move |i| b * block + s + i)));
        inner = slice;
    }
    let dims = [&at.dims[..at.rank() - 1], &inner].concat();
    Ok(vec![e.pick(x, &picked, dims)?])
}

/// `ScatterElements` and `Scatter`.
pub fn scatter_elements(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (x, at, updates) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let axis = call.axis(call.int("axis", 0), x.rank())?;
    let positions = element_positions(call, x, at, axis)?;
    scatter(e, call, x, &positions, updates)
}

/// `ScatterND`.
pub fn scatter_nd(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (x, at, updates) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let (starts, slice) = slice_positions(call, &x.dims, at)?;
    let n: usize = slice.iter().product();
    let positions: Vec<usize> = starts.into_iter().flat_map(|s| (0..n).map(move |i| s + i)).collect();
    scatter(e, call, x, &positions, updates)
}

/// `x` with the updates put, or combined with what is there, at positions.
fn scatter(
    e: &mut Emitter,
    call: &Call<'_>,
    x: &Tensor,
    positions: &[usize],
    updates: &Tensor,
) -> Outcome<Vec<Tensor>> {
    if updates.elements() != positions.len() {
        return Err(call.error("has not as many updates as indices").into());
    }
    let reduction = call.text("reduction", "none");
    if reduction == "none" && !(x.is_known() && updates.is_known()) {
        let n = x.elements();
        let mut picked: Vec<usize> = (0..n).collect();
        positions.iter().enumerate().for_each(|(i, &p)| picked[p] = n + i);
        let (old, new) = (e.reshape(x, vec![n])?, e.reshape(updates, vec![updates.elements()])?);
        let both = join(e, call, &[&old, &new], 0)?;
        return Ok(vec![e.pick(&both, &picked, x.dims.clone())?]);
    }
    let mut array = (**x.array()?).clone();
    for (&p, &u) in positions.iter().zip(&updates.array()?.data) {
        let old = array.data[p];
        let new = match reduction.as_str() {
            "none" => u,
            "add" => old + u,
            "mul" => old * u,
            "max" => old.max(u),
            "min" => old.min(u),
            other => return Err(call.error(format!("reduction \"{other}\" is not known")).into()),
        };
        array.data[p] = x.element.hold(new);
    }
    Ok(vec![Tensor::known(x.element, array, tensor::origin(&[x, updates]))])
}
