//! Sum, mean and maximum over axes, and the position of the maximum.
//!
//! An op reduces neighbouring axes, so that every case is a matrix stack `[outer, reduced, inner]`: columns with
//! `outer = 1` (a bias gradient), rows with `inner = 1`, everything with both. Axes apart from each other are reduced one
//! run after the other. Long sums are split into parts whose sums are summed: the order depends on shapes only, never on
//! the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{
    Backward, Binding, Capabilities, Expression, Function, Graph, Kernel, Launch, Op, Term, Tolerance, Value,
};
use crate::tensor::{Array, DType, Meta, Shape, Tensor, View, ViewMut};

/// What becomes of the elements along the reduced axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their sum divided by their number.
    Mean,
    /// The largest. Its gradient goes to the first of equal ones, in row-major order.
    Max,
}

/// Reduces an f32 tensor over neighbouring axes. See [`sum`], [`mean`] and [`max_over`].
#[derive(Clone, Debug)]
pub struct Reduce {
    pub(crate) reduction: Reduction,
    pub(crate) axes: Range<usize>,
    pub(crate) keep_dims: bool,
}

/// Position of the first maximum over neighbouring axes, counted row-major along them; i32. See [`argmax`].
#[derive(Clone, Debug)]
pub struct ArgMax {
    axes: Range<usize>,
    keep_dims: bool,
}

/// A shape seen as `[outer, reduced, inner]`.
#[derive(Clone, Copy)]
struct Extents {
    outer: usize,
    reduced: usize,
    inner: usize,
}

impl Extents {
    fn of(shape: &Shape, axes: &Range<usize>) -> Self {
        let extent = |dims: &[usize]| dims.iter().product();
        let dims = shape.dims();
        Self {
            outer: extent(&dims[..axes.start]),
            reduced: extent(&dims[axes.clone()]),
            inner: extent(&dims[axes.end..]),
        }
    }

    /// Position of the first element that is reduced to result element `i`; the next ones are `inner` apart.
    fn start(self, i: usize) -> usize {
        i / self.inner * self.reduced * self.inner + i % self.inner
    }
}

/// The shape after reduction over `axes`.
fn reduced_shape(at: &str, input: &Meta, axes: &Range<usize>, keep_dims: bool) -> Result<Shape> {
    let dims = input.dims();
    if input.dtype != DType::F32 {
        return Err(Error::shape(at, format!("takes floats, not {input}")));
    }
    if axes.is_empty() || axes.end > dims.len() {
        return Err(Error::shape(at, format!("axes {axes:?} are not axes of shape {}", input.shape)));
    }
    if input.elements() == 0 {
        return Err(Error::shape(at, format!("shape {} has no elements to reduce", input.shape)));
    }
    let ones = vec![1; if keep_dims { axes.len() } else { 0 }];
    Ok(Shape::from([&dims[..axes.start], &ones, &dims[axes.end..]].concat()))
}

/// A second launch does not pay for fewer parts.
const FEWEST_PARTS: usize = 8;
/// Elements one task of the CPU reduces.
const TASK: usize = 16 << 10;

impl Reduce {
    /// Parts into which the CPU splits the reduced axes, and the length of each but the last.
    fn split(extents: Extents) -> (usize, usize) {
        let length = (TASK / extents.inner).max(1);
        (extents.reduced.div_ceil(length), length)
    }

    fn is_max(&self) -> bool {
        self.reduction == Reduction::Max
    }
}

impl Op for Reduce {
    fn name(&self) -> &'static str {
        match self.reduction {
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
            Reduction::Max => "max_over",
        }
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        reduced_shape(self.name(), inputs[0], &self.axes, self.keep_dims).map(Meta::f32)
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        let shape = graph.shape(at.inputs[0]).clone();
        let kept: Vec<usize> =
            shape.dims().iter().enumerate().map(|(i, &d)| if self.axes.contains(&i) { 1 } else { d }).collect();
        let grad = super::reshape(graph, at.grad, kept)?;
        let reduced = Extents::of(&shape, &self.axes).reduced;
        match self.reduction {
            Reduction::Sum => graph.apply(super::Pointwise::identity(shape), &[grad]),
            Reduction::Mean => {
                let share = Expression::new(|[g]| g * (1.0 / reduced as f32));
                graph.apply(super::Pointwise::new(share, shape), &[grad])
            }
            Reduction::Max => {
                let first = graph.apply(ArgMax { axes: self.axes.clone(), keep_dims: true }, &[at.inputs[0]])?;
                let along: Vec<usize> = shape.dims()[self.axes.clone()].to_vec();
                let after = vec![1; shape.rank() - self.axes.end];
                let numbers: Vec<i32> = (0..reduced as i32).collect();
                let position = graph.constant(Tensor::new([along, after].concat(), numbers)?);
                let here = Expression::new(|[p, first, g]: [Term; 3]| p.with(Function::Equal, first).select(g, 0.0));
                graph.apply(super::Pointwise::new(here, shape), &[position, first, grad])
            }
        }
        .map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let extents = Extents::of(&inputs[0].shape, &self.axes);
        Array::from_fn(&output.shape, |i| {
            let elements = (0..extents.reduced).map(|r| inputs[0].data[extents.start(i) + r * extents.inner]);
            match self.reduction {
                Reduction::Sum => elements.sum(),
                Reduction::Mean => elements.sum::<f64>() / extents.reduced as f64,
                Reduction::Max => elements.fold(f64::NEG_INFINITY, f64::max),
            }
        })
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, scratch: &mut [f32]) {
        let extents = Extents::of(&inputs[0].meta.shape, &self.axes);
        let (parts, length) = Self::split(extents);
        let (input, result) = (inputs[0].f32(), output.f32());
        if parts == 1 {
            reduce_parts(self.is_max(), input, extents, parts, length, result);
        } else {
            reduce_parts(self.is_max(), input, extents, parts, length, scratch);
            let sums = Extents { reduced: parts, ..extents };
            reduce_parts(self.is_max(), scratch, sums, 1, parts, result);
        }
        if self.reduction == Reduction::Mean {
            let share = 1.0 / extents.reduced as f32;
            result.iter_mut().for_each(|x| *x *= share);
        }
    }

    fn cpu_scratch(&self, inputs: &[&Meta], output: &Meta) -> usize {
        let (parts, _) = Self::split(Extents::of(&inputs[0].shape, &self.axes));
        if parts == 1 { 0 } else { parts * output.elements() }
    }

    fn kernels(&self, inputs: &[&Meta], _output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
        let extents = Extents::of(&inputs[0].shape, &self.axes);
        let threads: usize = if capabilities.software { 1 << 10 } else { 1 << 14 };
        let registers = self.staged("registers", extents, threads.div_ceil(extents.outer * extents.inner), 16);
        let tree = Tree::of(extents);
        let groups = extents.outer * extents.inner.div_ceil(tree.lanes);
        let trees = self.staged("tree", extents, 512_usize.div_ceil(groups), 4 * tree.rows);
        if capabilities.software || extents.reduced < 32 { vec![registers, trees] } else { vec![trees, registers] }
    }

    fn tolerance(&self, inputs: &[&Meta], _output: &Meta) -> Tolerance {
        match self.reduction {
            Reduction::Max => Tolerance::Exact,
            _ => Tolerance::Sum(Extents::of(&inputs[0].shape, &self.axes).reduced),
        }
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        inputs[0].elements() as u64
    }
}

/// A workgroup of the tree kernel: `lanes` elements of the result, `rows` invocations for each.
#[derive(Clone, Copy)]
struct Tree {
    lanes: usize,
    rows: usize,
}

impl Tree {
    fn of(extents: Extents) -> Self {
        let lanes = extents.inner.next_power_of_two().min(32);
        Self { lanes, rows: extents.reduced.next_power_of_two().clamp(2, 256 / lanes) }
    }
}

impl Reduce {
    /// The kernel of one launch, or of two if that gives up to `parts` parts of at least `least` elements.
    fn staged(&self, form: &str, extents: Extents, parts: usize, least: usize) -> Kernel {
        let parts = parts.min(extents.reduced / least).clamp(1, 1024);
        let parts = if parts < FEWEST_PARTS { 1 } else { parts };
        let launch = |extents, parts, divisor, bindings| match form {
            "tree" => self.tree(extents, parts, divisor, bindings),
            _ => self.registers(extents, parts, divisor, bindings),
        };
        let divisor = if self.reduction == Reduction::Mean { extents.reduced } else { 1 };
        if parts == 1 {
            return Kernel::single(form, launch(extents, 1, divisor, [Binding::Input(0), Binding::Output]));
        }
        let first = launch(extents, parts, 1, [Binding::Input(0), Binding::Scratch(0)]);
        let sums = Extents { reduced: parts, ..extents };
        let second = launch(sums, 1, divisor, [Binding::Scratch(0), Binding::Output]);
        let bytes = extents.outer * parts * extents.inner * 4;
        Kernel { variant: format!("{form}, two stages"), launches: vec![first, second], scratch: vec![bytes] }
    }

    fn registers(&self, extents: Extents, parts: usize, divisor: usize, bindings: [Binding; 2]) -> Launch {
        let Extents { outer, reduced, inner } = extents;
        if inner == 1 && reduced.is_multiple_of(4) && reduced >= 4 * parts {
            let text = include_str!("../../shaders/reduce_rows.wgsl");
            return Launch::new("reduce_rows.wgsl", text)
                .prepend(&input_binding("vec4f", bindings[0]))
                .constants([("MAX", usize::from(self.is_max()))])
                .params([outer, reduced / 4, parts, divisor])
                .bindings(bindings)
                .threads(outer * parts, 64);
        }
        let (vector, inner) = if inner.is_multiple_of(4) { ("vec4f", inner / 4) } else { ("f32", inner) };
        Launch::new("reduce.wgsl", include_str!("../../shaders/reduce.wgsl"))
            .prepend(&input_binding("V", bindings[0]))
            .prepend(&format!("alias V = {vector};\n"))
            .constants([("INNER", inner), ("MAX", usize::from(self.is_max()))])
            .params([outer, reduced, parts, divisor])
            .bindings(bindings)
            .threads(outer * parts * inner, 64)
    }

    fn tree(&self, extents: Extents, parts: usize, divisor: usize, bindings: [Binding; 2]) -> Launch {
        let Extents { outer, reduced, inner } = extents;
        let Tree { lanes, rows } = Tree::of(extents);
        Launch::new("reduce_tree.wgsl", include_str!("../../shaders/reduce_tree.wgsl"))
            .prepend(&input_binding("f32", bindings[0]))
            .constants([("INNER", inner), ("LANES", lanes), ("ROWS", rows), ("MAX", usize::from(self.is_max()))])
            .params([outer, reduced, parts, divisor])
            .bindings(bindings)
            .threads(outer * parts * inner.div_ceil(lanes), 1)
    }
}

/// The declaration of binding 1; scratch memory is writable even where it is only read.
fn input_binding(element: &str, binding: Binding) -> String {
    let access = if matches!(binding, Binding::Scratch(_)) { "read_write" } else { "read" };
    format!("@group(0) @binding(1) var<storage, {access}> input: array<{element}>;\n")
}

/// Reduces each part of `length` rows of `input` `[outer, reduced, inner]` to a row of `result` `[outer, parts, inner]`.
fn reduce_parts(max: bool, input: &[f32], extents: Extents, parts: usize, length: usize, result: &mut [f32]) {
    let Extents { reduced, inner, .. } = extents;
    let tasks = TASK.div_ceil(length.min(reduced) * inner);
    result.par_chunks_mut(inner).with_min_len(tasks).enumerate().for_each(|(i, row)| {
        let (o, from) = (i / parts, i % parts * length);
        let rows = &input[(o * reduced + from) * inner..][..length.min(reduced - from) * inner];
        match (max, inner) {
            (false, 1) => row[0] = fold_row(rows, |a, b| a + b),
            (true, 1) => row[0] = fold_row(rows, f32::max),
            (false, _) => fold_columns(rows, row, |a, b| a + b),
            (true, _) => fold_columns(rows, row, f32::max),
        }
    });
}

/// Combines the elements of a row, in lanes that the compiler can put into vector registers.
pub(super) fn fold_row(row: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (head, mut rest) = row.split_first().expect("no empty axis is reduced");
    let mut total = *head;
    if let Some((first, tail)) = rest.split_first_chunk::<16>() {
        let mut lanes = *first;
        let (chunks, left) = tail.as_chunks::<16>();
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane = f(*lane, x));
        }
        total = lanes.iter().fold(total, |t, &x| f(t, x));
        rest = left;
    }
    rest.iter().fold(total, |t, &x| f(t, x))
}

/// Combines `rows` element by element into `result`.
fn fold_columns(rows: &[f32], result: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    let (first, rest) = rows.split_at(result.len());
    result.copy_from_slice(first);
    for row in rest.chunks_exact(result.len()) {
        result.iter_mut().zip(row).for_each(|(total, &x)| *total = f(*total, x));
    }
}

impl Op for ArgMax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        reduced_shape(self.name(), inputs[0], &self.axes, self.keep_dims).map(Meta::i32)
    }

    fn gradient(&self, _graph: &mut Graph, _at: &Backward<'_>, _of: usize) -> Result<Option<Value>> {
        Ok(None)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let extents = Extents::of(&inputs[0].shape, &self.axes);
        Array::from_fn(&output.shape, |i| {
            let at = |r: usize| inputs[0].data[extents.start(i) + r * extents.inner];
            (1..extents.reduced).fold(0, |best, r| if at(r) > at(best) { r } else { best }) as f64
        })
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let extents = Extents::of(&inputs[0].meta.shape, &self.axes);
        let input = inputs[0].f32();
        let at_once = TASK.div_ceil(extents.reduced);
        output.i32().par_iter_mut().with_min_len(at_once).enumerate().for_each(|(i, position)| {
            let column = input[extents.start(i)..].iter().step_by(extents.inner).take(extents.reduced);
            let first = (0, f32::NEG_INFINITY);
            let (best, _) = column.enumerate().fold(first, |best, (r, &x)| if x > best.1 { (r, x) } else { best });
            *position = best as i32;
        });
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let Extents { outer, reduced, inner } = Extents::of(&inputs[0].shape, &self.axes);
        let launch = Launch::new("argmax.wgsl", include_str!("../../shaders/argmax.wgsl"))
            .constants([("INNER", inner)])
            .params([outer, reduced])
            .bindings([Binding::Input(0), Binding::Output])
            .threads(output.elements(), 64);
        vec![Kernel::single("registers", launch)]
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Exact
    }
}

/// The sum over `axes`; with `keep_dims` they stay, with extent 1. Over no axes: `x`.
///
/// ```
/// use ocellus::{graph::Graph, ops, tensor::Meta};
/// let mut graph = Graph::new();
/// let x = graph.input("x", Meta::f32([8, 5, 5, 3]));
/// let channels = ops::sum(&mut graph, x, &[0, 1, 2], false)?;
/// assert_eq!(graph.shape(channels).dims(), [3]);
/// # Ok::<(), ocellus::Error>(())
/// ```
///
/// Errors: if an axis does not exist or is listed twice, or if `x` is empty or not f32.
pub fn sum(graph: &mut Graph, x: Value, axes: &[usize], keep_dims: bool) -> Result<Value> {
    reduce(graph, Reduction::Sum, x, axes, keep_dims)
}

/// The mean over `axes`. Otherwise like [`sum`].
pub fn mean(graph: &mut Graph, x: Value, axes: &[usize], keep_dims: bool) -> Result<Value> {
    reduce(graph, Reduction::Mean, x, axes, keep_dims)
}

/// The largest element over `axes`; its gradient goes to the first of equal ones. Otherwise like [`sum`].
pub fn max_over(graph: &mut Graph, x: Value, axes: &[usize], keep_dims: bool) -> Result<Value> {
    reduce(graph, Reduction::Max, x, axes, keep_dims)
}

/// Where along `axis` the largest element stands, the first of equal ones; i32, without that axis.
///
/// Errors: if the axis does not exist, or if `x` is empty or not f32.
pub fn argmax(graph: &mut Graph, x: Value, axis: usize) -> Result<Value> {
    graph.apply(ArgMax { axes: axis..axis + 1, keep_dims: false }, &[x])
}

/// Sums `x` over the axes along which a tensor of `shape` was stretched to broadcast to it: the gradient of broadcasting.
///
/// Errors: if `shape` does not broadcast to the shape of `x`.
pub fn sum_to(graph: &mut Graph, x: Value, shape: &Shape) -> Result<Value> {
    let from = graph.shape(x).clone();
    if shape.broadcast(&from).as_ref() != Some(&from) {
        return Err(Error::shape("sum_to", format!("shape {shape} does not broadcast to {from}")));
    }
    let missing = from.rank() - shape.rank();
    let stretched = |axis: usize| axis >= missing && shape.dims()[axis - missing] < from.dims()[axis];
    let inside: Vec<usize> = (missing..from.rank()).filter(|&axis| stretched(axis)).collect();
    let axes: Vec<usize> = (0..missing).chain(inside.iter().copied()).collect();
    let total = sum(graph, x, &axes, !inside.is_empty())?;
    super::reshape(graph, total, shape.clone())
}

/// Reduces each run of neighbouring axes, the innermost first, so that ties go to the first element in row-major order.
fn reduce(graph: &mut Graph, reduction: Reduction, x: Value, axes: &[usize], keep_dims: bool) -> Result<Value> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if sorted.windows(2).any(|w| w[0] == w[1]) {
        return Err(Error::shape("reduce", format!("axes {axes:?} name an axis twice")));
    }
    let runs = sorted.chunk_by(|a, b| a + 1 == *b).rev();
    let runs: Vec<Range<usize>> = runs.map(|run| run[0]..run[run.len() - 1] + 1).collect();
    runs.into_iter().try_fold(x, |x, axes| graph.apply(Reduce { reduction, axes, keep_dims }, &[x]))
}

pub(super) fn samples() -> Vec<Sample> {
    let cases: [(&[usize], Range<usize>, bool); 12] = [
        (&[2, 3, 5, 4], 0..3, false),
        (&[3, 7, 5, 3], 0..3, true),
        (&[9, 13], 1..2, false),
        (&[9, 12], 1..2, true),
        (&[33], 0..1, false),
        (&[1, 64], 0..2, false),
        (&[2, 3, 4, 5], 1..3, false),
        (&[2, 5, 3, 8], 1..3, true),
        (&[1, 1, 6], 1..2, false),
        (&[4, 35, 33], 1..2, false),
        (&[2, 300], 1..2, false),
        (&[257, 2], 0..1, true),
    ];
    let mut samples = Vec::new();
    for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Max] {
        for (shape, axes, keep_dims) in cases.clone() {
            let op = Reduce { reduction, axes, keep_dims };
            samples.push(Sample::of(op, [Given::distinct(shape)]));
        }
        // Long enough for two stages.
        let long: [(&[usize], Range<usize>); 5] =
            [(&[20_011], 0..1), (&[40_000], 0..1), (&[3000, 8], 0..1), (&[2001, 3], 0..1), (&[2, 4099, 5], 1..2)];
        for (shape, axes) in long {
            let op = Reduce { reduction, axes, keep_dims: false };
            samples.push(Sample::of(op, [Given::uniform(shape, -1.0, 1.0)]).forward_only());
        }
    }
    // More than 65 535 workgroups.
    let wide = Reduce { reduction: Reduction::Sum, axes: 1..2, keep_dims: false };
    samples.push(Sample::of(wide, [Given::uniform(&[70_001, 2], -1.0, 1.0)]).forward_only());
    for (shape, axes, keep_dims) in cases {
        // Few different values: many ties.
        let n: usize = shape.iter().product();
        let ties = Given::fixed(shape, (0..n).map(|i| (i * 7 % 5) as f64));
        samples.push(Sample::of(ArgMax { axes, keep_dims }, [ties]).forward_only());
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::evaluate;

    fn run(shape: &[usize], values: &[f64], f: impl FnOnce(&mut Graph, Value) -> Result<Value>) -> Array {
        evaluate(&[(shape, values)], |graph, inputs| f(graph, inputs[0]))
    }

    #[test]
    fn axes_apart_from_each_other() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let sums = run(&[2, 3, 2], &values, |g, x| sum(g, x, &[2, 0], false));
        assert_eq!((sums.shape.dims(), sums.data.as_slice()), (&[3][..], &[14.0, 22.0, 30.0][..]));
        let means = run(&[2, 3, 2], &values, |g, x| mean(g, x, &[0, 2], true));
        assert_eq!((means.shape.dims(), means.data.as_slice()), (&[1, 3, 1][..], &[3.5, 5.5, 7.5][..]));
    }

    #[test]
    fn sum_to_undoes_broadcasting() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let to = |shape: &[usize]| run(&[2, 3, 2], &values, |g, x| sum_to(g, x, &shape.into()));
        assert_eq!(to(&[]).data, [66.0]);
        assert_eq!(to(&[2]).data, [30.0, 36.0]);
        assert_eq!(to(&[3, 1]).data, [14.0, 22.0, 30.0]);
        assert_eq!(to(&[3, 1]).shape.dims(), [3, 1]);
        assert_eq!(to(&[2, 1, 1]).data, [15.0, 51.0]);
        assert_eq!(to(&[2, 3, 2]).data, values);
    }

    #[test]
    fn gradient_of_equal_maxima_goes_to_the_first() {
        let gradient = run(&[2, 2, 2], &[1.0, 5.0, 5.0, 0.0, 5.0, 2.0, 3.0, 5.0], |g, x| {
            let largest = max_over(g, x, &[0, 2], false)?;
            let loss = sum(g, largest, &[0], false)?;
            Ok(g.differentiate(loss, &[x])?[0])
        });
        assert_eq!(gradient.data, [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn wrong_axes_are_errors() {
        let mut graph = Graph::new();
        let x = graph.input("x", Meta::f32([2, 3]));
        let ids = graph.input("ids", Meta::i32([2]));
        assert!(sum(&mut graph, x, &[2], false).is_err());
        assert!(sum(&mut graph, x, &[1, 1], false).is_err());
        assert!(argmax(&mut graph, x, 2).is_err());
        assert!(sum(&mut graph, ids, &[0], false).is_err());
        assert!(sum_to(&mut graph, x, &[4].into()).is_err());
    }
}
