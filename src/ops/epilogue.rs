//! The chain of pointwise functions which a product applies to each element of its result before it is written.
//!
//! Input 0 of the expression is that element; the others are further inputs of the op, after its own: scalars, vectors
//! along the last axis, or tensors of the result's shape.

use rayon::prelude::*;

use super::pointwise::FUNCTIONS;
use crate::error::{Error, Result};
use crate::graph::{BLOCK, Binding, BlockInput, Expression, Launch, Tolerance};
use crate::tensor::{Array, DType, Meta, Shape, View};

/// How the elements of a further input correspond to those of the result.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Scalar,
    /// One for each position along the last axis.
    Column,
    /// One for each element.
    Element,
}

impl Access {
    fn of(input: &Meta, result: &Shape) -> Self {
        match input.elements() {
            1 => Self::Scalar,
            n if n == result.elements() => Self::Element,
            _ => Self::Column,
        }
    }
}

/// Checks that the op `at` has the further inputs which its epilogue takes, and that they fit the result.
pub(super) fn check(at: &str, epilogue: Option<&Expression>, further: &[&Meta], result: &Shape) -> Result<()> {
    let expected = epilogue.map_or(0, |e| e.inputs() - 1);
    if further.len() != expected {
        let message = format!("its epilogue takes {expected} further inputs, {} were given", further.len());
        return Err(Error::shape(at, message));
    }
    let fits = |m: &Meta| {
        m.elements() == 1 || m.shape == *result || (m.elements(), m.shape.last()) == (result.last(), result.last())
    };
    match further.iter().find(|m| m.dtype != DType::F32 || !fits(m)) {
        Some(misfit) => Err(Error::shape(at, format!("an epilogue input {misfit} does not fit the result {result}"))),
        None => Ok(()),
    }
}

/// `result` after the epilogue.
pub(super) fn reference(epilogue: Option<&Expression>, mut result: Array, further: &[&Array]) -> Array {
    let Some(expression) = epilogue else { return result };
    let mut values = vec![0.0; expression.inputs()];
    for (i, x) in result.data.iter_mut().enumerate() {
        values[0] = *x;
        // Scalars and vectors along the last axis repeat.
        values[1..].iter_mut().zip(further).for_each(|(value, array)| *value = array.data[i % array.data.len()]);
        *x = expression.evaluate(&values);
    }
    result
}

/// The tolerance of a product of `terms` terms with this epilogue.
pub(super) fn tolerance(epilogue: Option<&Expression>, terms: usize) -> Tolerance {
    match epilogue {
        Some(expression) if !expression.is_arithmetic() => Tolerance::Transcendental,
        _ => Tolerance::Sum(terms),
    }
}

/// An epilogue with its further inputs, to be applied on the CPU.
pub(super) struct Epilogue<'a> {
    expression: Option<&'a Expression>,
    further: Vec<(&'a [f32], Access)>,
    columns: usize,
}

impl<'a> Epilogue<'a> {
    /// `further` are the op's inputs after its own, `result` is the shape of its result.
    pub fn new(expression: Option<&'a Expression>, further: &[View<'a>], result: &Shape) -> Self {
        let further = further.iter().map(|view| (view.f32(), Access::of(view.meta, result))).collect();
        Self { expression, further, columns: result.last() }
    }

    /// None at all.
    pub fn none() -> Self {
        Self { expression: None, further: Vec::new(), columns: 1 }
    }

    /// Applies it to a whole result.
    pub fn apply_to_all(&self, result: &mut [f32]) {
        // Long enough that a task is worth its overhead, short enough that it stays in cache.
        let task = 16 * BLOCK;
        if self.expression.is_some() {
            result.par_chunks_mut(task).enumerate().for_each(|(i, part)| self.apply(i * task, part));
        }
    }

    /// Applies it to `elements`, which stand in the result from position `start` on, while they are in the cache.
    pub fn apply(&self, start: usize, elements: &mut [f32]) {
        let Some(expression) = self.expression else { return };
        let mut registers = vec![0.0; expression.registers()];
        let mut raw = [0.0; BLOCK];
        // Blocks never cross the end of a row unless they hold whole rows, so that columns are read as one piece.
        let mut columns: Vec<Vec<f32>> = self.further.iter().map(|_| Vec::new()).collect();
        let repeat = (BLOCK / self.columns).max(1);
        for ((values, access), row) in self.further.iter().zip(&mut columns) {
            if *access == Access::Column && self.columns < BLOCK {
                *row = values.repeat(repeat + 1);
            }
        }
        let block = if self.columns < BLOCK { repeat * self.columns } else { BLOCK };
        let mut done = 0;
        while done < elements.len() {
            let at = start + done;
            let column = at % self.columns;
            let left = elements.len() - done;
            let n = if self.columns < BLOCK { block.min(left) } else { block.min(left).min(self.columns - column) };
            let output = &mut elements[done..done + n];
            raw[..n].copy_from_slice(output);
            let further = self.further.iter().zip(&columns).map(|((values, access), repeated)| match access {
                Access::Scalar => BlockInput::Scalar(values[0]),
                Access::Element => BlockInput::Row(&values[at..at + n]),
                Access::Column if repeated.is_empty() => BlockInput::Row(&values[column..column + n]),
                Access::Column => BlockInput::Row(&repeated[column..column + n]),
            });
            let inputs: Vec<BlockInput<'_>> = [BlockInput::Row(&raw[..n])].into_iter().chain(further).collect();
            expression.evaluate_block(&inputs, output, &mut registers);
            done += n;
        }
    }
}

/// Adds to a launch the function `fn epilogue(value: V, element: u32, column: u32) -> V` and the bindings it reads.
///
/// The launch has its own bindings already, the result last; those of the epilogue follow. `V` is `f32` for `width` 1 and
/// `vec4f` for `width` 4, and is defined here; `element` is the position in the whole result, `column` that along its last
/// axis, both counted in `V`s. With `width` 4 the last axis must be a multiple of 4. `own` is the number of the op's own
/// inputs; `inputs` are all its inputs.
pub(super) fn attach(
    launch: Launch,
    epilogue: Option<&Expression>,
    inputs: &[&Meta],
    own: usize,
    result: &Shape,
    width: usize,
) -> Launch {
    let vector = if width == 4 { "vec4f" } else { "f32" };
    let mut text = format!("alias V = {vector};\n\n");
    let mut bindings = launch.bindings.clone();
    let mut loads = String::new();
    for (i, meta) in inputs.iter().enumerate().skip(own) {
        let x = i - own + 1;
        let (element, index) = match Access::of(meta, result) {
            Access::Scalar => ("f32", "0"),
            Access::Column => ("V", "column"),
            Access::Element => ("V", "element"),
        };
        bindings.push(Binding::Input(i));
        text += &format!("@group(0) @binding({}) var<storage, read> further{x}: array<{element}>;\n", bindings.len());
        loads += &format!("    let x{x} = V(further{x}[{index}]);\n");
    }
    let body = match epilogue {
        None => "    return value;\n".to_owned(),
        Some(expression) => format!("    let x0 = value;\n{loads}{}    return result;\n", expression.wgsl()),
    };
    text += &format!("\nfn epilogue(value: V, element: u32, column: u32) -> V {{\n{body}}}\n\n");
    let launch = launch.prepend(&text);
    let launch = if epilogue.is_some() { launch.prepend(FUNCTIONS) } else { launch };
    launch.bindings(bindings)
}
