use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::graph::{Function, Graph, Term, Value};
use crate::nn::{Builder, Initializer, Layer};
use crate::ops;
use crate::tensor::Tensor;

/// Attributes of every recurrent layer. They read `[n, steps, c]` step by step, each with what they keep of those before.
///
/// Parameters, for each direction: `weight` `[c, gates units]`, `recurrent_weight` `[units, gates units]`, and a bias; those of the
/// way back begin with `backward_`. Gates stand in Keras's order.
macro_rules! recurrent {
    ($(#[$doc:meta])* $name:ident, $type_name:literal, $cell:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Values that it keeps.
            pub units: usize,
            /// Whether the result has those of every step, `[n, steps, units]`, or of the last, `[n, units]`.
            #[serde(default)]
            pub return_sequences: bool,
            /// Whether the steps are read from the last to the first.
            #[serde(default)]
            pub go_backwards: bool,
            /// Whether they are read both ways, and the results stand side by side.
            #[serde(default)]
            pub bidirectional: bool,
            /// Steps all of whose values are this are passed over, as behind Keras's `Masking`: for sequences of different
            /// lengths. The result of such a step is that of the one read before; where steps are read both ways, 0.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub mask_value: Option<f32>,
        }

        impl $name {
            /// With Keras's defaults: the last step's result, read once from the front.
            pub fn new(units: usize) -> Self {
                Self { units, return_sequences: false, go_backwards: false, bidirectional: false, mask_value: None }
            }
        }

        impl Layer for $name {
            fn type_name(&self) -> &'static str {
                $type_name
            }

            fn build(&self, builder: &mut Builder<'_>, inputs: &[Value]) -> Result<Value> {
                let Self { units, return_sequences, go_backwards, bidirectional, mask_value } = *self;
                let read = Reading { units, return_sequences, go_backwards, bidirectional, mask_value };
                read.build::<$cell>(builder, inputs[0])
            }
        }
    };
}

recurrent!(
    /// `h ← tanh(x W + h U + b)`.
    SimpleRNN,
    "simple_rnn",
    SimpleCell
);

recurrent!(
    /// Long short-term memory; gates: input, forget, candidate, output.
    ///
    /// Source: Hochreiter & Schmidhuber, 1997, <https://doi.org/10.1162/neco.1997.9.8.1735>.
    LSTM,
    "lstm",
    LstmCell
);

recurrent!(
    /// Gated recurrent unit; gates: update, reset, candidate. The reset comes after the product with `recurrent_weight`, so that
    /// there are two biases, `bias` `[2, 3 units]`.
    ///
    /// Source: Cho et al., 2014, <https://arxiv.org/abs/1406.1078>.
    GRU,
    "gru",
    GruCell
);

/// What one step does.
trait Cell {
    /// Blocks of `units` values that the weights compute.
    const GATES: usize;
    /// Rows of biases: those of the input, and of what was kept.
    const BIASES: usize = 1;
    /// How the bias starts.
    const BIAS: Initializer = Initializer::Zeros;

    /// The new output and, where there is one, the new memory.
    fn step(graph: &mut Graph, at: &Step) -> Result<(Value, Value)>;
}

/// What a step works with.
struct Step {
    /// The input's part of the gates `[n, gates units]`, bias included.
    input: Value,
    /// The last output's part, with its bias if it has one.
    kept: Value,
    output: Value,
    memory: Value,
    n: usize,
    units: usize,
}

impl Step {
    /// One of the gates' parts of a value.
    fn gate(&self, graph: &mut Graph, value: Value, number: usize) -> Result<Value> {
        ops::slice(graph, value, &[0..self.n, number * self.units..(number + 1) * self.units])
    }

    /// The sum of both parts of a gate.
    fn sum(&self, graph: &mut Graph, number: usize) -> Result<Value> {
        let (input, kept) = (self.gate(graph, self.input, number)?, self.gate(graph, self.kept, number)?);
        ops::add(graph, input, kept)
    }
}

struct SimpleCell;

impl Cell for SimpleCell {
    const GATES: usize = 1;

    fn step(graph: &mut Graph, at: &Step) -> Result<(Value, Value)> {
        let sum = ops::add(graph, at.input, at.kept)?;
        let output = ops::tanh(graph, sum)?;
        Ok((output, at.memory))
    }
}

struct LstmCell;

impl Cell for LstmCell {
    const GATES: usize = 4;
    const BIAS: Initializer = Initializer::UnitForget;

    fn step(graph: &mut Graph, at: &Step) -> Result<(Value, Value)> {
        let gates = [0, 1, 2, 3].map(|number| at.sum(graph, number));
        let [write, keep, candidate, read] = gates;
        let (write, keep, read) =
            (ops::sigmoid(graph, write?)?, ops::sigmoid(graph, keep?)?, ops::sigmoid(graph, read?)?);
        let candidate = ops::tanh(graph, candidate?)?;
        let kept = ops::mul(graph, keep, at.memory)?;
        let written = ops::mul(graph, write, candidate)?;
        let memory = ops::add(graph, kept, written)?;
        let shown = ops::tanh(graph, memory)?;
        Ok((ops::mul(graph, read, shown)?, memory))
    }
}

struct GruCell;

impl Cell for GruCell {
    const GATES: usize = 3;
    const BIASES: usize = 2;

    fn step(graph: &mut Graph, at: &Step) -> Result<(Value, Value)> {
        let (update, reset) = (at.sum(graph, 0)?, at.sum(graph, 1)?);
        let (update, reset) = (ops::sigmoid(graph, update)?, ops::sigmoid(graph, reset)?);
        let (input, kept) = (at.gate(graph, at.input, 2)?, at.gate(graph, at.kept, 2)?);
        let kept = ops::mul(graph, reset, kept)?;
        let candidate = ops::add(graph, input, kept)?;
        let candidate = ops::tanh(graph, candidate)?;
        // candidate + update (output - candidate)
        let change = ops::sub(graph, at.output, candidate)?;
        let change = ops::mul(graph, update, change)?;
        Ok((ops::add(graph, candidate, change)?, at.memory))
    }
}

/// How a sequence is read.
#[derive(Clone, Copy)]
struct Reading {
    units: usize,
    return_sequences: bool,
    go_backwards: bool,
    bidirectional: bool,
    mask_value: Option<f32>,
}

impl Reading {
    fn build<C: Cell>(self, builder: &mut Builder<'_>, x: Value) -> Result<Value> {
        builder.expect_positive(&[("units", self.units)])?;
        let there = self.one_way::<C>(builder, x, "", self.go_backwards)?;
        if !self.bidirectional {
            return self.result(builder, &there);
        }
        let mut back = self.one_way::<C>(builder, x, "backward_", !self.go_backwards)?;
        if self.return_sequences {
            // Results of one step stand side by side, whichever way they were read.
            back.reverse();
        }
        let (there, back) = (self.result(builder, &there)?, self.result(builder, &back)?);
        let axis = builder.dims(there).len() - 1;
        ops::concat(builder.graph(), &[there, back], axis)
    }

    /// The output of each step `[n, units]`, in the order of reading.
    fn one_way<C: Cell>(
        self,
        builder: &mut Builder<'_>,
        x: Value,
        prefix: &str,
        backwards: bool,
    ) -> Result<Vec<Value>> {
        let [n, steps, c] = builder.sequence(x)?;
        let wide = C::GATES * self.units;
        let name = |part: &str| format!("{prefix}{part}");
        let weight = builder.parameter(&name("weight"), [c, wide], Initializer::GlorotUniform)?;
        let recurrent = builder.parameter(&name("recurrent_weight"), [self.units, wide], Initializer::Orthogonal)?;
        let shape = if C::BIASES == 1 { vec![wide] } else { vec![C::BIASES, wide] };
        let bias = builder.parameter(&name("bias"), shape, C::BIAS)?;
        let alive = self.mask_value.map(|value| alive(builder.graph(), x, value)).transpose()?;
        let graph = builder.graph();
        let biases = (0..C::BIASES)
            .map(|i| match C::BIASES {
                1 => Ok(bias),
                _ => ops::slice(graph, bias, &[i..i + 1, 0..wide]).and_then(|row| ops::reshape(graph, row, [wide])),
            })
            .collect::<Result<Vec<Value>>>()?;
        let inputs = ops::matmul(graph, x, weight, false, false)?;
        let inputs = ops::add(graph, inputs, biases[0])?;
        let zeros = graph.constant(Tensor::new([n, self.units], vec![0.0; n * self.units])?);
        let (mut output, mut memory, mut outputs) = (zeros, zeros, Vec::new());
        for number in 0..steps {
            let at = if backwards { steps - 1 - number } else { number };
            let input = ops::slice(graph, inputs, &[0..n, at..at + 1, 0..wide])?;
            let input = ops::reshape(graph, input, [n, wide])?;
            let mut kept = ops::matmul(graph, output, recurrent, false, false)?;
            for &bias in &biases[1..] {
                kept = ops::add(graph, kept, bias)?;
            }
            let mut next = C::step(graph, &Step { input, kept, output, memory, n, units: self.units })?;
            let here = alive.map(|alive| ops::slice(graph, alive, &[0..n, at..at + 1])).transpose()?;
            if let Some(here) = here {
                next = (choose(graph, here, next.0, output)?, choose(graph, here, next.1, memory)?);
            }
            (output, memory) = next;
            outputs.push(match here.filter(|_| self.bidirectional && self.return_sequences) {
                Some(here) => ops::mul(graph, here, output)?,
                None => output,
            });
        }
        Ok(outputs)
    }

    fn result(self, builder: &mut Builder<'_>, outputs: &[Value]) -> Result<Value> {
        let last = *outputs.last().expect("shapes have no extent of 0");
        if !self.return_sequences {
            return Ok(last);
        }
        let n = builder.dims(last)[0];
        let graph = builder.graph();
        let steps = outputs.iter().map(|&output| ops::reshape(graph, output, [n, 1, self.units]));
        let steps = steps.collect::<Result<Vec<Value>>>()?;
        ops::concat(graph, &steps, 1)
    }
}

/// 1 for each step `[n, steps]` of x `[n, steps, c]` that has a value other than `mask`, else 0.
fn alive(graph: &mut Graph, x: Value, mask: f32) -> Result<Value> {
    let others = ops::apply(graph, x, |x| 1.0 - x.with(Function::Equal, mask))?;
    ops::max_over(graph, others, &[2], false)
}

fn choose(graph: &mut Graph, condition: Value, yes: Value, no: Value) -> Result<Value> {
    ops::formula(graph, &Term::Input(0).select(Term::Input(1), Term::Input(2)), &[condition, yes, no])
}
