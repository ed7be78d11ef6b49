//! Matrix products: `output[i, j] = Σ_l a[i, l] b[l, j]`, each operand transposed on request, over a batch on request.

mod cooperative;
mod cpu;
mod kernels;

use std::sync::Arc;

use super::epilogue::{self, Epilogue};
use super::sample::Sample;
use crate::error::{Error, Result};
use crate::graph::{Backward, Capabilities, Expression, Graph, Kernel, Op, Term, Tolerance, Value};
use crate::tensor::{Array, DType, Meta, Shape, View, ViewMut};

/// A product of matrices `[m, k]` and `[k, n]`, or of as many such pairs as the leading extent of both tells. See
/// [`matmul`].
#[derive(Clone, Debug, Default)]
pub struct MatMul {
    /// Whether `a` is stored as `[k, m]`.
    pub transpose_a: bool,
    /// Whether `b` is stored as `[n, k]`.
    pub transpose_b: bool,
    /// What is applied to each element of the result.
    pub epilogue: Option<Expression>,
}

/// `batch` products of `m` rows, `n` columns and sums over `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extents {
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
}

impl MatMul {
    fn extents(&self, inputs: &[&Meta]) -> Result<Extents> {
        let fail = |why: &str| {
            let mark = |transposed: bool| if transposed { " transposed" } else { "" };
            let [a, b] = [&inputs[0].shape, &inputs[1].shape];
            let operands = format!("{a}{} and {b}{}", mark(self.transpose_a), mark(self.transpose_b));
            Err(Error::shape("matmul", format!("cannot multiply {operands}: {why}")))
        };
        if inputs[..2].iter().any(|m| m.dtype != DType::F32) {
            return fail("both must be floats");
        }
        let ([batch_a @ .., a0, a1], [batch_b @ .., b0, b1]) = (inputs[0].dims(), inputs[1].dims()) else {
            return fail("both must have two axes");
        };
        let (m, k) = if self.transpose_a { (*a1, *a0) } else { (*a0, *a1) };
        let (inner, n) = if self.transpose_b { (*b1, *b0) } else { (*b0, *b1) };
        if batch_a != batch_b || batch_a.len() > 1 {
            return fail("both must have the same batch extent");
        }
        if k != inner {
            return fail(&format!("each row of the first has {k} elements, each column of the second has {inner}"));
        }
        if inputs[0].elements() == 0 || inputs[1].elements() == 0 {
            return fail("an extent is 0");
        }
        Ok(Extents { batch: batch_a.first().copied().unwrap_or(1), m, n, k })
    }

    fn known_extents(&self, inputs: &[&Meta]) -> Extents {
        self.extents(inputs).expect("the shapes were checked when the op was emitted")
    }
}

impl Op for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        let Extents { batch, m, n, .. } = self.extents(inputs)?;
        let shape = if inputs[0].dims().len() == 2 { Shape::from([m, n]) } else { Shape::from([batch, m, n]) };
        epilogue::check("matmul", self.epilogue.as_ref(), &inputs[2..], &shape)?;
        Ok(Meta::f32(shape))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        if self.epilogue.is_some() {
            return Err(Error::shape("matmul", "a product is differentiated before it is fused"));
        }
        let (a, b, grad) = (at.inputs[0], at.inputs[1], at.grad);
        match (of, self.transpose_a, self.transpose_b) {
            (0, false, tb) => matmul(graph, grad, b, false, !tb),
            (0, true, tb) => matmul(graph, b, grad, tb, true),
            (_, ta, false) => matmul(graph, a, grad, !ta, false),
            (_, ta, true) => matmul(graph, grad, a, true, ta),
        }
        .map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let (a, b) = (inputs[0], inputs[1]);
        let [rows, columns] = [&a.shape, &b.shape].map(|s| [s.dims()[s.rank() - 2], s.last()]);
        let [m, k] = if self.transpose_a { [rows[1], rows[0]] } else { rows };
        let n = output.shape.last();
        let product = Array::from_fn(&output.shape, |index| {
            let (batch, i, j) = (index / (m * n), index / n % m, index % n);
            let a_at = |l| if self.transpose_a { l * rows[1] + i } else { i * rows[1] + l };
            let b_at = |l| if self.transpose_b { j * columns[1] + l } else { l * columns[1] + j };
            (0..k).map(|l| a.data[batch * m * k + a_at(l)] * b.data[batch * k * n + b_at(l)]).sum()
        });
        epilogue::reference(self.epilogue.as_ref(), product, &inputs[2..])
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let metas: Vec<&Meta> = inputs.iter().map(|v| v.meta).collect();
        let epilogue = Epilogue::new(self.epilogue.as_ref(), &inputs[2..], &output.meta.shape);
        cpu::matmul(
            self,
            self.known_extents(&metas),
            inputs[0].f32(),
            inputs[1].f32(),
            output.f32(),
            &epilogue,
            scratch,
        );
    }

    fn cpu_scratch(&self, inputs: &[&Meta], _output: &Meta) -> usize {
        cpu::scratch(self, self.known_extents(inputs))
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        kernels::matmul(self, self.known_extents(inputs), inputs, output, capabilities)
    }

    fn with_epilogue(&self, epilogue: &Expression) -> Option<Arc<dyn Op>> {
        self.epilogue.is_none().then(|| Arc::new(Self { epilogue: Some(epilogue.clone()), ..*self }) as Arc<dyn Op>)
    }

    fn magnitude(&self) -> Option<Arc<dyn Op>> {
        let epilogue = Some(self.epilogue.as_ref()?.magnitude());
        Some(Arc::new(Self { epilogue, ..*self }))
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        epilogue::tolerance(self.epilogue.as_ref(), self.known_extents(inputs).k)
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        let Extents { batch, m, n, k } = self.known_extents(inputs);
        2 * (batch * m * n * k) as u64
    }
}

/// The matrix product of `a` `[.., m, k]` and `b` `[.., k, n]`. With `transpose_a`, `a` is stored as `[.., k, m]`; with
/// `transpose_b`, `b` is stored as `[.., n, k]`. Leading extents must be equal; a `b` of two axes serves them all.
///
/// Errors: if the shapes do not fit.
pub fn matmul(graph: &mut Graph, a: Value, b: Value, transpose_a: bool, transpose_b: bool) -> Result<Value> {
    let op = MatMul { transpose_a, transpose_b, epilogue: None };
    let (shape_a, shape_b) = (graph.shape(a).clone(), graph.shape(b).clone());
    let [batch @ .., rows, columns] = shape_a.dims() else { return graph.apply(op, &[a, b]) };
    if batch.is_empty() || (batch.len() == 1 && shape_b.rank() == 3) {
        return graph.apply(op, &[a, b]);
    }
    let count: usize = batch.iter().product();
    let (a, b) = match (shape_b.rank(), transpose_a) {
        // One matrix for all: the batch is as good as more rows.
        (2, false) => (super::reshape(graph, a, [count * rows, *columns])?, b),
        (2, true) => {
            let repeated = Shape::from([count, shape_b.dims()[0], shape_b.dims()[1]]);
            let b = graph.apply(super::Pointwise::identity(repeated), &[b])?;
            (super::reshape(graph, a, [count, *rows, *columns])?, b)
        }
        (rank, _) if rank == shape_a.rank() && shape_b.dims().starts_with(batch) => {
            let of_b = [count, shape_b.dims()[rank - 2], shape_b.dims()[rank - 1]];
            (super::reshape(graph, a, [count, *rows, *columns])?, super::reshape(graph, b, of_b)?)
        }
        _ => return graph.apply(op, &[a, b]),
    };
    let product = graph.apply(op, &[a, b])?;
    let m = if transpose_a { *columns } else { *rows };
    let n = graph.shape(product).last();
    super::reshape(graph, product, [batch, &[m, n]].concat())
}

pub(super) fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    // Around the edges of tiles, and vectors.
    let sizes = [[1, 1, 1], [3, 5, 7], [4, 8, 4], [17, 1, 9], [1, 33, 3], [31, 64, 32], [33, 12, 65], [65, 128, 16]];
    for [m, n, k] in sizes {
        for transposes in 0..4 {
            let op = MatMul { transpose_a: transposes & 1 != 0, transpose_b: transposes & 2 != 0, epilogue: None };
            let a = if op.transpose_a { [k, m] } else { [m, k] };
            let b = if op.transpose_b { [n, k] } else { [k, n] };
            samples.push(Sample::new(op.clone(), [&a, &b]));
            if m * n < 100 {
                samples.push(Sample::new(op, [&[&[3], &a[..]].concat(), &[&[3], &b[..]].concat()]));
            }
        }
    }
    let plain = || MatMul::default();
    samples.push(Sample::new(plain(), [&[5, 1100], &[1100, 12]]).forward_only());
    // One extent of the three long.
    samples.push(Sample::new(plain(), [&[97, 1300], &[1300, 40]]).forward_only());
    for transposes in 0..4 {
        let op = MatMul { transpose_a: transposes & 1 != 0, transpose_b: transposes & 2 != 0, epilogue: None };
        // The last is made of whole blocks of cooperative matrices.
        for [m, n, k] in [[13, 401, 97], [401, 35, 9], [31, 33, 1291], [48, 64, 24]] {
            let a = if op.transpose_a { [k, m] } else { [m, k] };
            let b = if op.transpose_b { [n, k] } else { [k, n] };
            samples.push(Sample::new(op.clone(), [&a, &b]).forward_only());
        }
    }
    samples.push(Sample::new(plain(), [&[300, 20], &[20, 130]]).forward_only());
    // Long sums of few elements are split.
    let long = |transpose_a, transpose_b| MatMul { transpose_a, transpose_b, epilogue: None };
    samples.push(Sample::new(long(true, false), [&[1030, 36], &[1030, 64]]).forward_only());
    samples.push(Sample::new(long(false, true), [&[2, 32, 1028], &[2, 7, 1028]]).forward_only());
    samples.push(Sample::new(plain(), [&[70_000, 2], &[2, 4]]).forward_only());
    samples.push(Sample::new(plain(), [&[66_000, 1, 2], &[66_000, 2, 1]]).forward_only());
    let relu = |[x, bias]: [Term; 2]| (x + bias).call(crate::graph::Function::Relu);
    let fused = |e: Expression| MatMul { epilogue: Some(e), ..MatMul::default() };
    samples.push(Sample::new(fused(Expression::new(relu)), [&[9, 6], &[6, 8], &[8]]).forward_only());
    samples.push(Sample::new(fused(Expression::new(relu)), [&[9, 6], &[6, 7], &[7]]).forward_only());
    samples.push(Sample::new(fused(Expression::new(relu)), [&[32, 700], &[700, 12], &[12]]).forward_only());
    let all = |[x, bias, scale, residual]: [Term; 4]| (x + bias).call(crate::graph::Function::Tanh) * scale + residual;
    for (m, n) in [(9, 8), (4, 7), (37, 36)] {
        let inputs: [&[usize]; 5] = [&[m, 6], &[6, n], &[n], &[1], &[m, n]];
        samples.push(Sample::new(fused(Expression::new(all)), inputs).forward_only());
    }
    samples
}
