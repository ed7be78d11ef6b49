//! Resizing along any axes: each element of the result is a weighted sum of its neighbours along each axis.
//!
//! Coordinates and weights follow the reference implementation of `Resize` in the `onnx` package.

use super::super::Outcome;
use super::super::call::Call;
use super::super::emitter::Emitter;
use super::super::tensor::Tensor;
use crate::ops;
use crate::tensor::Tensor as HostTensor;

/// How one axis is resized.
struct Axis {
    input: usize,
    output: usize,
    scale: f64,
    roi: [f64; 2],
}

/// What is the same for all axes.
struct Rule {
    mode: String,
    coordinates: String,
    nearest: String,
    cubic: f64,
    antialias: bool,
    exclude_outside: bool,
    extrapolation: f64,
}

/// For each element of the result: indices and weights. `None` stands for the value outside.
type Taps = Vec<Option<Vec<(usize, f64)>>>;

impl Rule {
    fn of(call: &Call<'_>) -> Self {
        let upsample = call.node.op_type == "Upsample";
        // Before version 11 there was one way.
        let old = upsample || call.opset < 11;
        let coordinates = if old { "asymmetric" } else { "half_pixel" };
        let nearest = if old { "floor" } else { "round_prefer_floor" };
        Self {
            mode: call.text("mode", "nearest"),
            coordinates: call.text("coordinate_transformation_mode", coordinates),
            nearest: call.text("nearest_mode", nearest),
            cubic: call.float("cubic_coeff_a", -0.75),
            antialias: call.flag("antialias", false),
            exclude_outside: call.flag("exclude_outside", false),
            extrapolation: call.float("extrapolation_value", 0.0),
        }
    }

    /// Where element `i` of the result lies in the input.
    fn coordinate(&self, call: &Call<'_>, axis: &Axis, i: usize) -> Outcome<f64> {
        let (x, n, scale) = (i as f64, axis.input as f64, axis.scale);
        let length = scale * n;
        Ok(match self.coordinates.as_str() {
            "half_pixel" => (x + 0.5) / scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = axis.output as f64 / length;
                n / 2.0 * (1.0 - adjustment) + (x + 0.5) / scale - 0.5
            }
            "pytorch_half_pixel" if axis.output <= 1 => -0.5,
            "pytorch_half_pixel" => (x + 0.5) / scale - 0.5,
            "tf_half_pixel_for_nn" => (x + 0.5) / scale,
            "align_corners" if length == 1.0 => 0.0,
            "align_corners" => x * (n - 1.0) / (length - 1.0),
            "asymmetric" => x / scale,
            "tf_crop_and_resize" => {
                let [start, end] = axis.roi;
                let inner = if length == 1.0 {
                    (end - start) * (n - 1.0) / 2.0
                } else {
                    x * (end - start) * (n - 1.0) / (length - 1.0)
                };
                inner + start * (n - 1.0)
            }
            other => return Err(call.error(format!("coordinate mode \"{other}\" is not known")).into()),
        })
    }

    /// Weights of the neighbours from an offset on, for a place `ratio` in (0, 1] right of its left neighbour.
    fn weights(&self, call: &Call<'_>, ratio: f64, scale: f64) -> Outcome<(i64, Vec<f64>)> {
        let whole = ratio == 1.0;
        let a = self.cubic;
        let cubic = |x: f64| {
            let x = x.abs();
            if x <= 1.0 {
                ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
            } else if x < 2.0 {
                ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
            } else {
                0.0
            }
        };
        let spread = |reach: f64, f: &dyn Fn(f64) -> f64| {
            let scale = scale.min(1.0);
            let start = (-reach / scale).floor() as i64 + 1;
            let end = if reach == 2.0 { 2 - start } else { start + 2 - 2 * start };
            let weights: Vec<f64> = (start..end).map(|i| f(scale * (i as f64 - ratio))).collect();
            let sum: f64 = weights.iter().sum();
            (start, weights.into_iter().map(|w| w / sum).collect())
        };
        let right = |is: bool| (0, vec![f64::from(u8::from(!is)), f64::from(u8::from(is))]);
        Ok(match (self.mode.as_str(), self.antialias) {
            ("nearest", _) => match self.nearest.as_str() {
                _ if whole => right(true),
                "round_prefer_floor" => right(ratio > 0.5),
                "round_prefer_ceil" => right(ratio >= 0.5),
                "floor" => right(false),
                "ceil" => right(true),
                other => return Err(call.error(format!("nearest mode \"{other}\" is not known")).into()),
            },
            ("linear" | "bilinear" | "trilinear", false) => (0, vec![1.0 - ratio, ratio]),
            ("linear" | "bilinear" | "trilinear", true) => spread(1.0, &|x| (1.0 - x.abs()).clamp(0.0, 1.0)),
            ("cubic", false) => (-1, (-1..3).map(|i| cubic(f64::from(i) - ratio)).collect()),
            ("cubic", true) => spread(2.0, &cubic),
            (other, _) => return Err(call.error(format!("mode \"{other}\" is not known")).into()),
        })
    }

    fn taps(&self, call: &Call<'_>, axis: &Axis) -> Outcome<Taps> {
        let last = axis.input as i64 - 1;
        let mut taps = Vec::with_capacity(axis.output);
        for i in 0..axis.output {
            let x = self.coordinate(call, axis, i)?;
            if self.coordinates == "tf_crop_and_resize" && (x < 0.0 || x > last as f64) {
                taps.push(None);
                continue;
            }
            let left = x.floor();
            // The place itself counts as the right neighbour of the one before.
            let (left, ratio) = if x == left { (left - 1.0, 1.0) } else { (left, x - left) };
            let (offset, mut weights) = self.weights(call, ratio, axis.scale)?;
            let places: Vec<i64> = (0..weights.len() as i64).map(|k| left as i64 + offset + k).collect();
            if self.exclude_outside {
                places.iter().zip(&mut weights).filter(|(p, _)| !(0..=last).contains(*p)).for_each(|(_, w)| *w = 0.0);
                let sum: f64 = weights.iter().sum();
                weights.iter_mut().for_each(|w| *w /= sum);
            }
            let found = places.iter().zip(weights).filter(|(_, w)| *w != 0.0);
            taps.push(Some(found.map(|(p, w)| ((*p).clamp(0, last) as usize, w)).collect()));
        }
        Ok(taps)
    }
}

/// `Resize` and `Upsample`.
pub fn resize(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let rule = Rule::of(call);
    let mut result = x.clone();
    for (a, axis) in axes(call, x)? {
        let taps = rule.taps(call, &axis)?;
        result = along(e, &result, a, &taps, rule.extrapolation)?;
    }
    Ok(vec![result])
}

/// The axes that are resized, and how.
fn axes(call: &Call<'_>, x: &Tensor) -> Outcome<Vec<(usize, Axis)>> {
    let axes: Vec<usize> = match call.ints("axes") {
        Some(axes) => axes.iter().map(|&a| call.axis(a, x.rank())).collect::<Outcome<_>>()?,
        None => (0..x.rank()).collect(),
    };
    let given = |i: usize| call.optional(i).filter(|t| t.elements() > 0);
    // Upsample, and Resize of version 10, have scales behind the picture; later come a region, scales and sizes.
    let behind = call.node.op_type == "Upsample" || call.opset < 11;
    let scales = match (given(if behind { 1 } else { 2 }), call.floats("scales")) {
        (Some(scales), _) => Some(scales.array()?.data.clone()),
        (None, attribute) => attribute,
    };
    let sizes = given(3).filter(|_| !behind).map(Tensor::ints).transpose()?;
    let roi = given(1).filter(|_| !behind && call.text("coordinate_transformation_mode", "") == "tf_crop_and_resize");
    let roi = roi.map(|t| Ok::<_, super::super::Halt>(t.array()?.data.clone())).transpose()?;
    let count = scales.as_ref().map(Vec::len).or(sizes.as_ref().map(Vec::len));
    if count != Some(axes.len()) || roi.as_ref().is_some_and(|r| r.len() != 2 * axes.len()) {
        return Err(call.error(format!("needs a scale or size for each of {} axes", axes.len())).into());
    }
    let policy = call.text("keep_aspect_ratio_policy", "stretch");
    let ratio = |i: usize, sizes: &[i64]| sizes[i] as f64 / x.dims[axes[i]] as f64;
    let common = sizes.as_ref().and_then(|sizes| {
        let ratios = (0..axes.len()).map(|i| ratio(i, sizes));
        match policy.as_str() {
            "not_larger" => ratios.reduce(f64::min),
            "not_smaller" => ratios.reduce(f64::max),
            _ => None,
        }
    });
    let mut found = Vec::new();
    for (i, &a) in axes.iter().enumerate() {
        let input = x.dims[a];
        let (scale, output) = match (&scales, &sizes, common) {
            (Some(scales), ..) => (scales[i], (input as f64 * scales[i]).floor()),
            // Half a pixel more rounds up.
            (None, _, Some(scale)) => (scale, (scale * input as f64 + 0.5).floor()),
            (None, Some(sizes), None) => (ratio(i, sizes), sizes[i] as f64),
            (None, None, None) => unreachable!("counted above"),
        };
        let crops = roi.is_some();
        if scale == 1.0 && !crops {
            continue;
        }
        let output = call.sizes("sizes", &[output as i64])?[0];
        if output == 0 || input == 0 || scale.is_nan() || scale <= 0.0 {
            return Err(call.error(format!("cannot resize {input} to {output}")).into());
        }
        let roi = roi.as_ref().map_or([0.0, 1.0], |r| [r[i], r[i + axes.len()]]);
        found.push((a, Axis { input, output, scale, roi }));
    }
    Ok(found)
}

/// Weighted sums along an axis.
fn along(e: &mut Emitter, x: &Tensor, axis: usize, taps: &Taps, outside: f64) -> Outcome<Tensor> {
    let most = taps.iter().flatten().map(Vec::len).max().unwrap_or(0);
    let single = most <= 1 && taps.iter().flatten().flatten().all(|(_, w)| *w == 1.0);
    let tap = |t: &Option<Vec<(usize, f64)>>, k: usize| t.as_ref().map(|t| t.get(k).copied().unwrap_or((t[0].0, 0.0)));
    if single && taps.iter().all(Option::is_some) {
        let indices: Vec<Option<usize>> = taps.iter().map(|t| tap(t, 0).map(|(i, _)| i)).collect();
        return e.take(x, axis, &indices, 0.0);
    }
    let order = x.order();
    let value = e.ordered(x, &order)?;
    let at = order.iter().position(|&a| a == axis).expect("orders name every axis");
    let mut shape = vec![1; x.rank()];
    shape[at] = taps.len();
    let mut sum = None;
    for k in 0..most {
        let indices: Vec<Option<usize>> = taps.iter().map(|t| Some(tap(t, k).map_or(0, |(i, _)| i))).collect();
        let weights: Vec<f32> = taps.iter().map(|t| tap(t, k).map_or(0.0, |(_, w)| w as f32)).collect();
        let part = e.take_value(value, at, &indices, 0.0)?;
        let weights = e.graph.constant(HostTensor::new(shape.clone(), weights)?);
        let part = ops::mul(&mut e.graph, part, weights)?;
        sum = Some(match sum {
            Some(sum) => ops::add(&mut e.graph, sum, part)?,
            None => part,
        });
    }
    let mut value = sum.unwrap_or(value);
    if outside != 0.0 && taps.contains(&None) {
        let fill: Vec<f32> = taps.iter().map(|t| if t.is_none() { outside as f32 } else { 0.0 }).collect();
        let fill = e.graph.constant(HostTensor::new(shape, fill)?);
        value = ops::add(&mut e.graph, value, fill)?;
    }
    Ok(e.result_ordered(x.element, value, order))
}
