//! Operators that move elements, or make shapes.

use super::super::Outcome;
use super::super::call::Call;
use super::super::element::Element;
use super::super::emitter::Emitter;
use super::super::tensor::{self, Tensor};
use crate::ops;
use crate::tensor::Array;

/// `Identity`, `Dropout`.
pub fn identity(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    Ok(vec![call.input(0)?.clone()])
}

/// `Dropout`, which at inference keeps everything.
pub fn dropout(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let training = call.optional(2).map(Tensor::scalar).transpose()?.is_some_and(|t| t != 0.0);
    let ratio = call.optional(1).map(Tensor::scalar).transpose()?.unwrap_or(0.5);
    if training && ratio != 0.0 {
        return Err(call.error("drops at random, as in training; export the network for inference").into());
    }
    let one = Tensor::fixed(Element::Bool, tensor::build(&[], |_| 1.0)?);
    Ok(vec![x.clone(), e.expand(&one, &x.dims)?])
}

/// `Shape`, between two axes.
pub fn shape(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let dims = &call.input(0)?.dims;
    let rank = dims.len() as i64;
    let bound = |name: &str, default: i64| {
        let at = call.int(name, default);
        (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    Ok(vec![whole_numbers(&dims[start..end.max(start)])])
}

fn whole_numbers(values: &[usize]) -> Tensor {
    let data = values.iter().map(|&d| d as f64).collect();
    Tensor::fixed(Element::Int64, Array { shape: [values.len()].into(), data })
}

/// `Size`.
pub fn size(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let n = call.input(0)?.elements() as f64;
    Ok(vec![Tensor::fixed(Element::Int64, tensor::build(&[], |_| n)?)])
}

/// `Constant`.
pub fn constant(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let list = |values: Vec<f64>| Array { shape: [values.len()].into(), data: values };
    let single = |value: f64| Array { shape: [].into(), data: vec![value] };
    let (element, array) = if let Some(tensor) = call.tensor("value")? {
        return Ok(vec![tensor]);
    } else if let Some(value) = call.attribute("value_float") {
        (Element::Float, single(f64::from(value.f.unwrap_or(0.0))))
    } else if let Some(value) = call.attribute("value_int") {
        (Element::Int64, single(value.i.unwrap_or(0) as f64))
    } else if let Some(values) = call.floats("value_floats") {
        (Element::Float, list(values))
    } else if let Some(values) = call.ints("value_ints") {
        (Element::Int64, list(values.into_iter().map(|v| v as f64).collect()))
    } else {
        return Err(call.error("holds no numbers").into());
    };
    Ok(vec![Tensor::fixed(element, array)])
}

/// `ConstantOfShape`.
pub fn constant_of_shape(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let shape = call.input(0)?;
    let dims = call.sizes("extents", &shape.ints()?)?;
    let value = call.tensor("value")?;
    let element = value.as_ref().map_or(Element::Float, |v| v.element);
    let number = value.map_or(Ok(0.0), |v| v.scalar())?;
    Ok(vec![Tensor::known(element, tensor::build(&dims, |_| number)?, tensor::origin(&[shape]))])
}

/// `Range`.
pub fn range(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let inputs = call.all()?;
    let [start, limit, delta] = [call.input(0)?.scalar()?, call.input(1)?.scalar()?, call.input(2)?.scalar()?];
    let n = ((limit - start) / delta).ceil().max(0.0);
    if !n.is_finite() {
        return Err(call.error("does not end").into());
    }
    let array = tensor::build(&[n as usize], |i| start + i[0] as f64 * delta)?;
    Ok(vec![Tensor::known(inputs[0].element, array, tensor::origin(&inputs))])
}

/// `Reshape`: 0 keeps an extent, -1 is what is left.
pub fn reshape(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let wanted = call.ints_or_input("shape", 1)?.ok_or_else(|| call.error("has no shape"))?;
    let keeps = !call.flag("allowzero", false);
    let mut dims = Vec::with_capacity(wanted.len());
    for (i, &d) in wanted.iter().enumerate() {
        dims.push(match d {
            0 if keeps => *x.dims.get(i).ok_or_else(|| call.error("keeps an extent that is not there"))?,
            -1 => 1,
            d => call.sizes("extents", &[d])?[0],
        });
    }
    if let Some(open) = wanted.iter().position(|&d| d == -1) {
        let others: usize = dims.iter().product();
        dims[open] = x.elements().checked_div(others).unwrap_or(0);
    }
    if tensor::count(&dims)? != x.elements() {
        return Err(call.error(format!("shape {:?} does not become {wanted:?}", x.dims)).into());
    }
    Ok(vec![e.reshape(x, dims)?])
}

/// `Flatten` into two axes.
pub fn flatten(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let axis = match call.int("axis", 1) {
        all if all == x.rank() as i64 => x.rank(),
        axis => call.axis(axis, x.rank())?,
    };
    let (front, back) = x.dims.split_at(axis);
    Ok(vec![e.reshape(x, vec![front.iter().product(), back.iter().product()])?])
}

/// `Squeeze`.
pub fn squeeze(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let axes = match call.ints_or_input("axes", 1)? {
        Some(axes) => axes.iter().map(|&a| call.axis(a, x.rank())).collect::<Outcome<Vec<_>>>()?,
        None => (0..x.rank()).filter(|&a| x.dims[a] == 1).collect(),
    };
    if axes.iter().any(|&a| x.dims[a] != 1) {
        return Err(call.error(format!("axes {axes:?} of shape {:?} are not all 1", x.dims)).into());
    }
    let dims = (0..x.rank()).filter(|a| !axes.contains(a)).map(|a| x.dims[a]).collect();
    Ok(vec![e.reshape(x, dims)?])
}

/// `Unsqueeze`.
pub fn unsqueeze(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let axes = call.ints_or_input("axes", 1)?.unwrap_or_default();
    let rank = x.rank() + axes.len();
    let axes = axes.iter().map(|&a| call.axis(a, rank)).collect::<Outcome<Vec<_>>>()?;
    let mut rest = x.dims.iter();
    let extent = |a: usize| if axes.contains(&a) { Some(1) } else { rest.next().copied() };
    let dims: Option<Vec<usize>> = (0..rank).map(extent).collect();
    Ok(vec![e.reshape(x, dims.ok_or_else(|| call.error("names an axis twice"))?)?])
}

/// `Transpose`.
pub fn transpose(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let order = match call.ints("perm") {
        Some(order) => order.iter().map(|&a| call.axis(a, x.rank())).collect::<Outcome<Vec<_>>>()?,
        None => (0..x.rank()).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..x.rank()) {
        return Err(call.error(format!("{order:?} is no order of {} axes", x.rank())).into());
    }
    Ok(vec![e.permute(x, &order)])
}

/// `Concat`.
pub fn concat(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let inputs = call.all()?;
    let axis = call.axis(call.int("axis", 1), inputs[0].rank())?;
    Ok(vec![join(e, call, &inputs, axis)?])
}

/// Tensors one behind the other along an axis.
pub fn join(e: &mut Emitter, call: &Call<'_>, inputs: &[&Tensor], axis: usize) -> Outcome<Tensor> {
    let mut dims = inputs[0].dims.clone();
    let apart = |t: &&&Tensor| t.rank() != dims.len() || (0..dims.len()).any(|a| a != axis && t.dims[a] != dims[a]);
    if let Some(other) = inputs.iter().find(apart) {
        return Err(call.error(format!("shapes {dims:?} and {:?} do not fit together", other.dims)).into());
    }
    dims[axis] = inputs.iter().map(|t| t.dims[axis]).sum();
    let filled: Vec<&Tensor> = inputs.iter().copied().filter(|t| t.elements() > 0).collect();
    if filled.len() == 1 {
        return Ok(filled[0].clone());
    }
    if tensor::is_here(&filled, dims.iter().product())? {
        let arrays = inputs.iter().map(|t| t.array()).collect::<Outcome<Vec<_>>>()?;
        let mut data = Vec::with_capacity(tensor::count(&dims)?);
        for block in 0..dims[..axis].iter().product() {
            for array in &arrays {
                let row: usize = array.shape.dims()[axis..].iter().product();
                data.extend_from_slice(&array.data[block * row..][..row]);
            }
        }
        let array = Array { shape: dims.into(), data };
        return Ok(Tensor::known(inputs[0].element, array, tensor::origin(inputs)));
    }
    let order = filled.iter().find(|t| !t.is_known()).map_or_else(|| (0..dims.len()).collect(), |t| t.order());
    let mut values = Vec::with_capacity(filled.len());
    for tensor in filled {
        values.push(e.ordered(tensor, &order)?);
    }
    let at = order.iter().position(|&a| a == axis).expect("orders name every axis");
    let value = ops::concat(&mut e.graph, &values, at)?;
    Ok(e.result_ordered(inputs[0].element, value, order))
}

/// Elements `start..end` along an axis.
pub fn part(e: &mut Emitter, tensor: &Tensor, axis: usize, start: usize, end: usize) -> Outcome<Tensor> {
    let indices: Vec<Option<usize>> = (start..end).map(Some).collect();
    e.take(tensor, axis, &indices, 0.0)
}

/// `Split`.
pub fn split(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let axis = call.axis(call.int("axis", 0), x.rank())?;
    let extent = x.dims[axis];
    let sizes = match call.ints_or_input("split", 1)? {
        Some(sizes) => call.sizes("parts", &sizes)?,
        None => {
            let n = call.int("num_outputs", call.node.output.len() as i64).clamp(1, 1 << 20) as usize;
            let part = extent.div_ceil(n);
            (0..n).map(|i| part.min(extent.saturating_sub(i * part))).collect()
        }
    };
    if sizes.iter().sum::<usize>() != extent {
        return Err(call.error(format!("parts of {sizes:?} do not make {extent}")).into());
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        parts.push(part(e, x, axis, start, start + size)?);
        start += size;
    }
    Ok(parts)
}

/// `Slice`.
pub fn slice(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let starts = call.ints_or_input("starts", 1)?.unwrap_or_default();
    let ends = call.ints_or_input("ends", 2)?.unwrap_or_default();
    let axes = call.ints_or_input("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.ints_or_input("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(call.error("has not as many starts as ends, axes and steps").into());
    }
    let mut result = x.clone();
    for i in 0..starts.len() {
        let axis = call.axis(axes[i], x.rank())?;
        let n = x.dims[axis] as i64;
        let step = steps[i];
        let from_front = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
        let (first, last) = if step > 0 { (0, n) } else { (-1, n - 1) };
        let (start, end) = (from_front(starts[i]).clamp(first.max(0), last), from_front(ends[i]).clamp(first, last));
        let count = match step {
            0 => return Err(call.error("has a step of 0").into()),
            step if step > 0 => (end - start + step - 1).max(0) / step,
            step => (start - end + step.saturating_neg() - 1).max(0) / step.saturating_neg(),
        };
        let indices: Vec<Option<usize>> = (0..count).map(|k| usize::try_from(start + k * step).ok()).collect();
        result = e.take(&result, axis, &indices, 0.0)?;
    }
    Ok(vec![result])
}

/// `Pad`: constant, reflected, with the edge, or wrapped around. Negative numbers take off.
pub fn pad(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let name = if call.attribute("paddings").is_some() { "paddings" } else { "pads" };
    let pads = call.ints_or_input(name, 1)?.unwrap_or_default();
    let axes = match call.optional(3) {
        Some(axes) => axes.ints()?.iter().map(|&a| call.axis(a, x.rank())).collect::<Outcome<Vec<_>>>()?,
        None => (0..x.rank()).collect(),
    };
    let fill = match call.optional(2) {
        Some(value) => value.scalar()?,
        None => call.float("value", 0.0),
    };
    let mode = call.text("mode", "constant");
    if pads.len() != 2 * axes.len() || pads.iter().any(|p| p.abs() > 1 << 24) {
        return Err(call.error(format!("margins {pads:?} do not fit {} axes", axes.len())).into());
    }
    let mut result = x.clone();
    for (i, &axis) in axes.iter().enumerate() {
        let n = x.dims[axis] as i64;
        let (before, after) = (pads[i], pads[i + axes.len()]);
        let source = |k: i64| -> Outcome<Option<usize>> {
            let inside = (0..n).contains(&k);
            let at = match mode.as_str() {
                _ if inside => k,
                "constant" => return Ok(None),
                _ if n == 0 => return Err(call.error("an axis without elements has no edge").into()),
                "edge" => k.clamp(0, n - 1),
                "wrap" => k.rem_euclid(n),
                "reflect" => {
                    let period = (2 * (n - 1)).max(1);
                    let k = k.rem_euclid(period);
                    if k < n { k } else { period - k }
                }
                other => return Err(call.error(format!("mode \"{other}\" is not known")).into()),
            };
            Ok(Some(at as usize))
        };
        let indices = (-before..n + after).map(source).collect::<Outcome<Vec<_>>>()?;
        result = e.take(&result, axis, &indices, fill)?;
    }
    Ok(vec![result])
}

/// `Expand`.
pub fn expand(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let wanted = call.sizes("extents", &call.input(1)?.ints()?)?;
    let own = crate::tensor::Shape::from(&x.dims[..]);
    let shape = own.broadcast(&wanted.clone().into());
    let shape = shape.ok_or_else(|| call.error(format!("{own} does not stretch to {wanted:?}")))?;
    Ok(vec![e.expand(x, shape.dims())?])
}

/// `Tile`.
pub fn tile(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let repeats = match call.optional(2) {
        // Version 1 took a number and an axis.
        Some(axis) => {
            let mut all = vec![1; x.rank()];
            all[call.axis(axis.scalar()? as i64, x.rank())?] = call.input(1)?.scalar()? as usize;
            all
        }
        None => call.sizes("repeats", &call.input(1)?.ints()?)?,
    };
    if repeats.len() != x.rank() {
        return Err(call.error(format!("{repeats:?} does not fit {} axes", x.rank())).into());
    }
    let mut result = x.clone();
    for (axis, &times) in repeats.iter().enumerate() {
        let n = x.dims[axis];
        tensor::count(&[n, times])?;
        let indices: Vec<Option<usize>> = (0..n * times).map(|i| Some(i % n)).collect();
        result = e.take(&result, axis, &indices, 0.0)?;
    }
    Ok(vec![result])
}

fn blocks(call: &Call<'_>) -> Outcome<(Vec<usize>, usize)> {
    let x = call.input(0)?;
    let block = call.sizes("blocksize", &[call.int("blocksize", 0)])?[0];
    if x.rank() != 4 || block == 0 {
        return Err(call.error(format!("blocks of {block} do not fit shape {:?}", x.dims)).into());
    }
    Ok((x.dims.clone(), block))
}

/// `DepthToSpace`.
pub fn depth_to_space(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (dims, b) = blocks(call)?;
    let [n, c, h, w] = [dims[0], dims[1], dims[2], dims[3]];
    if !c.is_multiple_of(b * b) {
        return Err(call.error(format!("{c} channels do not make blocks of {b}x{b}")).into());
    }
    let depth = c / (b * b);
    let (split, order) = match call.text("mode", "DCR").as_str() {
        "CRD" => (vec![n, depth, b, b, h, w], [0, 1, 4, 2, 5, 3]),
        _ => (vec![n, b, b, depth, h, w], [0, 3, 4, 1, 5, 2]),
    };
    let x = e.reshape(call.input(0)?, split)?;
    let x = e.permute(&x, &order);
    Ok(vec![e.reshape(&x, vec![n, depth, h * b, w * b])?])
}

/// `SpaceToDepth`.
pub fn space_to_depth(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (dims, b) = blocks(call)?;
    let [n, c, h, w] = [dims[0], dims[1], dims[2], dims[3]];
    if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return Err(call.error(format!("{h}x{w} pixels do not make blocks of {b}x{b}")).into());
    }
    let x = e.reshape(call.input(0)?, vec![n, c, h / b, b, w / b, b])?;
    let x = e.permute(&x, &[0, 3, 5, 1, 2, 4]);
    Ok(vec![e.reshape(&x, vec![n, c * b * b, h / b, w / b])?])
}

/// `Trilu`: what stands above or below a diagonal.
pub fn triangle(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let diagonal = call.optional(1).map(Tensor::scalar).transpose()?.unwrap_or(0.0) as i64;
    let upper = call.flag("upper", true);
    let &[.., rows, columns] = &x.dims[..] else { return Err(call.error("takes matrices").into()) };
    let keeps = |row: usize, column: usize| {
        let distance = column as i64 - row as i64;
        if upper { distance >= diagonal } else { distance <= diagonal }
    };
    let mask = tensor::build(&[rows, columns], |i| f64::from(u8::from(keeps(i[0], i[1]))))?;
    let mask = Tensor::fixed(Element::Bool, mask);
    let zero = Tensor::fixed(x.element, tensor::build(&[], |_| 0.0)?);
    let term = crate::graph::Term::Input(0).select(crate::graph::Term::Input(1), crate::graph::Term::Input(2));
    Ok(vec![super::pointwise::formula(e, call, x.element, &[&mask, x, &zero], &term)?])
}
