//! Normalisation.

use super::super::Outcome;
use super::super::call::Call;
use super::super::emitter::Emitter;
use super::super::tensor::Tensor;
use super::window::channels_last;
use crate::graph::{Function, Value};
use crate::ops::{self, Pool2d};

/// `BatchNormalization`, by the given moments, or in training by those of the batch.
pub fn batch(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let epsilon = call.float("epsilon", 1e-5) as f32;
    let order = channels_last(x.rank());
    let value = e.ordered(x, &order)?;
    let mut given = [value; 4];
    for (i, slot) in given.iter_mut().enumerate() {
        *slot = e.plain(call.input(i + 1)?)?;
    }
    let [scale, bias, mut mean, mut variance] = given;
    let mut moments = Vec::new();
    if call.flag("training_mode", false) {
        let keep = call.float("momentum", 0.9) as f32;
        let axes: Vec<usize> = (0..x.rank() - 1).collect();
        let g = &mut e.graph;
        let batch_mean = ops::mean(g, value, &axes, false)?;
        let centred = ops::sub(g, value, batch_mean)?;
        let squares = ops::mul(g, centred, centred)?;
        let batch_variance = ops::mean(g, squares, &axes, false)?;
        for (old, new) in [(mean, batch_mean), (variance, batch_variance)] {
            let old = ops::apply(g, old, |x| x * keep)?;
            let new = ops::apply(g, new, |x| x * (1.0 - keep))?;
            moments.push(ops::add(g, old, new)?);
        }
        (mean, variance) = (batch_mean, batch_variance);
    }
    let value = ops::batch_norm_inference(&mut e.graph, value, scale, bias, mean, variance, epsilon)?;
    let mut results = vec![e.result_ordered(x.element, value, order)];
    results.extend(moments.into_iter().map(|v| e.result(x.element, v)));
    Ok(results)
}

/// A value, its mean over axes, and one over its standard deviation.
fn moments(e: &mut Emitter, value: Value, axes: &[usize], epsilon: f64) -> Outcome<[Value; 3]> {
    let g = &mut e.graph;
    let mean = ops::mean(g, value, axes, true)?;
    let centred = ops::sub(g, value, mean)?;
    let squares = ops::mul(g, centred, centred)?;
    let variance = ops::mean(g, squares, axes, true)?;
    let inverse = ops::apply(g, variance, |v| (v + epsilon as f32).call(Function::Rsqrt))?;
    Ok([ops::mul(g, centred, inverse)?, mean, inverse])
}

/// `value scale + bias`, where they are given.
fn scaled(e: &mut Emitter, value: Value, scale: Option<&Tensor>, bias: Option<&Tensor>) -> Outcome<Value> {
    let mut value = value;
    if let Some(scale) = scale {
        let scale = e.plain(scale)?;
        value = ops::mul(&mut e.graph, value, scale)?;
    }
    if let Some(bias) = bias {
        let bias = e.plain(bias)?;
        value = ops::add(&mut e.graph, value, bias)?;
    }
    Ok(value)
}

/// `InstanceNormalization`: each channel of each picture by itself.
pub fn instance(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let order = channels_last(x.rank());
    let value = e.ordered(x, &order)?;
    let axes: Vec<usize> = (1..x.rank() - 1).collect();
    let [value, ..] = moments(e, value, &axes, call.float("epsilon", 1e-5))?;
    let value = scaled(e, value, call.optional(1), call.optional(2))?;
    Ok(vec![e.result_ordered(x.element, value, order)])
}

/// `LayerNormalization`: over all axes from one on.
pub fn layer(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let first = call.axis(call.int("axis", -1), x.rank())?;
    let value = e.plain(x)?;
    let axes: Vec<usize> = (first..x.rank()).collect();
    let [value, mean, inverse] = moments(e, value, &axes, call.float("epsilon", 1e-5))?;
    let value = scaled(e, value, call.optional(1), call.optional(2))?;
    Ok([value, mean, inverse].into_iter().map(|v| e.result(x.element, v)).collect())
}

/// `RMSNormalization`: as [`layer`], without a mean.
pub fn root_mean_square(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let first = call.axis(call.int("axis", -1), x.rank())?;
    let epsilon = call.float("epsilon", 1e-5) as f32;
    let value = e.plain(x)?;
    let axes: Vec<usize> = (first..x.rank()).collect();
    let g = &mut e.graph;
    let squares = ops::mul(g, value, value)?;
    let mean = ops::mean(g, squares, &axes, true)?;
    let inverse = ops::apply(g, mean, |v| (v + epsilon).call(Function::Rsqrt))?;
    let value = ops::mul(g, value, inverse)?;
    let value = scaled(e, value, call.optional(1), None)?;
    Ok(vec![e.result(x.element, value)])
}

/// `GroupNormalization`: groups of channels of each picture.
pub fn group(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let groups = call.sizes("num_groups", &[call.int("num_groups", 1)])?[0];
    let channels = x.dims.get(1).copied().unwrap_or(0);
    if groups == 0 || !channels.is_multiple_of(groups) || channels == 0 {
        return Err(call.error(format!("{channels} channels do not make {groups} groups")).into());
    }
    let (n, rest) = (x.dims[0], x.elements() / (x.dims[0] * groups).max(1));
    let split = e.reshape(x, vec![n, groups, rest])?;
    let value = e.plain(&split)?;
    let [value, ..] = moments(e, value, &[2], call.float("epsilon", 1e-5))?;
    let value = ops::reshape(&mut e.graph, value, x.dims.clone())?;
    let trailing = vec![1; x.rank() - 2];
    // Up to version 20 a number for each group, then one for each channel.
    let per_channel = |e: &mut Emitter, t: &Tensor| -> Outcome<Tensor> {
        if t.elements() == channels {
            return e.reshape(t, [&[channels], &trailing[..]].concat());
        }
        let column = e.reshape(t, vec![t.elements(), 1])?;
        let stretched = e.expand(&column, &[t.elements(), channels / t.elements().max(1)])?;
        e.reshape(&stretched, [&[channels], &trailing[..]].concat())
    };
    let (scale, bias) = (per_channel(e, call.input(1)?)?, per_channel(e, call.input(2)?)?);
    let value = scaled(e, value, Some(&scale), Some(&bias))?;
    Ok(vec![e.result(x.element, value)])
}

/// `MeanVarianceNormalization`.
pub fn mean_variance(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let axes = call.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
    let axes = axes.iter().map(|&a| call.axis(a, x.rank())).collect::<Outcome<Vec<_>>>()?;
    let value = e.plain(x)?;
    let [value, ..] = moments(e, value, &axes, 1e-9)?;
    Ok(vec![e.result(x.element, value)])
}

/// `LpNormalization`.
pub fn lp(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let axis = call.axis(call.int("axis", -1), x.rank())?;
    let value = e.plain(x)?;
    let g = &mut e.graph;
    let norm = if call.int("p", 2) == 1 {
        let absolute = ops::unary(g, Function::Abs, value)?;
        ops::sum(g, absolute, &[axis], true)?
    } else {
        let squares = ops::mul(g, value, value)?;
        let sum = ops::sum(g, squares, &[axis], true)?;
        ops::sqrt(g, sum)?
    };
    let value = ops::div(g, value, norm)?;
    Ok(vec![e.result(x.element, value)])
}

/// `LRN`: by the squares of neighbouring channels (Krizhevsky et al. 2012).
pub fn local_response(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let size = call.sizes("size", &[call.int("size", 1)])?[0];
    let [alpha, beta, bias] = [("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)].map(|(n, d)| call.float(n, d) as f32);
    if x.rank() < 2 || size == 0 {
        return Err(call.error(format!("a window of {size} channels does not fit shape {:?}", x.dims)).into());
    }
    let order = channels_last(x.rank());
    let value = e.ordered(x, &order)?;
    let (dims, channels) = (e.graph.shape(value).dims().to_vec(), x.dims[1]);
    let g = &mut e.graph;
    let squares = ops::mul(g, value, value)?;
    // Channels as the width of a picture over which a window slides.
    let rows = ops::reshape(g, squares, [1, x.elements() / channels, channels, 1])?;
    let (before, after) = ((size - 1) / 2, size - 1 - (size - 1) / 2);
    let framed = ops::pad(g, rows, &[(0, 0), (0, 0), (before, after), (0, 0)], 0.0)?;
    let pool = Pool2d { window: [1, size], stride: [1, 1], padding: [0; 4] };
    let means = ops::average_pool2d(g, framed, pool)?;
    let means = ops::reshape(g, means, dims)?;
    let scale = ops::apply(g, means, |m| (m * alpha + bias).with(Function::Pow, -beta))?;
    let value = ops::mul(g, value, scale)?;
    Ok(vec![e.result_ordered(x.element, value, order)])
}
