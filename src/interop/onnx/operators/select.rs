//! Operators whose results depend on values as a whole, computed here.

use super::super::call::Call;
use super::super::element::Element;
use super::super::emitter::Emitter;
use super::super::tensor::{self, Tensor};
use super::super::{Halt, Outcome};
use crate::tensor::{Array, Shape};

/// Outer, own and inner extent of an axis.
fn around(dims: &[usize], axis: usize) -> [usize; 3] {
    [dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product()]
}

/// `TopK`.
pub fn top_k(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let axis = call.axis(call.int("axis", -1), x.rank())?;
    let k = match call.optional(1) {
        Some(k) => k.scalar()? as i64,
        None => call.int("k", 1),
    };
    let k = call.sizes("k", &[k])?[0];
    let largest = call.flag("largest", true);
    let [outer, n, inner] = around(&x.dims, axis);
    if k > n {
        return Err(call.error(format!("the {k} best of {n} were asked for")).into());
    }
    let array = x.array()?;
    let mut dims = x.dims.clone();
    dims[axis] = k;
    let mut values = Array::zeros(&dims.clone().into());
    let mut places = values.clone();
    for o in 0..outer {
        for i in 0..inner {
            let at = |j: usize| array.data[(o * n + j) * inner + i];
            let mut order: Vec<usize> = (0..n).collect();
            let by = |a: &usize, b: &usize| if largest { at(*b).total_cmp(&at(*a)) } else { at(*a).total_cmp(&at(*b)) };
            order.sort_by(by);
            for (rank, &j) in order[..k].iter().enumerate() {
                values.data[(o * k + rank) * inner + i] = at(j);
                places.data[(o * k + rank) * inner + i] = j as f64;
            }
        }
    }
    let origin = tensor::origin(&[x]);
    Ok(vec![Tensor::known(x.element, values, origin.clone()), Tensor::known(Element::Int64, places, origin)])
}

/// `NonZero`.
pub fn non_zero(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let array = x.array()?;
    let mut index = vec![0; x.rank()];
    let mut found: Vec<Vec<usize>> = Vec::new();
    for &value in &array.data {
        if value != 0.0 {
            found.push(index.clone());
        }
        tensor::advance(&mut index, &x.dims);
    }
    let places = tensor::build(&[x.rank(), found.len()], |i| found[i[1]][i[0]] as f64)?;
    Ok(vec![Tensor::known(Element::Int64, places, tensor::origin(&[x]))])
}

/// `Compress`: the elements along an axis for which a condition holds.
pub fn compress(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (x, condition) = (call.input(0)?, call.input(1)?);
    let kept: Vec<Option<usize>> =
        condition.array()?.data.iter().enumerate().filter(|(_, c)| **c != 0.0).map(|(i, _)| Some(i)).collect();
    let (x, axis) = match call.attribute("axis") {
        Some(axis) => (x.clone(), call.axis(axis.i.unwrap_or(0), x.rank())?),
        None => (e.reshape(x, vec![x.elements()])?, 0),
    };
    if kept.iter().flatten().any(|&i| i >= x.dims[axis]) {
        return Err(call.error("has a condition longer than the axis").into());
    }
    Ok(vec![e.take(&x, axis, &kept, 0.0)?])
}

/// `OneHot`.
pub fn one_hot(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (ids, depth, values) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let depth = call.sizes("depth", &[depth.array()?.data.first().copied().unwrap_or(0.0) as i64])?[0];
    let axis = call.axis(call.int("axis", -1), ids.rank() + 1)?;
    let [off, on] = values.array()?.data[..] else { return Err(call.error("takes two values").into()) };
    let ids_array = ids.array()?;
    let mut dims = ids.dims.clone();
    dims.insert(axis, depth);
    let array = tensor::build(&dims, |index| {
        let mut place = index.to_vec();
        let class = place.remove(axis);
        let id = ids_array.at(&place) as i64;
        let id = if id < 0 { id + depth as i64 } else { id };
        if id == class as i64 { on } else { off }
    })?;
    Ok(vec![Tensor::known(values.element, array, tensor::origin(&[ids, values]))])
}

/// `CumSum`.
pub fn cumulative_sum(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let axis = call.axis(call.input(1)?.scalar()? as i64, x.rank())?;
    let [exclusive, reverse] = ["exclusive", "reverse"].map(|name| call.flag(name, false));
    let [outer, n, inner] = around(&x.dims, axis);
    let source = x.array()?;
    let mut result = Array::zeros(&Shape::from(&x.dims[..]));
    for o in 0..outer {
        for i in 0..inner {
            let mut sum = 0.0;
            for step in 0..n {
                let j = if reverse { n - 1 - step } else { step };
                let at = (o * n + j) * inner + i;
                let before = sum;
                sum += source.data[at];
                result.data[at] = x.element.hold(if exclusive { before } else { sum });
            }
        }
    }
    Ok(vec![Tensor::known(x.element, result, tensor::origin(&[x]))])
}

/// `Hardmax`: 1 at the first largest element.
pub fn hardmax(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let (axis, last) = super::softmax::axes(call, x)?;
    let [outer, n, inner] =
        [x.dims[..axis].iter().product(), x.dims[axis..last].iter().product(), x.dims[last..].iter().product()];
    let source = x.array()?;
    let mut result = Array::zeros(&Shape::from(&x.dims[..]));
    for o in 0..outer {
        for i in 0..inner {
            let at = |j: usize| (o * n + j) * inner + i;
            let best = (0..n).reduce(|best, j| if source.data[at(j)] > source.data[at(best)] { j } else { best });
            if let Some(best) = best {
                result.data[at(best)] = 1.0;
            }
        }
    }
    Ok(vec![Tensor::known(x.element, result, tensor::origin(&[x]))])
}

/// `EyeLike`.
pub fn eye_like(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let k = call.int("k", 0);
    let element = call.element("dtype", x.element)?;
    let array = tensor::build(&x.dims, |i| f64::from(u8::from(i[1] as i64 - i[0] as i64 == k)))?;
    Ok(vec![Tensor::fixed(element, array)])
}

/// `ReverseSequence`.
pub fn reverse_sequence(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (x, lengths) = (call.input(0)?, call.input(1)?);
    let batch = call.axis(call.int("batch_axis", 1), x.rank())?;
    let time = call.axis(call.int("time_axis", 0), x.rank())?;
    let lengths = call.sizes("lengths", &lengths.ints()?)?;
    if lengths.len() != x.dims[batch] || lengths.iter().any(|&l| l > x.dims[time]) {
        return Err(call.error("has lengths that do not fit").into());
    }
    let strides = Shape::from(&x.dims[..]).strides();
    let mut index = vec![0; x.rank()];
    let mut picked = Vec::with_capacity(x.elements());
    for _ in 0..x.elements() {
        let mut from = index.clone();
        let length = lengths[index[batch]];
        if index[time] < length {
            from[time] = length - 1 - index[time];
        }
        picked.push(from.iter().zip(&strides).map(|(i, s)| i * s).sum());
        tensor::advance(&mut index, &x.dims);
    }
    Ok(vec![e.pick(x, &picked, x.dims.clone())?])
}

/// A box as `[top, left, bottom, right]`.
fn corners(values: &[f64], centre: bool) -> [f64; 4] {
    if centre {
        let [x, y, w, h] = [values[0], values[1], values[2], values[3]];
        [y - h / 2.0, x - w / 2.0, y + h / 2.0, x + w / 2.0]
    } else {
        let [y1, x1, y2, x2] = [values[0], values[1], values[2], values[3]];
        [y1.min(y2), x1.min(x2), y1.max(y2), x1.max(x2)]
    }
}

/// Intersection over union of two boxes.
fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let area = |r: [f64; 4]| (r[2] - r[0]).max(0.0) * (r[3] - r[1]).max(0.0);
    let common = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - common;
    if union > 0.0 { common / union } else { 0.0 }
}

/// `NonMaxSuppression`: the best boxes of each class, without those that overlap a better one.
pub fn non_max_suppression(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (boxes, scores) = (call.input(0)?, call.input(1)?);
    let number = |i: usize, default: f64| {
        call.optional(i).map_or(Ok::<f64, Halt>(default), |t| Ok(t.array()?.data.first().copied().unwrap_or(default)))
    };
    let most = number(2, 0.0)?.max(0.0) as usize;
    let (least_overlap, least_score) = (number(3, 0.0)?, number(4, f64::NEG_INFINITY)?);
    let centre = call.int("center_point_box", 0) == 1;
    let (&[images, count, 4], &[_, classes, _]) = (&boxes.dims[..], &scores.dims[..]) else {
        return Err(call
            .error(format!(
                "takes boxes [n, boxes, 4] and scores [n, classes, boxes], not {:?} and {:?}",
                boxes.dims, scores.dims
            ))
            .into());
    };
    if scores.dims != [images, classes, count] {
        return Err(call.error("has not a score for each box").into());
    }
    let (boxes, score) = (boxes.array()?, scores.array()?);
    let mut chosen: Vec<[usize; 3]> = Vec::new();
    for image in 0..images {
        let of = |b: usize| corners(&boxes.data[(image * count + b) * 4..][..4], centre);
        for class in 0..classes {
            let value = |b: usize| score.data[(image * classes + class) * count + b];
            let mut order: Vec<usize> = (0..count).filter(|&b| value(b) > least_score).collect();
            order.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
            let mut kept: Vec<usize> = Vec::new();
            for b in order {
                if kept.len() < most && kept.iter().all(|&k| overlap(of(k), of(b)) <= least_overlap) {
                    kept.push(b);
                }
            }
            chosen.extend(kept.into_iter().map(|b| [image, class, b]));
        }
    }
    let array = tensor::build(&[chosen.len(), 3], |i| chosen[i[0]][i[1]] as f64)?;
    Ok(vec![Tensor::known(Element::Int64, array, tensor::origin(&[call.input(0)?, call.input(1)?]))])
}
