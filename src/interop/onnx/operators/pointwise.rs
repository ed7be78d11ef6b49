//! Operators that compute each element by itself.

use super::super::Outcome;
use super::super::call::Call;
use super::super::element::Element;
use super::super::emitter::Emitter;
use super::super::tensor::{self, Tensor};
use crate::graph::{Expression, Function as F, Term, Value};
use crate::ops;
use crate::tensor::{Array, Shape};

/// `x` where positive, else `negative`.
fn positive_or(x: &Term, negative: Term) -> Term {
    Term::Constant(0.0).with(F::Less, x.clone()).select(x.clone(), negative)
}

/// A function of one tensor.
pub fn unary(e: &mut Emitter, call: &Call<'_>, f: impl Fn(&Call<'_>, Term) -> Term) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    Ok(vec![formula(e, call, x.element, &[x], &f(call, Term::Input(0)))?])
}

/// A function of two tensors.
pub fn binary(e: &mut Emitter, call: &Call<'_>, f: impl Fn(Term, Term) -> Term) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let y = legacy_broadcast(e, call)?;
    Ok(vec![formula(e, call, x.element, &[x, &y], &f(Term::Input(0), Term::Input(1)))?])
}

/// A function of two tensors which is 1 or 0.
pub fn comparison(e: &mut Emitter, call: &Call<'_>, f: impl Fn(Term, Term) -> Term) -> Outcome<Vec<Tensor>> {
    let (x, y) = (call.input(0)?, legacy_broadcast(e, call)?);
    Ok(vec![formula(e, call, Element::Bool, &[x, &y], &f(Term::Input(0), Term::Input(1)))?])
}

/// A function of any number of tensors, two by two.
pub fn folded(e: &mut Emitter, call: &Call<'_>, function: F, mean: bool) -> Outcome<Vec<Tensor>> {
    let inputs = call.all()?;
    let first = Term::Input(0);
    let term = (1..inputs.len()).fold(first, |term, i| term.with(function, Term::Input(i)));
    let term = if mean { term * (1.0 / inputs.len() as f32) } else { term };
    Ok(vec![formula(e, call, inputs[0].element, &inputs, &term)?])
}

/// A function of known values only, for what devices have no function for.
pub fn here(call: &Call<'_>, element: Option<Element>, f: impl Fn(f64, f64) -> f64) -> Outcome<Vec<Tensor>> {
    let inputs = call.all()?;
    let element = element.unwrap_or(inputs[0].element);
    let array = broadcast(call, &inputs, |v| element.hold(f(v[0], v.get(1).copied().unwrap_or(0.0))))?;
    Ok(vec![Tensor::known(element, array, tensor::origin(&inputs))])
}

/// The second input. Before version 7 it was stretched only where told to, and along a given axis.
fn legacy_broadcast(e: &mut Emitter, call: &Call<'_>) -> Outcome<Tensor> {
    let (x, y) = (call.input(0)?, call.input(1)?);
    let Some(axis) = call.attribute("axis").filter(|_| call.opset < 7 && y.rank() > 0) else { return Ok(y.clone()) };
    let axis = call.axis(axis.i.unwrap_or(0), x.rank())?;
    let trailing = (x.rank() - axis).checked_sub(y.rank()).ok_or_else(|| call.error("the axis does not fit"))?;
    e.reshape(y, [&y.dims[..], &vec![1; trailing]].concat())
}

fn common_dims(call: &Call<'_>, inputs: &[&Tensor]) -> Outcome<Vec<usize>> {
    let mut shape = Shape::scalar();
    for input in inputs {
        let other = Shape::from(&input.dims[..]);
        let message = || call.error(format!("shapes {shape} and {other} do not fit together"));
        shape = shape.broadcast(&other).ok_or_else(message)?;
    }
    Ok(shape.dims().to_vec())
}

/// `f` of the elements of known tensors.
fn broadcast(call: &Call<'_>, inputs: &[&Tensor], f: impl Fn(&[f64]) -> f64) -> Outcome<Array> {
    let dims = common_dims(call, inputs)?;
    let arrays = inputs.iter().map(|t| t.array()).collect::<Outcome<Vec<_>>>()?;
    let target = Shape::from(&dims[..]);
    let strides: Vec<Vec<usize>> = arrays.iter().map(|a| a.shape.broadcast_strides(&target)).collect();
    let mut values = vec![0.0; arrays.len()];
    tensor::build(&dims, |index| {
        for ((value, array), strides) in values.iter_mut().zip(&arrays).zip(&strides) {
            *value = array.data[index.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>()];
        }
        f(&values)
    })
}

/// A formula of tensors that broadcast against each other. Whole numbers are computed here, as their type holds them.
pub fn formula(e: &mut Emitter, call: &Call<'_>, element: Element, inputs: &[&Tensor], term: &Term) -> Outcome<Tensor> {
    if inputs.iter().all(|t| t.element.is_float() || t.element == Element::Bool) {
        return evaluate(e, call, element, inputs, term);
    }
    formula_here(call, element, inputs, term)
}

fn formula_here(call: &Call<'_>, element: Element, inputs: &[&Tensor], term: &Term) -> Outcome<Tensor> {
    let (expression, used) = Expression::of_used(term, inputs.len());
    let array = broadcast(call, inputs, |values| {
        let values: Vec<f64> = used.iter().map(|&i| values[i]).collect();
        element.hold(expression.evaluate(&values))
    })?;
    Ok(Tensor::known(element, array, tensor::origin(inputs)))
}

/// A formula of tensors that broadcast against each other, on a device wherever f32 holds the numbers.
pub fn evaluate(
    e: &mut Emitter,
    call: &Call<'_>,
    element: Element,
    inputs: &[&Tensor],
    term: &Term,
) -> Outcome<Tensor> {
    let dims = common_dims(call, inputs)?;
    if tensor::is_here(inputs, dims.iter().product())? {
        return formula_here(call, element, inputs, term);
    }
    let full = inputs.iter().filter(|t| t.rank() == dims.len() && !t.is_known()).max_by_key(|t| t.elements());
    let order = full.map_or_else(|| (0..dims.len()).collect(), |t| t.order());
    let mut values = Vec::with_capacity(inputs.len());
    for input in inputs {
        values.push(align(e, input, &order)?);
    }
    let value = ops::formula(&mut e.graph, term, &values)?;
    let physical: Vec<usize> = order.iter().map(|&axis| dims[axis]).collect();
    let value =
        if e.graph.shape(value).dims() == physical { value } else { ops::reshape(&mut e.graph, value, physical)? };
    Ok(e.result_ordered(element, value, order))
}

/// The value of a tensor that broadcasts against others with their axes in that order.
fn align(e: &mut Emitter, tensor: &Tensor, order: &[usize]) -> Outcome<Value> {
    if tensor.elements() == 1 {
        let scalar = e.reshape(tensor, Vec::new())?;
        return e.plain(&scalar);
    }
    if order.is_sorted() {
        return e.plain(tensor);
    }
    let missing = order.len() - tensor.rank();
    let full = e.reshape(tensor, [&vec![1; missing], &tensor.dims[..]].concat())?;
    e.ordered(&full, order)
}

/// `Clip`: bounds are attributes before version 11, then inputs.
pub fn clip(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let mut inputs = vec![x];
    let mut term = Term::Input(0);
    for (i, (name, function)) in [("min", F::Max), ("max", F::Min)].into_iter().enumerate() {
        if let Some(bound) = call.optional(i + 1) {
            term = term.with(function, Term::Input(inputs.len()));
            inputs.push(bound);
        } else if let Some(bound) = call.attribute(name).and_then(|a| a.f) {
            term = term.with(function, bound);
        }
    }
    Ok(vec![formula(e, call, x.element, &inputs, &term)?])
}

/// `Where`.
pub fn choose(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let [condition, x, y] = [call.input(0)?, call.input(1)?, call.input(2)?];
    let term = Term::Input(0).select(Term::Input(1), Term::Input(2));
    Ok(vec![formula(e, call, x.element, &[condition, x, y], &term)?])
}

/// `Cast` and `CastLike`.
pub fn cast(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let to = match call.optional(1) {
        Some(like) => like.element,
        None => call.element("to", x.element)?,
    };
    Ok(vec![cast_to(e, call, x, to)?])
}

/// The numbers of a tensor as another type.
pub fn cast_to(e: &mut Emitter, call: &Call<'_>, x: &Tensor, to: Element) -> Outcome<Tensor> {
    let exact = |t: Element| t.fits_device() && !matches!(t, Element::Float | Element::Float16 | Element::Bfloat16);
    if to == x.element {
        return Ok(x.clone());
    }
    let on_device =
        x.element.fits_device() && (to.is_float() && to.fits_device() || (exact(x.element) && to == Element::Bool));
    if on_device && !x.is_known() {
        return match to {
            Element::Bool => formula(e, call, to, &[x], &Term::Input(0).select(1.0, 0.0)),
            _ => Ok(x.with_element(to)),
        };
    }
    if to == Element::Bool && x.element.is_float() && x.element.fits_device() && !x.is_known() {
        return formula(e, call, to, &[x], &Term::Input(0).select(1.0, 0.0));
    }
    let array = x.array()?.map(|v| to.hold(v));
    Ok(Tensor::known(to, array, tensor::origin(&[x])))
}

/// `Not`, `And`, `Or`, `Xor` of 1 and 0.
pub fn not(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    unary(e, call, |_, x| 1.0 - x)
}

/// `PRelu`.
pub fn prelu(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let (x, mut slope) = (call.input(0)?, call.input(1)?.clone());
    if call.opset < 7 && slope.rank() == 1 && x.rank() > 1 {
        slope = e.reshape(&slope, [&slope.dims[..], &vec![1; x.rank() - 2]].concat())?;
    }
    let term = positive_or(&Term::Input(0), Term::Input(0) * Term::Input(1));
    Ok(vec![formula(e, call, x.element, &[x, &slope], &term)?])
}

/// `Gelu`, exact or by the hyperbolic tangent.
pub fn gelu(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    if call.text("approximate", "none") == "none" {
        return unary(e, call, |_, x| x.call(F::Gelu));
    }
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let inner = |x: Term| (x.clone() + x.clone() * x.clone() * x * 0.044_715) * SQRT_2_OVER_PI;
    unary(e, call, |_, x| 0.5 * x.clone() * (1.0 + inner(x).call(F::Tanh)))
}

/// `alpha (e^(x / scale) - 1)` where negative.
fn exponential(x: &Term, alpha: f32, scale: f32) -> Term {
    positive_or(x, (x.clone().with(F::Min, 0.0) * (1.0 / scale)).call(F::Exp).with(F::Sub, 1.0) * alpha)
}

/// `Elu`.
pub fn elu(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    unary(e, call, |c, x| x.with(F::Elu, c.float("alpha", 1.0) as f32))
}

/// `Celu`.
pub fn celu(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let alpha = call.float("alpha", 1.0) as f32;
    unary(e, call, |_, x| exponential(&x, alpha, alpha))
}

/// `Selu`.
pub fn selu(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let [alpha, gamma] = [call.float("alpha", 1.673_263_2) as f32, call.float("gamma", 1.050_701) as f32];
    unary(e, call, |_, x| exponential(&x, alpha, 1.0) * gamma)
}

/// `HardSigmoid`.
pub fn hard_sigmoid(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let [alpha, beta] = [call.float("alpha", 0.2) as f32, call.float("beta", 0.5) as f32];
    unary(e, call, |_, x| (x * alpha + beta).with(F::Max, 0.0).with(F::Min, 1.0))
}

/// `Shrink`.
pub fn shrink(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let [bias, lambda] = [call.float("bias", 0.0) as f32, call.float("lambd", 0.5) as f32];
    unary(e, call, |_, x| {
        let above = Term::Constant(lambda).with(F::Less, x.clone()).select(x.clone() - bias, 0.0);
        x.clone().with(F::Less, -lambda).select(x + bias, above)
    })
}

/// `ThresholdedRelu`.
pub fn thresholded_relu(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let alpha = call.float("alpha", 1.0) as f32;
    unary(e, call, |_, x| Term::Constant(alpha).with(F::Less, x.clone()).select(x, 0.0))
}

/// `Mod`: with the sign of the divisor, or with `fmod` of the dividend.
pub fn modulo(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let dividend_sign = call.flag("fmod", false);
    here(call, None, |x, y| {
        let rest = x % y;
        if !dividend_sign && rest != 0.0 && (rest < 0.0) != (y < 0.0) { rest + y } else { rest }
    })
}

/// `BitShift`.
pub fn bit_shift(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let left = call.text("direction", "LEFT") == "LEFT";
    here(call, None, |x, y| {
        let factor = y.exp2();
        if left { x * factor } else { (x / factor).floor() }
    })
}

/// `IsInf`.
pub fn is_infinite(_: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let [negative, positive] = ["detect_negative", "detect_positive"].map(|name| call.flag(name, true));
    here(call, Some(Element::Bool), |x, _| {
        f64::from(u8::from((x == f64::INFINITY && positive) || (x == f64::NEG_INFINITY && negative)))
    })
}
