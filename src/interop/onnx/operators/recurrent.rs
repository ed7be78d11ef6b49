//! `RNN`, `GRU` and `LSTM`, unrolled: the products with the input are one matrix product for all steps.

use super::super::Outcome;
use super::super::call::Call;
use super::super::emitter::Emitter;
use super::super::tensor::Tensor;
use super::shape::part;
use crate::graph::{Function as F, Term, Value};
use crate::ops;
use crate::tensor::Tensor as HostTensor;

/// Which cell.
#[derive(Clone, Copy, PartialEq)]
pub enum Cell {
    Rnn,
    Gru,
    Lstm,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru => 3,
            Self::Lstm => 4,
        }
    }

    fn activations(self) -> &'static [&'static str] {
        match self {
            Self::Rnn => &["Tanh"],
            Self::Gru => &["Sigmoid", "Tanh"],
            Self::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// An activation with its numbers.
#[derive(Clone)]
struct Activation {
    name: String,
    alpha: f32,
    beta: f32,
}

impl Activation {
    fn term(&self, x: Term) -> Option<Term> {
        let (a, b) = (self.alpha, self.beta);
        Some(match self.name.to_lowercase().as_str() {
            "relu" => x.call(F::Relu),
            "tanh" => x.call(F::Tanh),
            "sigmoid" => x.call(F::Sigmoid),
            "affine" => x * a + b,
            "leakyrelu" => x.with(F::LeakyRelu, a),
            "thresholdedrelu" => Term::Constant(a).with(F::Less, x.clone()).select(x, 0.0),
            "scaledtanh" => (x * b).call(F::Tanh) * a,
            "hardsigmoid" => (x * a + b).with(F::Max, 0.0).with(F::Min, 1.0),
            "elu" => x.with(F::Elu, a),
            "softsign" => x.clone() / (1.0 + x.call(F::Abs)),
            "softplus" => x.call(F::Softplus),
            _ => return None,
        })
    }
}

/// One direction of a layer.
struct Direction {
    cell: Cell,
    hidden: usize,
    batch: usize,
    activations: Vec<Activation>,
    clip: Option<f32>,
    linear_before_reset: bool,
    couples_gates: bool,
    /// `[1, gates · hidden]`.
    input_bias: Option<Value>,
    recurrent_bias: Option<Value>,
    /// `[hidden, gates · hidden]`.
    recurrent: Value,
    /// Of input, output and forget gate, `[1, hidden]`.
    peepholes: Option<[Value; 3]>,
}

impl Direction {
    fn activate(&self, e: &mut Emitter, call: &Call<'_>, which: usize, x: Value) -> Outcome<Value> {
        let activation = &self.activations[which];
        let clipped = match self.clip {
            Some(c) => Term::Input(0).with(F::Max, -c).with(F::Min, c),
            None => Term::Input(0),
        };
        let unknown = || call.error(format!("activation \"{}\" is not known", activation.name));
        let term = activation.term(clipped).ok_or_else(unknown)?;
        Ok(ops::formula(&mut e.graph, &term, &[x])?)
    }

    /// Columns of a gate.
    fn gate(&self, e: &mut Emitter, all: Value, gate: usize) -> Outcome<Value> {
        let columns = gate * self.hidden..(gate + 1) * self.hidden;
        let rows = e.graph.shape(all).dims()[0];
        Ok(ops::slice(&mut e.graph, all, &[0..rows, columns])?)
    }

    /// The next hidden and cell state, from the input's part `x` `[n, gates · hidden]`.
    fn step(
        &self,
        e: &mut Emitter,
        call: &Call<'_>,
        x: Value,
        h: Value,
        c: Option<Value>,
    ) -> Outcome<(Value, Option<Value>)> {
        match self.cell {
            Cell::Rnn => {
                let sum = self.with_recurrent(e, x, h)?;
                Ok((self.activate(e, call, 0, sum)?, None))
            }
            Cell::Gru => Ok((self.gru(e, call, x, h)?, None)),
            Cell::Lstm => {
                let (h, c) = self.lstm(e, call, x, h, c.unwrap_or(h))?;
                Ok((h, Some(c)))
            }
        }
    }

    /// `x + h R + b`.
    fn with_recurrent(&self, e: &mut Emitter, x: Value, h: Value) -> Outcome<Value> {
        let part = self.recurrent_part(e, h)?;
        Ok(ops::add(&mut e.graph, x, part)?)
    }

    fn recurrent_part(&self, e: &mut Emitter, h: Value) -> Outcome<Value> {
        let part = ops::matmul(&mut e.graph, h, self.recurrent, false, false)?;
        Ok(match self.recurrent_bias {
            Some(bias) => ops::add(&mut e.graph, part, bias)?,
            None => part,
        })
    }

    fn gru(&self, e: &mut Emitter, call: &Call<'_>, x: Value, h: Value) -> Outcome<Value> {
        let part = self.recurrent_part(e, h)?;
        let mut gates = [h; 2];
        for (i, slot) in gates.iter_mut().enumerate() {
            let (a, b) = (self.gate(e, x, i)?, self.gate(e, part, i)?);
            let sum = ops::add(&mut e.graph, a, b)?;
            *slot = self.activate(e, call, 0, sum)?;
        }
        let [update, reset] = gates;
        let of_input = self.gate(e, x, 2)?;
        let of_state = if self.linear_before_reset {
            let own = self.gate(e, part, 2)?;
            ops::mul(&mut e.graph, reset, own)?
        } else {
            let kept = ops::mul(&mut e.graph, reset, h)?;
            let again = self.recurrent_part(e, kept)?;
            self.gate(e, again, 2)?
        };
        let sum = ops::add(&mut e.graph, of_input, of_state)?;
        let candidate = self.activate(e, call, 1, sum)?;
        let mix = (1.0 - Term::Input(0)) * Term::Input(1) + Term::Input(0) * Term::Input(2);
        Ok(ops::formula(&mut e.graph, &mix, &[update, candidate, h])?)
    }

    fn lstm(&self, e: &mut Emitter, call: &Call<'_>, x: Value, h: Value, c: Value) -> Outcome<(Value, Value)> {
        let all = self.with_recurrent(e, x, h)?;
        let peep = |e: &mut Emitter, gate: Value, which: usize, c: Value| -> Outcome<Value> {
            let Some(weights) = self.peepholes else { return Ok(gate) };
            let seen = ops::mul(&mut e.graph, weights[which], c)?;
            Ok(ops::add(&mut e.graph, gate, seen)?)
        };
        let gate = self.gate(e, all, 0)?;
        let gate = peep(e, gate, 0, c)?;
        let input = self.activate(e, call, 0, gate)?;
        let forget = if self.couples_gates {
            ops::apply(&mut e.graph, input, |i| 1.0 - i)?
        } else {
            let gate = self.gate(e, all, 2)?;
            let gate = peep(e, gate, 2, c)?;
            self.activate(e, call, 0, gate)?
        };
        let gate = self.gate(e, all, 3)?;
        let candidate = self.activate(e, call, 1, gate)?;
        let mix = Term::Input(0) * Term::Input(1) + Term::Input(2) * Term::Input(3);
        let next = ops::formula(&mut e.graph, &mix, &[forget, c, input, candidate])?;
        let gate = self.gate(e, all, 1)?;
        let gate = peep(e, gate, 1, next)?;
        let output = self.activate(e, call, 0, gate)?;
        let shown = self.activate(e, call, 2, next)?;
        Ok((ops::mul(&mut e.graph, output, shown)?, next))
    }
}

fn activations(call: &Call<'_>, cell: Cell, directions: usize) -> Vec<Activation> {
    let text = |s: &Vec<u8>| String::from_utf8_lossy(s).into_owned();
    let names: Vec<String> = match call.attribute("activations") {
        Some(a) if !a.strings.is_empty() => a.strings.iter().map(text).collect(),
        _ => cell
            .activations()
            .iter()
            .cycle()
            .take(cell.activations().len() * directions)
            .map(|s| (*s).to_owned())
            .collect(),
    };
    let (alphas, betas) =
        (call.floats("activation_alpha").unwrap_or_default(), call.floats("activation_beta").unwrap_or_default());
    let (mut alphas, mut betas) = (alphas.into_iter(), betas.into_iter());
    names
        .into_iter()
        .map(|name| {
            let lower = name.to_lowercase();
            let (alpha, beta) = match lower.as_str() {
                "leakyrelu" => (Some(0.01), None),
                "affine" | "elu" | "thresholdedrelu" => (Some(1.0), (lower == "affine").then_some(0.0)),
                "scaledtanh" => (Some(1.0), Some(1.0)),
                "hardsigmoid" => (Some(0.2), Some(0.5)),
                _ => (None, None),
            };
            let number = |default: Option<f32>, given: &mut std::vec::IntoIter<f64>| {
                default.map_or(0.0, |d| given.next().map_or(d, |x| x as f32))
            };
            let alpha = number(alpha, &mut alphas);
            Activation { name, alpha, beta: number(beta, &mut betas) }
        })
        .collect()
}

/// `RNN`, `GRU` and `LSTM`.
pub fn recurrent(e: &mut Emitter, call: &Call<'_>, cell: Cell) -> Outcome<Vec<Tensor>> {
    let (x, w, r) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let batch_first = call.int("layout", 0) == 1;
    let (&[_, _, features], &[directions, rows, wide], &[again, also, hidden]) =
        (&x.dims[..], &w.dims[..], &r.dims[..])
    else {
        return Err(call
            .error(format!("shapes {:?}, {:?} and {:?} do not fit together", x.dims, w.dims, r.dims))
            .into());
    };
    if wide != features
        || again != directions
        || rows != also
        || rows != cell.gates() * hidden
        || !(1..=2).contains(&directions)
    {
        return Err(call
            .error(format!("shapes {:?}, {:?} and {:?} do not fit together", x.dims, w.dims, r.dims))
            .into());
    }
    let x = if batch_first { e.permute(x, &[1, 0, 2]) } else { x.clone() };
    let [steps, batch] = [x.dims[0], x.dims[1]];
    let lengths = call.optional(4).map(Tensor::ints).transpose()?.filter(|l| l.iter().any(|&l| l < steps as i64));
    let all = activations(call, cell, directions);
    let each = cell.activations().len();
    if all.len() != each * directions {
        return Err(call.error(format!("needs {} activations, but has {}", each * directions, all.len())).into());
    }
    let value = e.plain(&x)?;
    let flat = ops::reshape(&mut e.graph, value, [steps * batch, features])?;
    let clip = call.attribute("clip").and_then(|a| a.f);
    let backwards = call.text("direction", "forward") == "reverse";
    let mut sequences = Vec::new();
    let mut finals = (Vec::new(), Vec::new());
    for d in 0..directions {
        let direction = Direction {
            cell,
            hidden,
            batch,
            activations: all[d * each..][..each].to_vec(),
            clip,
            linear_before_reset: call.flag("linear_before_reset", false),
            couples_gates: call.flag("input_forget", false),
            input_bias: bias(e, call, d, 0, rows)?,
            recurrent_bias: bias(e, call, d, rows, rows)?,
            recurrent: weight(e, r, d)?,
            peepholes: peepholes(e, call, cell, d, hidden)?,
        };
        let kernel = weight(e, w, d)?;
        let mut projected = ops::matmul(&mut e.graph, flat, kernel, false, false)?;
        if let Some(bias) = direction.input_bias {
            projected = ops::add(&mut e.graph, projected, bias)?;
        }
        let h = state(e, call, 5, d, batch_first, [batch, hidden])?;
        let c = if cell == Cell::Lstm { Some(state(e, call, 6, d, batch_first, [batch, hidden])?) } else { None };
        let reversed = backwards || d == 1;
        let (outputs, h, c) = run(e, call, &direction, projected, steps, (h, c), reversed, lengths.as_deref())?;
        sequences.push(ops::concat(&mut e.graph, &outputs, 0)?);
        finals.0.push(ops::reshape(&mut e.graph, h, [1, batch, hidden])?);
        if let Some(c) = c {
            finals.1.push(ops::reshape(&mut e.graph, c, [1, batch, hidden])?);
        }
    }
    // Sequences [t, 1, n, h] of each direction, side by side.
    let y = ops::concat(&mut e.graph, &sequences, 1)?;
    let (mut y, mut last) = (e.result(x.element, y), Vec::new());
    for of in [finals.0, finals.1] {
        if !of.is_empty() {
            let joined = ops::concat(&mut e.graph, &of, 0)?;
            last.push(e.result(x.element, joined));
        }
    }
    if batch_first {
        y = e.permute(&y, &[2, 0, 1, 3]);
        last = last.iter().map(|t| e.permute(t, &[1, 0, 2])).collect();
    }
    Ok(std::iter::once(y).chain(last).collect())
}

type Steps = (Vec<Value>, Value, Option<Value>);

/// All steps of a direction: outputs `[1, 1, n, hidden]` in order of time, and the last states.
#[expect(clippy::too_many_arguments, reason = "a recurrence has as many parts")]
fn run(
    e: &mut Emitter,
    call: &Call<'_>,
    direction: &Direction,
    projected: Value,
    steps: usize,
    (mut h, mut c): (Value, Option<Value>),
    reversed: bool,
    lengths: Option<&[i64]>,
) -> Outcome<Steps> {
    let (batch, columns) = (direction.batch, e.graph.shape(projected).last());
    let mut outputs = vec![h; steps];
    for step in 0..steps {
        let t = if reversed { steps - 1 - step } else { step };
        let x = ops::slice(&mut e.graph, projected, &[t * batch..(t + 1) * batch, 0..columns])?;
        let (mut next_h, mut next_c) = direction.step(e, call, x, h, c)?;
        let mut shown = next_h;
        if let Some(lengths) = lengths {
            let alive: Vec<f32> = lengths.iter().map(|&l| if (t as i64) < l { 1.0 } else { 0.0 }).collect();
            let alive = e.graph.constant(HostTensor::new([batch, 1], alive)?);
            let keep = Term::Input(0).select(Term::Input(1), Term::Input(2));
            shown = ops::mul(&mut e.graph, alive, next_h)?;
            next_h = ops::formula(&mut e.graph, &keep, &[alive, next_h, h])?;
            if let (Some(new), Some(old)) = (next_c, c) {
                next_c = Some(ops::formula(&mut e.graph, &keep, &[alive, new, old])?);
            }
        }
        outputs[t] = ops::reshape(&mut e.graph, shown, [1, 1, batch, direction.hidden])?;
        (h, c) = (next_h, next_c);
    }
    Ok((outputs, h, c))
}

/// Matrix `direction` of `[directions, rows, columns]`, transposed.
fn weight(e: &mut Emitter, all: &Tensor, direction: usize) -> Outcome<Value> {
    let one = part(e, all, 0, direction, direction + 1)?;
    let matrix = e.reshape(&one, all.dims[1..].to_vec())?;
    e.ordered(&matrix, &[1, 0])
}

/// Numbers `start..start + n` of a direction's bias, as a row.
fn bias(e: &mut Emitter, call: &Call<'_>, direction: usize, start: usize, n: usize) -> Outcome<Option<Value>> {
    let Some(all) = call.optional(3) else { return Ok(None) };
    let one = part(e, all, 0, direction, direction + 1)?;
    let half = part(e, &one, 1, start, start + n)?;
    e.plain(&half).map(Some)
}

fn peepholes(
    e: &mut Emitter,
    call: &Call<'_>,
    cell: Cell,
    direction: usize,
    hidden: usize,
) -> Outcome<Option<[Value; 3]>> {
    let Some(all) = call.optional(7).filter(|_| cell == Cell::Lstm) else { return Ok(None) };
    let one = part(e, all, 0, direction, direction + 1)?;
    let mut values = Vec::new();
    for gate in 0..3 {
        let weights = part(e, &one, 1, gate * hidden, (gate + 1) * hidden)?;
        values.push(e.plain(&weights)?);
    }
    Ok(values.try_into().ok())
}

/// A direction's state before the first step.
fn state(
    e: &mut Emitter,
    call: &Call<'_>,
    input: usize,
    direction: usize,
    batch_first: bool,
    shape: [usize; 2],
) -> Outcome<Value> {
    let Some(all) = call.optional(input) else {
        return Ok(e.graph.constant(HostTensor::new(shape, vec![0.0_f32; shape[0] * shape[1]])?));
    };
    let all = if batch_first { e.permute(all, &[1, 0, 2]) } else { all.clone() };
    let one = part(e, &all, 0, direction, direction + 1)?;
    let one = e.reshape(&one, shape.to_vec())?;
    e.plain(&one)
}
