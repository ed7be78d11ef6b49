//! Numbers as small whole ones, and back.

use super::super::Outcome;
use super::super::call::Call;
use super::super::element::Element;
use super::super::emitter::Emitter;
use super::super::tensor::Tensor;
use super::pointwise::evaluate;
use crate::graph::{Function as F, Term};

/// A scale or zero point so that it broadcasts against `x`: one number, one for each index of an axis, or one for each block
/// along it.
fn spread(e: &mut Emitter, call: &Call<'_>, x: &Tensor, parameter: &Tensor) -> Outcome<Tensor> {
    if parameter.elements() == 1 {
        return e.reshape(parameter, Vec::new());
    }
    let axis = call.axis(call.int("axis", 1), x.rank())?;
    let block = call.sizes("block_size", &[call.int("block_size", 0)])?[0];
    if block > 0 {
        let most = parameter.dims[axis];
        let indices: Vec<Option<usize>> = (0..x.dims[axis]).map(|i| Some((i / block).min(most - 1))).collect();
        return e.take(parameter, axis, &indices, 0.0);
    }
    e.reshape(parameter, [&[parameter.elements()], &vec![1; x.rank() - axis - 1][..]].concat())
}

/// `QuantizeLinear`: `round(x / scale) + zero_point`, within the type's range.
pub fn quantize(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let scale = spread(e, call, x, call.input(1)?)?;
    let told = call.element("output_dtype", Element::Uint8)?;
    let element = call.optional(2).map_or(told, |zero| zero.element);
    let (least, most) = element.range();
    let quotient = evaluate(e, call, x.element, &[x, &scale], &(Term::Input(0) / Term::Input(1)))?;
    let mut inputs = vec![quotient];
    let mut term = Term::Input(0).call(F::Round);
    if let Some(zero) = call.optional(2) {
        inputs.push(spread(e, call, x, zero)?);
        term = term + Term::Input(1);
    }
    let term = term.with(F::Max, least as f32).with(F::Min, most as f32);
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    Ok(vec![evaluate(e, call, element, &inputs, &term)?])
}

/// `DequantizeLinear`: `(x - zero_point) scale`.
pub fn dequantize(e: &mut Emitter, call: &Call<'_>) -> Outcome<Vec<Tensor>> {
    let x = call.input(0)?;
    let scale = spread(e, call, x, call.input(1)?)?;
    let element = scale.element;
    let mut inputs = vec![x.clone(), scale];
    let mut term = Term::Input(0);
    if let Some(zero) = call.optional(2) {
        inputs.push(spread(e, call, x, zero)?);
        term = term - Term::Input(2);
    }
    let inputs: Vec<&Tensor> = inputs.iter().collect();
    Ok(vec![evaluate(e, call, element, &inputs, &(term * Term::Input(1)))?])
}
