use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::context::Gpu;
use super::lone::{lone_graph, lone_graph_in, lone_program, lone_result};
use crate::cpu;
use crate::error::{Error, Result};
use crate::graph::{Comparison, Ending, Graph, Layout, Op, Tolerance};
use crate::ops::{FAMILIES, Given, Sample, Values};
use crate::tensor::{Array, DType, Meta, Tensor};

/// An op with values, and what its path on the CPU makes of them: what a kernel must agree with before it is used.
///
/// Kernel and CPU may each lie within [`Tolerance::bound`] of the truth, so they may differ by twice that. Where they
/// differ by more, the f64 reference decides: the kernel may then be off by the bound, and four times what the CPU is
/// off at that element, which shows how much rounding there matters.
pub(super) struct Witness {
    op: Arc<dyn Op>,
    graph: Graph,
    half: bool,
    inputs: Vec<Tensor>,
    expected: Array,
    magnitude: Array,
    tolerance: Tolerance,
}

impl Witness {
    /// Draws values for an op, as its own samples do where it has some, and computes on the CPU. `result` is how the kernel
    /// keeps its result.
    ///
    /// Errors: if the inputs do not fit the op.
    pub fn new(op: &Arc<dyn Op>, metas: &[Meta], result: DType) -> Result<Self> {
        let (graph, output) = lone_graph(op, metas)?;
        let mut inputs = draw(op, metas, values);
        let mut expected = on_cpu(&graph, &inputs)?;
        if !expected.data.iter().any(|x| x.is_finite()) {
            // A logarithm or a root: give it positive numbers.
            inputs = draw(op, metas, |op, i, meta| match meta.dtype {
                DType::F32 | DType::F16 => Values::Uniform(0.1, 1.0),
                _ => values(op, i, meta),
            });
            expected = on_cpu(&graph, &inputs)?;
        }
        let computed: Vec<Meta> = metas.iter().map(Meta::computed).collect();
        let tolerance = op.tolerance(&computed.iter().collect::<Vec<_>>(), graph.meta(output));
        let magnitude = match tolerance {
            Tolerance::Arithmetic | Tolerance::Sum(_) => {
                let absolute = |t: &Tensor| Tensor::from_array(&t.to_array().map(f64::abs), t.dtype());
                let (graph, _) = lone_graph(&op.magnitude().unwrap_or_else(|| op.clone()), metas)?;
                on_cpu(&graph, &inputs.iter().map(absolute).collect::<Vec<_>>())?
            }
            _ => expected.clone(),
        };
        let graph = lone_graph_in(op, metas, result)?;
        Ok(Self { op: op.clone(), graph, half: result == DType::F16, inputs, expected, magnitude, tolerance })
    }

    /// What is wrong with kernel number `variant`.
    ///
    /// Errors: if the op does not fit the device, whatever the kernel.
    pub fn objection(&self, gpu: &Arc<Gpu>, variant: usize) -> Result<Option<String>> {
        let run = || lone_result(&mut lone_program(gpu, &self.graph, variant)?, &self.inputs);
        match run() {
            Ok(result) => Ok(self.compare(&result.to_array())),
            Err(error @ Error::Memory(_)) => Err(error),
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    fn compare(&self, result: &Array) -> Option<String> {
        let Self { expected, magnitude, tolerance, half, .. } = self;
        let with_cpu = Comparison { expected, magnitude, tolerance: *tolerance, half: *half };
        // Where the result is not finite, no kernel is bound to anything.
        with_cpu.objection(result, |i, bound| self.expected.data[i].is_finite().then_some(2.0 * bound))?;
        let values: Vec<Array> = self.inputs.iter().map(Tensor::to_array).collect();
        let output = Meta::f32(self.expected.shape.clone());
        let truth = self.op.reference(&values.iter().collect::<Vec<_>>(), &output);
        let with_truth = Comparison { expected: &truth, ..with_cpu };
        with_truth.objection(result, |i, bound| {
            let allowed = bound + 4.0 * (self.expected.data[i] - truth.data[i]).abs();
            allowed.is_finite().then_some(allowed)
        })
    }
}

/// Numbers drawn for an input; longer ones repeat them. A prime, so that no row is like another.
const PERIOD: usize = 4099;

/// Values for the inputs of an op.
pub(super) fn draw(op: &Arc<dyn Op>, metas: &[Meta], values: impl Fn(&str, usize, &Meta) -> Values) -> Vec<Tensor> {
    let given = |(i, meta): (usize, &Meta)| {
        let short = Meta::new([meta.elements().min(PERIOD)], meta.dtype);
        match values(op.name(), i, &short) {
            // Rows of an image each: they are what they are only in their places.
            Values::Fixed(_) => Given { values: values(op.name(), i, meta), meta: meta.clone() },
            values => Given { values, meta: short },
        }
    };
    let inputs = metas.iter().enumerate().map(given).collect();
    let drawn = Sample { op: op.clone(), inputs, differentiable: false }.draw(0);
    let repeat = |(numbers, meta): (&Array, &Meta)| {
        let drawn = numbers.data.len().max(1);
        Tensor::from_array(&Array::from_fn(&meta.shape, |i| numbers.data[i % drawn]), meta.dtype)
    };
    drawn.iter().zip(metas).map(repeat).collect()
}

fn on_cpu(graph: &Graph, inputs: &[Tensor]) -> Result<Array> {
    let weights = cpu::Weights::new(Arc::new(Layout::parameters(graph)), Arc::new(Layout::states(graph)), 0);
    let mut program = cpu::Program::new(graph, &weights, Ending::Nothing)?;
    for (i, tensor) in inputs.iter().enumerate() {
        let value = if tensor.dtype() == DType::F16 { tensor.to_f32() } else { tensor.clone() };
        program.feed(&format!("x{i}"), value.bytes())?;
    }
    program.run(&[])?;
    let result = program.take_result().and_then(|mut results| results.pop());
    result.map(|tensor| tensor.to_array()).ok_or_else(|| Error::device("the program gave no result"))
}

/// What values to give to input `i` of an op: of the kind its first sample has there, else between -1 and 1.
pub(super) fn values(op: &str, i: usize, meta: &Meta) -> Values {
    static KINDS: LazyLock<HashMap<&str, Vec<Values>>> = LazyLock::new(|| {
        let samples = FAMILIES.iter().flat_map(|family| (family.samples)());
        let mut kinds = HashMap::new();
        for sample in samples {
            let values = || sample.inputs.iter().map(|given| given.values.clone()).collect();
            kinds.entry(sample.op.name()).or_insert_with(values);
        }
        kinds
    });
    let kind = KINDS.get(op).and_then(|values| values.get(i).cloned());
    match (kind, meta.dtype) {
        (Some(Values::Fixed(values)), _) if !values.is_empty() => {
            Values::Fixed(values.iter().copied().cycle().take(meta.elements()).collect())
        }
        // Ids must exist in a table of any length.
        (_, DType::I32) => Values::Whole(2),
        (_, DType::U8) => Values::Whole(256),
        (Some(kind @ (Values::Uniform(..) | Values::Away(..) | Values::Distinct)), _) => kind,
        _ => Values::Uniform(-1.0, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Expression, Term};
    use crate::ops::Pointwise;

    /// A witness for `2 x`, whose expected values are off by `errors`.
    fn witness(errors: [f64; 4]) -> Witness {
        let double = Pointwise::new(Expression::new(|[x]| x * 2.0), [4].into());
        let mut witness = Witness::new(&(Arc::new(double) as Arc<dyn Op>), &[Meta::f32([4])], DType::F32).unwrap();
        let truth = witness.inputs[0].to_array().map(|x| 2.0 * x);
        witness.expected = Array::from_fn(&truth.shape, |i| truth.data[i] + errors[i]);
        witness
    }

    /// A result that is off by `errors`.
    fn result(witness: &Witness, errors: [f64; 4]) -> Array {
        let inputs = witness.inputs[0].to_array();
        Array::from_fn(&inputs.shape, |i| 2.0 * inputs.data[i] + errors[i])
    }

    #[test]
    fn a_wrong_element_is_found() {
        let exact = witness([0.0; 4]);
        assert_eq!(exact.compare(&result(&exact, [0.0; 4])), None);
        let objection = exact.compare(&result(&exact, [0.0, 0.0, 1e-3, 0.0])).unwrap();
        assert!(objection.starts_with("element 2"), "{objection}");
        assert!(exact.compare(&result(&exact, [0.0, f64::NAN, 0.0, 0.0])).is_some());
    }

    #[test]
    fn where_the_cpu_is_off_the_reference_decides() {
        let rounded = witness([0.0, 1e-3, 0.0, 0.0]);
        // Right, and as far off as rounding may well put it.
        assert_eq!(rounded.compare(&result(&rounded, [0.0; 4])), None);
        assert_eq!(rounded.compare(&result(&rounded, [0.0, -3.9e-3, 0.0, 0.0])), None);
        // Too far, and off where the CPU is not.
        let objection = rounded.compare(&result(&rounded, [0.0, -4.1e-3, 0.0, 0.0])).unwrap();
        assert!(objection.starts_with("element 1"), "{objection}");
        let objection = rounded.compare(&result(&rounded, [0.0, 0.0, 0.0, 1e-3])).unwrap();
        assert!(objection.starts_with("element 3"), "{objection}");
    }

    #[test]
    fn rounding_is_relative_to_what_is_subtracted() {
        let difference = Pointwise::new(Expression::new(|[x, y]: [Term; 2]| x - y), [64].into());
        let metas = [Meta::f32([64]), Meta::f32([64])];
        let witness = Witness::new(&(Arc::new(difference) as Arc<dyn Op>), &metas, DType::F32).unwrap();
        let [x, y] = [0, 1].map(|i| witness.inputs[i].to_array());
        let sums = x.data.iter().zip(&y.data).map(|(x, y)| x.abs() + y.abs());
        assert!(witness.magnitude.data.iter().zip(sums).all(|(magnitude, sum)| (magnitude - sum).abs() < 1e-6));
    }

    #[test]
    fn integers_are_of_the_kind_that_the_op_can_use() {
        let mut graph = Graph::new();
        let metas = [Meta::f32([4, 31, 37]), Meta::i32([4, 12]), Meta::i32([4])];
        let inputs: Vec<_> = metas.iter().map(|meta| graph.input("x", meta.clone())).collect();
        let loss = crate::ops::ctc_loss(&mut graph, inputs[0], inputs[1], Some(inputs[2]), 0).unwrap();
        let witness = Witness::new(graph.node(loss).op().unwrap(), &metas, DType::F32).unwrap();
        assert!(witness.expected.data.iter().all(|&loss| loss > 1.0), "{:?}", witness.expected.data);
    }

    #[test]
    fn what_is_not_finite_does_not_count() {
        let infinite = witness([0.0, f64::INFINITY, 0.0, 0.0]);
        assert_eq!(infinite.compare(&result(&infinite, [0.0, f64::NAN, 0.0, 0.0])), None);
        assert!(infinite.compare(&result(&infinite, [0.0, 0.0, f64::NAN, 0.0])).is_some());
    }
}
