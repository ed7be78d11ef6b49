//! Pointwise functions with broadcasting: `output[i] = f(a[i], b[i], …)`.
//!
//! One op serves them all: it holds an [`Expression`], from which the WGSL text is generated and which the CPU evaluates
//! row by row. Fusion makes longer expressions out of short ones. i32 inputs are read as floats (exact below 2^24).

use std::sync::Arc;

use rayon::prelude::*;

use super::sample::{Given, Sample};
use crate::error::{Error, Result};
use crate::graph::{
    BLOCK, Backward, Binding, BlockInput, Capabilities, Expression, Function, Graph, Kernel, Launch, Op, Term,
    Tolerance, Value,
};
use crate::tensor::{Array, DType, Meta, Shape, View, ViewMut};

/// The snippet of scalar functions.
pub(super) const FUNCTIONS: &str = include_str!("../../shaders/common/functions.wgsl");

/// Invocations per workgroup.
const WORKGROUP: usize = 64;

/// A pointwise op. Inputs, f32 or i32, broadcast to `shape` by numpy's rule.
#[derive(Clone, Debug)]
pub struct Pointwise {
    expression: Expression,
    shape: Shape,
    pieces: Vec<Option<Piece>>,
}

/// The part of an input that is read: a tensor of `shape` from element `offset` on.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Its first element.
    pub offset: usize,
    /// Its extents.
    pub shape: Shape,
}

impl Pointwise {
    /// `expression` at each element of `shape`.
    pub fn new(expression: Expression, shape: Shape) -> Self {
        Self { expression, shape, pieces: Vec::new() }
    }

    /// The same, reading only a piece of some inputs.
    pub fn of_pieces(self, pieces: Vec<Option<Piece>>) -> Self {
        Self { pieces, ..self }
    }

    fn piece(&self, input: usize) -> Option<&Piece> {
        self.pieces.get(input)?.as_ref()
    }

    /// What is read of each input.
    fn read(&self, inputs: &[&Meta]) -> Vec<Meta> {
        let of = |(i, meta): (usize, &&Meta)| match self.piece(i) {
            Some(piece) => Meta::new(piece.shape.clone(), meta.dtype),
            None => (*meta).clone(),
        };
        inputs.iter().enumerate().map(of).collect()
    }

    /// From which element on.
    fn offset(&self, input: usize) -> usize {
        self.piece(input).map_or(0, |piece| piece.offset)
    }

    /// The same values.
    pub fn identity(shape: Shape) -> Self {
        Self::new(Expression::of(Function::Identity), shape)
    }
}

/// How the elements of an input correspond to those of the result.
enum Access {
    Same,
    Scalar,
    /// A vector along the last axis or axes, repeated.
    Suffix(usize),
    /// Strides per axis of the result.
    Strided(Vec<usize>),
}

impl Access {
    fn of(input: &Shape, result: &Shape) -> Self {
        let n = input.elements();
        let dims = input.dims();
        let core: &[usize] = &dims[dims.iter().take_while(|&&d| d == 1).count()..];
        if input.elements() == result.elements() {
            Self::Same
        } else if n == 1 {
            Self::Scalar
        } else if result.dims().ends_with(core) {
            Self::Suffix(n)
        } else {
            Self::Strided(input.broadcast_strides(result))
        }
    }
}

impl Op for Pointwise {
    fn name(&self) -> &'static str {
        "pointwise"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        for (i, (input, whole)) in self.read(inputs).iter().zip(inputs).enumerate() {
            if self.offset(i) + input.elements() > whole.elements() {
                return Err(Error::shape("pointwise", format!("{whole} has no such piece as {:?}", self.piece(i))));
            }
            if input.dtype == DType::U8 {
                return Err(Error::shape("pointwise", "bytes must be converted to floats first"));
            }
            if input.shape.broadcast(&self.shape).as_ref() != Some(&self.shape) {
                let message = format!("an input of shape {} does not broadcast to {}", input.shape, self.shape);
                return Err(Error::shape("pointwise", message));
            }
        }
        Ok(Meta::f32(self.shape.clone()))
    }

    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        if graph.meta(at.inputs[of]).dtype != DType::F32 {
            return Ok(None);
        }
        let [step] = self.expression.steps() else {
            return Err(Error::shape("pointwise", "a chain is differentiated before it is fused"));
        };
        let n = at.inputs.len();
        // The derivative is an expression of the inputs, the result and its gradient. Those it does not use drop out.
        let arguments: Vec<Term> = step.arguments.iter().map(|a| Term::from(*a)).collect();
        let mut sum: Option<Term> = None;
        for (position, argument) in step.arguments.iter().enumerate() {
            if *argument == crate::graph::Operand::Input(of) {
                let part = step.function.derivative(position, &arguments, Term::Input(n), Term::Input(n + 1));
                sum = match (sum, part) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                };
            }
        }
        let Some(derivative) = sum else { return Ok(None) };
        let candidates: Vec<Value> = at.inputs.iter().copied().chain([at.output, at.grad]).collect();
        let (expression, used) = Expression::of_used(&derivative, candidates.len());
        let inputs: Vec<Value> = used.into_iter().map(|i| candidates[i]).collect();
        let full = match *inputs {
            [x] if expression == Expression::of(Function::Identity) && *graph.shape(x) == self.shape => x,
            _ => graph.apply(Self::new(expression, self.shape.clone()), &inputs)?,
        };
        let target = graph.shape(at.inputs[of]).clone();
        super::sum_to(graph, full, &target).map(Some)
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        let read = |(i, a): (usize, &&Array)| self.piece(i).map_or(&a.shape, |piece| &piece.shape).clone();
        let strides: Vec<Vec<usize>> =
            inputs.iter().enumerate().map(|input| read(input).broadcast_strides(&output.shape)).collect();
        let mut result = Array::zeros(&output.shape);
        for (i, index) in super::grid::indices(&output.shape).enumerate() {
            let at = |s: &Vec<usize>| index.iter().zip(s).map(|(i, s)| i * s).sum::<usize>();
            let values: Vec<f64> =
                inputs.iter().zip(&strides).enumerate().map(|(i, (a, s))| a.data[self.offset(i) + at(s)]).collect();
            result.data[i] = self.expression.evaluate(&values);
        }
        result
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let read = self.read(&inputs.iter().map(|v| v.meta).collect::<Vec<_>>());
        let readers: Vec<Reader<'_>> = (inputs.iter().zip(&read).enumerate())
            .map(|(i, (view, meta))| {
                let start = self.offset(i) * meta.dtype.size();
                Reader::new(&View::new(meta, &view.bytes()[start..][..meta.bytes()]), &self.shape)
            })
            .collect();
        // Long enough that a task is worth its overhead, short enough that it stays in cache.
        let task = 16 * BLOCK;
        output.f32().par_chunks_mut(task).enumerate().for_each_init(
            || (vec![0.0; self.expression.registers()], vec![0.0; readers.len() * BLOCK]),
            |(registers, rows), (i, chunk)| {
                for (j, block) in chunk.chunks_mut(BLOCK).enumerate() {
                    let start = i * task + j * BLOCK;
                    let n = block.len();
                    let parts: Vec<BlockInput<'_>> = readers
                        .iter()
                        .zip(rows.chunks_mut(BLOCK))
                        .map(|(r, row)| r.block(start, &mut row[..n]))
                        .collect();
                    self.expression.evaluate_block(&parts, block, registers);
                }
            },
        );
    }

    fn kernels(&self, inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let accesses: Vec<Access> = self.read(inputs).iter().map(|meta| Access::of(&meta.shape, &self.shape)).collect();
        let aligned = (0..inputs.len()).all(|i| self.offset(i).is_multiple_of(4));
        let whole = accesses.iter().all(|a| matches!(a, Access::Same | Access::Scalar));
        let mut kernels = Vec::new();
        if aligned && (whole || self.shape.last().is_multiple_of(4)) {
            kernels.push(Kernel::single("vec4", self.launch(inputs, &accesses, output, 4)));
        }
        kernels.push(Kernel::single("scalar", self.launch(inputs, &accesses, output, 1)));
        kernels
    }

    fn expression(&self) -> Option<&Expression> {
        Some(&self.expression)
    }

    fn magnitude(&self) -> Option<Arc<dyn Op>> {
        Some(Arc::new(Self { expression: self.expression.magnitude(), ..self.clone() }))
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        match self.expression.steps() {
            [_] if self.expression.is_arithmetic() => Tolerance::Arithmetic,
            _ => Tolerance::Transcendental,
        }
    }
}

impl Pointwise {
    /// The kernel in which each invocation computes `width` consecutive elements.
    fn launch(&self, inputs: &[&Meta], accesses: &[Access], output: &Meta, width: usize) -> Launch {
        let vector = if width == 4 { "vec4f" } else { "f32" };
        let mut text = format!("alias V = {vector};\n\nstruct Params {{ n: u32 }}\n");
        text += "@group(0) @binding(0) var<uniform> p: Params;\n";
        let mut loads = String::new();
        for (i, (meta, access)) in inputs.iter().zip(accesses).enumerate() {
            let (element, load) = load(i, meta.dtype, access, self.offset(i), &self.shape, width);
            text += &format!("@group(0) @binding({}) var<storage, read> in{i}: array<{element}>;\n", i + 1);
            loads += &load;
        }
        text += &format!("@group(0) @binding({}) var<storage, read_write> output: array<V>;\n\n", inputs.len() + 1);
        text += &format!(
            "@compute @workgroup_size({WORKGROUP})\n\
             fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {{\n    \
                 let i = id.x + id.y * groups.x * {WORKGROUP}u;\n    \
                 if (i >= p.n) {{\n        return;\n    }}\n\
             {loads}{}    output[i] = result;\n}}\n",
            self.expression.wgsl(),
        );
        let threads = output.elements().div_ceil(width);
        Launch::new("pointwise (generated)", &text)
            .prepend(FUNCTIONS)
            .params([threads])
            .bindings((0..inputs.len()).map(Binding::Input).chain([Binding::Output]))
            .threads(threads, WORKGROUP)
    }
}

/// The element type of input `i` and the statements which load `x{i}`.
fn load(i: usize, dtype: DType, access: &Access, offset: usize, shape: &Shape, width: usize) -> (String, String) {
    let scalar = dtype.wgsl();
    let vector = if width == 1 { scalar.to_owned() } else { format!("vec{width}<{scalar}>") };
    let from = |element: &str, width: usize| match offset {
        0 => element.to_owned(),
        _ => format!("{element} + {}u", offset / width),
    };
    match access {
        Access::Same => (vector, format!("    let x{i} = V(in{i}[{}]);\n", from("i", width))),
        Access::Scalar => (scalar.to_owned(), format!("    let x{i} = V(f32(in{i}[{offset}]));\n")),
        Access::Suffix(n) => {
            let element = from(&format!("i % {}u", n / width), width);
            (vector, format!("    let x{i} = V(in{i}[{element}]);\n"))
        }
        Access::Strided(strides) => {
            let steps = shape.strides();
            let mut terms: Vec<String> = Vec::new();
            for (axis, &stride) in strides.iter().enumerate().filter(|(_, s)| **s > 0) {
                // The outermost extent may vary with the batch size; nothing wraps around there.
                let wrap = if axis == 0 { String::new() } else { format!(" % {}u", shape.dims()[axis]) };
                terms.push(format!("e{i} / {}u{wrap} * {stride}u", steps[axis]));
            }
            let index = terms.join(" + ");
            let element = format!("    let e{i} = i * {width}u;\n");
            if width > 1 && strides.last() == Some(&1) {
                let index = from(&format!("({index}) / {width}u"), width);
                (vector, format!("{element}    let x{i} = V(in{i}[{index}]);\n"))
            } else {
                let index = from(&index, 1);
                (scalar.to_owned(), format!("{element}    let x{i} = V(f32(in{i}[{index}]));\n"))
            }
        }
    }
}

/// Reads the elements of an input that belong to a block of the result.
struct Reader<'a> {
    view: View<'a>,
    access: Access,
    shape: &'a Shape,
    /// A short vector again and again: a block from any element of it on.
    repeated: Vec<f32>,
}

impl<'a> Reader<'a> {
    fn new(view: &View<'a>, shape: &'a Shape) -> Self {
        let access = Access::of(&view.meta.shape, shape);
        let repeated = match access {
            Access::Suffix(len) if len <= BLOCK && view.meta.dtype == DType::F32 => {
                view.f32().repeat(BLOCK.div_ceil(len) + 1)
            }
            _ => Vec::new(),
        };
        Self { view: *view, access, shape, repeated }
    }

    fn at(&self, i: usize) -> f32 {
        match self.view.meta.dtype {
            DType::F32 => self.view.f32()[i],
            _ => self.view.i32()[i] as f32,
        }
    }

    /// The elements for the block from `start` on, directly or through `row`.
    fn block<'b>(&'b self, start: usize, row: &'b mut [f32]) -> BlockInput<'b> {
        let n = row.len();
        match &self.access {
            Access::Scalar => return BlockInput::Scalar(self.at(0)),
            Access::Same if self.view.meta.dtype == DType::F32 => {
                return BlockInput::Row(&self.view.f32()[start..start + n]);
            }
            Access::Same => row.iter_mut().enumerate().for_each(|(i, x)| *x = self.at(start + i)),
            Access::Suffix(len) if !self.repeated.is_empty() => {
                return BlockInput::Row(&self.repeated[start % len..][..n]);
            }
            Access::Suffix(len) if self.view.meta.dtype == DType::F32 => repeat(self.view.f32(), start % len, row),
            Access::Suffix(len) => row.iter_mut().enumerate().for_each(|(i, x)| *x = self.at((start + i) % len)),
            Access::Strided(strides) => self.gather(strides, start, row),
        }
        BlockInput::Row(row)
    }

    fn gather(&self, strides: &[usize], start: usize, row: &mut [f32]) {
        let dims = self.shape.dims();
        let steps = self.shape.strides();
        let mut index: Vec<usize> = steps.iter().zip(dims).map(|(s, d)| start / s % d).collect();
        let mut offset: usize = index.iter().zip(strides).map(|(i, s)| i * s).sum();
        for x in row {
            *x = self.at(offset);
            for axis in (0..dims.len()).rev() {
                index[axis] += 1;
                offset += strides[axis];
                if index[axis] < dims[axis] {
                    break;
                }
                offset -= dims[axis] * strides[axis];
                index[axis] = 0;
            }
        }
    }
}

/// Fills `row` with `values` again and again, beginning at `from`.
fn repeat(values: &[f32], mut from: usize, mut row: &mut [f32]) {
    while !row.is_empty() {
        let n = row.len().min(values.len() - from);
        let (now, rest) = row.split_at_mut(n);
        now.copy_from_slice(&values[from..from + n]);
        (row, from) = (rest, 0);
    }
}

/// `expression` of the inputs, which broadcast against each other.
///
/// Errors: if their shapes do not fit.
pub fn pointwise(graph: &mut Graph, expression: Expression, inputs: &[Value]) -> Result<Value> {
    let mut shape = Shape::scalar();
    for &input in inputs {
        shape = shape.broadcast(graph.shape(input)).ok_or_else(|| {
            let shapes: Vec<String> = inputs.iter().map(|&v| graph.shape(v).to_string()).collect();
            Error::shape("broadcast", format!("shapes {} do not fit together", shapes.join(" and ")))
        })?;
    }
    graph.apply(Pointwise::new(expression, shape), inputs)
}

/// `f` of one value.
pub fn unary(graph: &mut Graph, function: Function, x: Value) -> Result<Value> {
    pointwise(graph, Expression::of(function), &[x])
}

/// `f` of two values, which broadcast against each other.
pub fn binary(graph: &mut Graph, function: Function, x: Value, y: Value) -> Result<Value> {
    pointwise(graph, Expression::of(function), &[x, y])
}

/// A function of one tensor and numbers, written with Rust's operators, for instance `|x| x * 2.0 + 1.0`. Each step
/// becomes an op of its own, so that it can be differentiated.
pub fn apply(graph: &mut Graph, x: Value, f: impl FnOnce(Term) -> Term) -> Result<Value> {
    formula(graph, &f(Term::Input(0)), &[x])
}

/// A function of several tensors, which broadcast against each other, and numbers. Each step becomes an op of its own, so that
/// it can be differentiated.
///
/// Errors: if their shapes do not fit.
pub fn formula(graph: &mut Graph, term: &Term, inputs: &[Value]) -> Result<Value> {
    match term {
        Term::Input(i) => Ok(inputs[*i]),
        Term::Constant(c) => Ok(graph.constant(crate::tensor::Tensor::scalar(*c))),
        Term::Call(function, arguments) => {
            let values = arguments.iter().map(|a| formula(graph, a, inputs)).collect::<Result<Vec<_>>>()?;
            pointwise(graph, Expression::of(*function), &values)
        }
    }
}

/// The same values at a place of their own.
pub fn copy(graph: &mut Graph, x: Value) -> Result<Value> {
    unary(graph, Function::Identity, x)
}

macro_rules! unaries {
    ($($(#[$doc:meta])* $name:ident: $function:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(graph: &mut Graph, x: Value) -> Result<Value> {
            unary(graph, Function::$function, x)
        }
    )*};
}

unaries! {
    /// `e^x`.
    exp: Exp;
    /// Natural logarithm.
    log: Log;
    /// Square root.
    sqrt: Sqrt;
    /// `max(x, 0)`; its derivative at 0 is 0.
    relu: Relu;
    /// `min(max(x, 0), 6)`.
    relu6: Relu6;
    /// `1 / (1 + e^-x)`.
    sigmoid: Sigmoid;
    /// Hyperbolic tangent.
    tanh: Tanh;
    /// `x sigmoid(x)`, also called swish (Ramachandran et al. 2017, <https://arxiv.org/abs/1710.05941>).
    silu: Silu;
    /// `x Φ(x)` with the normal distribution's Φ, the exact form (Hendrycks & Gimpel 2016,
    /// <https://arxiv.org/abs/1606.08415>).
    gelu: Gelu;
    /// `log(1 + e^x)`.
    softplus: Softplus;
    /// `x relu6(x + 3) / 6` (Howard et al. 2019, <https://arxiv.org/abs/1905.02244>).
    hard_swish: HardSwish;
}

macro_rules! binaries {
    ($($(#[$doc:meta])* $name:ident: $function:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Errors: if the shapes do not broadcast.
        pub fn $name(graph: &mut Graph, x: Value, y: Value) -> Result<Value> {
            binary(graph, Function::$function, x, y)
        }
    )*};
}

binaries! {
    /// `x + y`.
    add: Add;
    /// `x - y`.
    sub: Sub;
    /// `x * y`.
    mul: Mul;
    /// `x / y`.
    div: Div;
    /// `x^y`; a negative `x` needs whole `y`, and then has no gradient for `y`.
    pow: Pow;
    /// The smaller; the gradient of equal values goes to `x`.
    min: Min;
    /// The larger; the gradient of equal values goes to `x`.
    max: Max;
}

/// `x` where positive, else `slope * x`.
pub fn leaky_relu(graph: &mut Graph, x: Value, slope: f32) -> Result<Value> {
    apply(graph, x, |x| x.with(Function::LeakyRelu, slope))
}

/// `x` where positive, else `alpha (e^x - 1)` (Clevert et al. 2015, <https://arxiv.org/abs/1511.07289>).
pub fn elu(graph: &mut Graph, x: Value, alpha: f32) -> Result<Value> {
    apply(graph, x, |x| x.with(Function::Elu, alpha))
}

/// Every function on a plain shape, and one function on every kind of broadcast.
pub(super) fn samples() -> Vec<Sample> {
    let mut samples: Vec<Sample> = Function::ALL.into_iter().flat_map(function_samples).collect();
    let pairs: [(&[usize], &[usize]); 9] = [
        (&[2, 3, 5, 4], &[4]),
        (&[2, 3, 5, 7], &[7]),
        (&[2, 3, 5, 8], &[]),
        (&[2, 3, 5, 8], &[2, 1, 1, 8]),
        (&[2, 3, 5, 8], &[2, 3, 5, 1]),
        (&[2, 3, 5, 3], &[3, 1, 3]),
        (&[1, 4], &[3, 1]),
        (&[5, 1, 6], &[1, 3, 6]),
        (&[1], &[1]),
    ];
    for (a, b) in pairs {
        let shape = Shape::from(a).broadcast(&Shape::from(b)).expect("the samples broadcast");
        samples.push(Sample::new(Pointwise::new(Expression::of(Function::Mul), shape), [a, b]));
    }
    let big = Shape::from([70, 65_537]);
    samples.push(Sample::new(Pointwise::new(Expression::of(Function::Add), big), [&[70, 65_537], &[]]).forward_only());
    let chain = Expression::new(|[x, scale, shift]| (x * scale + shift).call(Function::Relu).call(Function::Tanh));
    samples.push(Sample::new(Pointwise::new(chain, [2, 9, 12].into()), [&[2, 9, 12], &[12], &[12]]).forward_only());
    // Pieces of inputs: aligned for vectors and not, along the last axis, of the whole shape, one number, strided.
    let sum = || Expression::new(|[x, y]: [Term; 2]| x + y);
    let piece = |offset: usize, shape: &[usize]| Some(Piece { offset, shape: shape.into() });
    for (offset, from, shape) in [
        (8, &[3, 8][..], &[8][..]),
        (3, &[2, 12], &[12]),
        (2, &[8], &[]),
        (4, &[100], &[2, 1, 8]),
        (5, &[7, 20], &[2, 3, 8]),
        (7, &[9], &[2, 1, 1]),
    ] {
        let whole = Shape::from(shape).broadcast(&[2, 3, if shape == [12] { 12 } else { 8 }].into());
        let whole = whole.expect("the samples broadcast");
        let op = Pointwise::new(sum(), whole.clone()).of_pieces(vec![None, piece(offset, shape)]);
        samples.push(Sample::new(op, [whole.dims(), from]).forward_only());
    }
    let integers = Pointwise::new(Expression::of(Function::Equal), [6].into());
    samples.push(Sample::of(integers, [Given::ids(&[6], 3), Given::ids(&[6], 3)]).forward_only());
    samples
}

fn function_samples(function: Function) -> Vec<Sample> {
    use Function as F;
    let given = |shape: &[usize]| match function {
        F::Log | F::Sqrt | F::Rsqrt => vec![Given::uniform(shape, 0.1, 3.0)],
        F::Pow => vec![Given::uniform(shape, 0.1, 3.0), Given::uniform(shape, -2.0, 2.0)],
        F::Div => vec![Given::uniform(shape, -2.0, 2.0), Given::away(shape, -2.0, 2.0, &[0.0, -0.05, 0.05])],
        F::Min | F::Max => vec![Given::uniform(shape, -1.0, 0.0), Given::uniform(shape, 0.1, 1.0)],
        F::Select => {
            let n: usize = shape.iter().product();
            let condition = Given::fixed(shape, (0..n).map(|i| f64::from(u8::from(i % 3 == 0))));
            vec![condition, Given::uniform(shape, -1.0, 1.0), Given::uniform(shape, -1.0, 1.0)]
        }
        F::Equal | F::Less => vec![Given::ids(shape, 3), Given::ids(shape, 3)],
        _ => vec![Given::away(shape, -8.0, 8.0, &[0.0, -3.0, 3.0, 6.0]); function.arity()],
    };
    let differentiable = !matches!(function, F::Equal | F::Less | F::Sign | F::Floor | F::Round | F::Select);
    [&[3_usize, 5][..], &[2, 4]]
        .map(|shape| {
            let op = Pointwise::new(Expression::of(function), shape.into());
            Sample { differentiable, ..Sample::of(op, given(shape)) }
        })
        .into()
}
