//! Products of matrices.

use super::super::call::Call;
use super::super::emitter::Emitter;
use super::super::tensor::{self, Tensor};
use super::super::{Halt, Outcome};
use super::shape::part;
use crate::graph::Value;
use crate::ops;
use crate::tensor::Shape;

/// `MatMul`, numpy's: the last two axes are matrices, the others broadcast.
pub fn matmul(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    Ok(vec![product(e, call, call.input(0)?, call.input(1)?)?])
}

/// The product of two tensors by numpy's rules.
pub fn product(e: &mut Emitter, call: &Call<'_>, a: &Tensor, b: &Tensor) -> Outcome<Tensor> {
    let wrong = || call.error(format!("shapes {:?} and {:?} do not fit together", a.dims, b.dims));
    if a.rank() == 0 || b.rank() == 0 {
        return Err(wrong().into());
    }
    let (row, column) = (a.rank() == 1, b.rank() == 1);
    let a = if row { e.reshape(a, vec![1, a.dims[0]])? } else { a.clone() };
    let b = if column { e.reshape(b, vec![b.dims[0], 1])? } else { b.clone() };
    let (batch_a, batch_b) = (&a.dims[..a.rank() - 2], &b.dims[..b.rank() - 2]);
    let [m, k, n] = [a.dims[a.rank() - 2], a.dims[a.rank() - 1], b.dims[b.rank() - 1]];
    let batch = Shape::from(batch_a)
        .broadcast(&Shape::from(batch_b))
        .filter(|_| b.dims[b.rank() - 2] == k)
        .ok_or_else(wrong)?;
    let batch = batch.dims().to_vec();
    let mut result = if !a.element.is_float() {
        whole(&a, &b, &batch, [m, k, n])?
    } else if batch_b.is_empty() {
        let a = e.plain(&a)?;
        let rows: usize = batch.iter().product::<usize>() * m;
        let flat = ops::reshape(&mut e.graph, a, [rows, k])?;
        let value = by_matrix(e, flat, &b)?;
        let value = ops::reshape(&mut e.graph, value, [&batch[..], &[m, n]].concat())?;
        e.result(call.input(0)?.element, value)
    } else {
        let a = e.expand(&a, &[&batch[..], &[m, k]].concat())?;
        let b = e.expand(&b, &[&batch[..], &[k, n]].concat())?;
        let ((a, turned_a), (b, turned_b)) = (matrix(e, &a)?, matrix(e, &b)?);
        let value = ops::matmul(&mut e.graph, a, b, turned_a, turned_b)?;
        e.result(call.input(0)?.element, value)
    };
    if row || column {
        let mut dims = batch;
        dims.extend((!row).then_some(m));
        dims.extend((!column).then_some(n));
        result = e.reshape(&result, dims)?;
    }
    Ok(result)
}

/// `a` `[m, k]` times a matrix. A known one that adapters may refuse for its size is multiplied in parts.
fn by_matrix(e: &mut Emitter, a: Value, b: &Tensor) -> Outcome<Value> {
    // What WebGPU guarantees for a binding.
    const MOST_BYTES: usize = 128 << 20;
    let [m, k] = [0, 1].map(|axis| e.graph.shape(a).dims()[axis]);
    let parts = (b.elements() * size_of::<f32>()).div_ceil(MOST_BYTES);
    if parts <= 1 || !b.is_known() {
        let (b, turned) = matrix(e, b)?;
        return Ok(ops::matmul(&mut e.graph, a, b, false, turned)?);
    }
    let length = k.div_ceil(parts);
    let mut sum = None;
    for start in (0..k).step_by(length) {
        let end = k.min(start + length);
        let rows = part(e, b, 0, start, end)?;
        let (columns, rows) = (ops::slice(&mut e.graph, a, &[0..m, start..end])?, e.plain(&rows)?);
        let product = ops::matmul(&mut e.graph, columns, rows, false, false)?;
        sum = Some(match sum {
            Some(sum) => ops::add(&mut e.graph, sum, product)?,
            None => product,
        });
    }
    sum.ok_or(Halt::NeedsValues)
}

/// The value of matrices, and whether it stands transposed.
fn matrix(e: &mut Emitter, tensor: &Tensor) -> Outcome<(Value, bool)> {
    let mut order: Vec<usize> = (0..tensor.rank()).collect();
    order.swap(tensor.rank() - 2, tensor.rank() - 1);
    if !tensor.is_known() && tensor.order() == order {
        return Ok((e.ordered(tensor, &order)?, true));
    }
    Ok((e.plain(tensor)?, false))
}

/// The product of known whole numbers.
fn whole(a: &Tensor, b: &Tensor, batch: &[usize], [m, k, n]: [usize; 3]) -> Outcome<Tensor> {
    let (left, right) = (a.array()?, b.array()?);
    let target = Shape::from(batch);
    let strides = |t: &Tensor| {
        let leading = Shape::from(&t.dims[..t.rank() - 2]);
        let block = t.dims[t.rank() - 2] * t.dims[t.rank() - 1];
        leading.broadcast_strides(&target).into_iter().map(|s| s * block).collect::<Vec<_>>()
    };
    let (of_a, of_b) = (strides(a), strides(b));
    let array = tensor::build(&[batch, &[m, n]].concat(), |index| {
        let (leading, place) = index.split_at(batch.len());
        let start = |strides: &[usize]| leading.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>();
        let (x, y) = (start(&of_a) + place[0] * k, start(&of_b) + place[1]);
        a.element.hold((0..k).map(|l| left.data[x + l] * right.data[y + l * n]).sum())
    })?;
    Ok(Tensor::known(a.element, array, tensor::origin(&[a, b])))
}

/// `Gemm`: `alpha A B + beta C`.
pub fn gemm(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let [alpha, beta] = ["alpha", "beta"].map(|name| call.float(name, 1.0) as f32);
    if a.rank() != 2 || b.rank() != 2 {
        return Err(call.error(format!("takes matrices, not {:?} and {:?}", a.dims, b.dims)).into());
    }
    let turn = |e: &mut Emitter, t: &Tensor, name: &str| {
        if call.flag(name, false) { e.permute(t, &[1, 0]) } else { t.clone() }
    };
    let (a, b) = (turn(e, a, "transA"), turn(e, b, "transB"));
    let product = product(e, call, &a, &b)?;
    if !product.element.is_float() {
        return Err(call.error("is supported for floats only").into());
    }
    let mut value = e.plain(&product)?;
    if alpha != 1.0 {
        value = ops::apply(&mut e.graph, value, |x| x * alpha)?;
    }
    if let Some(c) = call.optional(2).filter(|_| beta != 0.0) {
        let mut c = e.plain(c)?;
        if beta != 1.0 {
            c = ops::apply(&mut e.graph, c, |x| x * beta)?;
        }
        value = ops::add(&mut e.graph, value, c)?;
    }
    Ok(vec![e.result(product.element, value)])
}

/// `Einsum` of one or two tensors, or of more from left to right.
pub fn einsum(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let inputs = call.all()?;
    let equation: String = call.text("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left.to_owned(), Some(right.to_owned())),
        None => (equation.clone(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != inputs.len() {
        return Err(call.error(format!("\"{equation}\" is not for {} tensors", inputs.len())).into());
    }
    let mut labels = Vec::new();
    for (term, tensor) in terms.iter().zip(&inputs) {
        labels.push(
            spell_out(term, tensor.rank())
                .ok_or_else(|| call.error(format!("\"{term}\" does not fit shape {:?}", tensor.dims)))?,
        );
    }
    let result = match right {
        Some(right) => {
            let named = right.replace("...", "").chars().count();
            let dots =
                labels.iter().flatten().filter(|c| c.is_ascii_digit()).collect::<std::collections::BTreeSet<_>>().len();
            let rank = if right.contains("...") { named + dots } else { named };
            spell_out(&right, rank).ok_or_else(|| call.error(format!("\"{right}\" is no result")))?
        }
        None => implied(&labels),
    };
    let mut joined = single(e, call, inputs[0], labels[0].clone())?;
    for (i, tensor) in inputs.iter().enumerate().skip(1) {
        let other = single(e, call, tensor, labels[i].clone())?;
        let later = |c: &char| result.contains(c) || labels[i + 1..].iter().flatten().any(|l| l == c);
        joined = contract(e, call, joined, other, &later)?;
    }
    let (tensor, own) = joined;
    let summed: Vec<usize> = (0..own.len()).filter(|&a| !result.contains(&own[a])).collect();
    let (tensor, own) = sum_out(e, tensor, own, &summed)?;
    let order: Option<Vec<usize>> = result.iter().map(|c| own.iter().position(|o| o == c)).collect();
    let order = order.ok_or_else(|| call.error(format!("\"{equation}\" has a result that no tensor names")))?;
    Ok(vec![e.permute(&tensor, &order)])
}

/// A letter for each axis; dots become digits, the last axis 0.
fn spell_out(term: &str, rank: usize) -> Option<Vec<char>> {
    let (front, back) = match term.split_once("...") {
        Some((front, back)) => (front, back),
        None => return (term.chars().count() == rank).then(|| term.chars().collect()),
    };
    let dots = rank.checked_sub(front.chars().count() + back.chars().count()).filter(|&d| d < 10)?;
    let digits = (0..dots).rev().filter_map(|d| char::from_digit(d as u32, 10));
    Some(front.chars().chain(digits).chain(back.chars()).collect())
}

/// Without a result named: the dots, then what occurs once, in alphabetical order.
fn implied(labels: &[Vec<char>]) -> Vec<char> {
    let all: Vec<char> = labels.iter().flatten().copied().collect();
    let mut digits: Vec<char> = all.iter().copied().filter(char::is_ascii_digit).collect();
    digits.sort_unstable_by(|a, b| b.cmp(a));
    digits.dedup();
    let mut once: Vec<char> =
        all.iter().copied().filter(|c| c.is_alphabetic() && all.iter().filter(|o| *o == c).count() == 1).collect();
    once.sort_unstable();
    digits.into_iter().chain(once).collect()
}

type Labelled = (Tensor, Vec<char>);

/// Takes the diagonal where a letter occurs twice.
fn single(e: &mut Emitter, call: &Call<'_>, tensor: &Tensor, mut labels: Vec<char>) -> Outcome<Labelled> {
    let mut tensor = tensor.clone();
    while let Some((i, j)) = (0..labels.len())
        .flat_map(|i| (i + 1..labels.len()).map(move |j| (i, j)))
        .find(|&(i, j)| labels[i] == labels[j])
    {
        let n = tensor.dims[i];
        if tensor.dims[j] != n {
            return Err(call.error(format!("\"{}\" names axes of {n} and {}", labels[i], tensor.dims[j])).into());
        }
        let order: Vec<usize> = [i, j].into_iter().chain((0..labels.len()).filter(|a| *a != i && *a != j)).collect();
        let front = e.permute(&tensor, &order);
        let rest = front.dims[2..].to_vec();
        let flat = e.reshape(&front, [&[n * n], &rest[..]].concat())?;
        let diagonal: Vec<Option<usize>> = (0..n).map(|k| Some(k * n + k)).collect();
        tensor = e.take(&flat, 0, &diagonal, 0.0)?;
        labels = order.iter().filter(|a| **a != j).map(|&a| labels[a]).collect();
    }
    Ok((tensor, labels))
}

fn sum_out(e: &mut Emitter, tensor: Tensor, labels: Vec<char>, axes: &[usize]) -> Outcome<Labelled> {
    if axes.is_empty() {
        return Ok((tensor, labels));
    }
    let value = e.plain(&tensor)?;
    let value = ops::sum(&mut e.graph, value, axes, false)?;
    let kept = (0..labels.len()).filter(|a| !axes.contains(a)).map(|a| labels[a]).collect();
    Ok((e.result(tensor.element, value), kept))
}

/// The sum of products over all letters that are not needed later.
fn contract(
    e: &mut Emitter,
    call: &Call<'_>,
    (a, of_a): Labelled,
    (b, of_b): Labelled,
    later: &dyn Fn(&char) -> bool,
) -> Outcome<Labelled> {
    let only = |own: &[char], other: &[char]| {
        (0..own.len()).filter(|&i| !other.contains(&own[i]) && !later(&own[i])).collect::<Vec<_>>()
    };
    let (drop_a, drop_b) = (only(&of_a, &of_b), only(&of_b, &of_a));
    let (a, of_a) = sum_out(e, a, of_a, &drop_a)?;
    let (b, of_b) = sum_out(e, b, of_b, &drop_b)?;
    let pick = |f: &dyn Fn(char) -> bool, from: &[char]| from.iter().copied().filter(|&c| f(c)).collect::<Vec<char>>();
    let batch = pick(&|c| of_b.contains(&c) && later(&c), &of_a);
    let summed = pick(&|c| of_b.contains(&c) && !later(&c), &of_a);
    let (rows, columns) = (pick(&|c| !of_b.contains(&c), &of_a), pick(&|c| !of_a.contains(&c), &of_b));
    // Extents of 1 stretch, which only dots do.
    let extent = |c: char| {
        let find = |labels: &[char], t: &Tensor| labels.iter().position(|l| *l == c).map_or(1, |i| t.dims[i]);
        find(&of_a, &a).max(find(&of_b, &b))
    };
    let extents = |labels: &[char]| labels.iter().map(|&c| extent(c)).collect::<Vec<usize>>();
    let arrange = |e: &mut Emitter, t: &Tensor, own: &[char], order: &[char]| -> Outcome<Tensor> {
        let places: Vec<usize> = order.iter().filter_map(|c| own.iter().position(|o| o == c)).collect();
        let turned = e.permute(t, &places);
        let wanted = extents(order);
        if (0..wanted.len()).any(|i| turned.dims[i] != wanted[i] && turned.dims[i] != 1) {
            return Err(call.error("names axes of different extents alike").into());
        }
        e.expand(&turned, &wanted)
    };
    let size = |labels: &[char]| extents(labels).iter().product::<usize>();
    let left = arrange(e, &a, &of_a, &[&batch[..], &rows, &summed].concat())?;
    let left = e.reshape(&left, vec![size(&batch), size(&rows), size(&summed)])?;
    let right = arrange(e, &b, &of_b, &[&batch[..], &summed, &columns].concat())?;
    let right = e.reshape(&right, vec![size(&batch), size(&summed), size(&columns)])?;
    let result = product(e, call, &left, &right)?;
    let labels = [&batch[..], &rows, &columns].concat();
    Ok((e.reshape(&result, extents(&labels))?, labels))
}
