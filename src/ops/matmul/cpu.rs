//! Products on the CPU. Those with one short extent, as the layers of small batches have, read their long matrix once,
//! where it stands; the others go to the `gemm` crate, which packs its operands.

use rayon::prelude::*;

use super::{Epilogue, Extents, MatMul};
use crate::simd::{Product, with_buffer};

/// The longest short extent.
const SHORT: usize = 96;
/// Terms that are summed in one go: rows of `b` that stay in the first-level cache while rows of `a` take turns.
const TERMS: usize = 128;
/// Partial sums, each of at least so many terms. Their number depends on the shapes alone.
const MOST_PARTS: usize = 16;
const PART_TERMS: usize = 4 * TERMS;
/// Rows of the result, or columns, which a task makes.
const TASK: usize = 192;
/// Floats of a cache line.
const LINE: usize = 16;

/// The ways to a product.
enum Scheme {
    /// Few rows of `a` meet all of `b`, whose rows are shared out: partial sums.
    FewRows,
    /// Few terms: rows of the result are shared out.
    FewTerms,
    /// Few rows of `a` meet a transposed `b`: columns of the result are shared out, and computed as rows.
    FewRowsTransposed,
    General,
}

impl Scheme {
    fn of(op: &MatMul, extents: Extents) -> Self {
        let Extents { batch, m, n: _, k } = extents;
        match (batch, op.transpose_b) {
            (1, false) if k <= SHORT => Self::FewTerms,
            (1, false) if m <= SHORT => Self::FewRows,
            (1, true) if m <= SHORT => Self::FewRowsTransposed,
            _ => Self::General,
        }
    }
}

/// Terms of each partial sum but the last.
fn part_terms(k: usize) -> usize {
    // As even as lines of the cache allow: no core waits for another's longer part.
    k.div_ceil(MOST_PARTS).max(PART_TERMS).next_multiple_of(LINE)
}

pub(super) fn scratch(op: &MatMul, extents: Extents) -> usize {
    let Extents { m, n, k, .. } = extents;
    match Scheme::of(op, extents) {
        Scheme::FewRows => k.div_ceil(part_terms(k)) * m * n,
        Scheme::FewRowsTransposed => m * k,
        Scheme::FewTerms | Scheme::General => 0,
    }
}

pub(super) fn matmul(
    op: &MatMul,
    extents: Extents,
    a: &[f32],
    b: &[f32],
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) {
    match Scheme::of(op, extents) {
        Scheme::FewRows => few_rows(op, extents, a, b, output, epilogue, scratch),
        Scheme::FewTerms => few_terms(op, extents, a, b, output, epilogue),
        Scheme::FewRowsTransposed => few_rows_transposed(op, extents, a, b, output, epilogue, scratch),
        Scheme::General => general(op, extents, a, b, output, epilogue),
    }
}

/// Where row `i` of `a` starts, and how far its elements are apart.
fn row_steps(op: &MatMul, Extents { m, k, .. }: Extents) -> [usize; 2] {
    if op.transpose_a { [1, m] } else { [k, 1] }
}

fn few_rows(
    op: &MatMul,
    extents: Extents,
    a: &[f32],
    b: &[f32],
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) {
    let Extents { m, n, k, .. } = extents;
    let [down, step] = row_steps(op, extents);
    let rows: Vec<usize> = (0..m).map(|i| i * down).collect();
    let share = part_terms(k);
    let block = share.div_ceil(share.div_ceil(TERMS));
    scratch.par_chunks_exact_mut(m * n).enumerate().for_each(|(part, sums)| {
        let end = ((part + 1) * share).min(k);
        for first in (part * share..end).step_by(block) {
            let terms = block.min(end - first);
            Product {
                a: &a[first * step..],
                rows: &rows,
                segments: &[(0, terms)],
                step,
                b: &b[first * n..][..terms * n],
                b_step: n,
                columns: n,
                accumulate: first > part * share,
            }
            .write(sums, n);
        }
    });
    let (first, others) = scratch.split_at(m * n);
    output.copy_from_slice(first);
    for part in others.chunks_exact(m * n) {
        output.iter_mut().zip(part).for_each(|(o, p)| *o += p);
    }
    epilogue.apply(0, output);
}

fn few_terms(op: &MatMul, extents: Extents, a: &[f32], b: &[f32], output: &mut [f32], epilogue: &Epilogue<'_>) {
    let Extents { m, n, k, .. } = extents;
    let [down, step] = row_steps(op, extents);
    let rows: Vec<usize> = (0..TASK.min(m)).map(|i| i * down).collect();
    output.par_chunks_mut(TASK * n).enumerate().for_each(|(task, result)| {
        Product {
            a: &a[task * TASK * down..],
            rows: &rows[..result.len() / n],
            segments: &[(0, k)],
            step,
            b,
            b_step: n,
            columns: n,
            accumulate: false,
        }
        .write(result, n);
        epilogue.apply(task * TASK * n, result);
    });
}

fn few_rows_transposed(
    op: &MatMul,
    extents: Extents,
    a: &[f32],
    b: &[f32],
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
    scratch: &mut [f32],
) {
    let Extents { m, n, k, .. } = extents;
    if op.transpose_a {
        scratch.copy_from_slice(a);
    } else {
        for (l, row) in scratch.chunks_exact_mut(m).enumerate() {
            row.iter_mut().enumerate().for_each(|(i, x)| *x = a[i * k + l]);
        }
    }
    let transposed = &*scratch;
    // For each task, its part of each row of the result.
    let mut tasks: Vec<Vec<&mut [f32]>> = (0..n.div_ceil(TASK)).map(|_| Vec::with_capacity(m)).collect();
    for row in output.chunks_exact_mut(n) {
        row.chunks_mut(TASK).zip(&mut tasks).for_each(|(part, task)| task.push(part));
    }
    let rows: Vec<usize> = (0..TASK.min(n)).map(|j| j * k).collect();
    tasks.into_par_iter().enumerate().for_each(|(task, mut parts)| {
        let columns = parts[0].len();
        with_buffer(columns * (m + k), |buffer| {
            // Read in order first: one product would wait for memory in each of its rows.
            let (result, part) = buffer.split_at_mut(columns * m);
            part.copy_from_slice(&b[task * TASK * k..][..columns * k]);
            Product {
                a: part,
                rows: &rows[..columns],
                segments: &[(0, k)],
                step: 1,
                b: transposed,
                b_step: m,
                columns: m,
                accumulate: false,
            }
            .write(result, m);
            // A few columns at a time, which stay in the first-level cache while rows of the result take turns.
            for (block, columns) in result.chunks(LINE * m).enumerate() {
                for (i, part) in parts.iter_mut().enumerate() {
                    let to = part[block * LINE..].iter_mut();
                    to.zip(columns[i..].iter().step_by(m)).for_each(|(to, &x)| *to = x);
                }
            }
            for (i, part) in parts.iter_mut().enumerate() {
                epilogue.apply(i * n + task * TASK, part);
            }
        });
    });
}

fn general(op: &MatMul, extents: Extents, a: &[f32], b: &[f32], output: &mut [f32], epilogue: &Epilogue<'_>) {
    let Extents { m, n, k, .. } = extents;
    let [a_rows, a_columns] = row_steps(op, extents);
    let [b_rows, b_columns] = if op.transpose_b { [1, k] } else { [n, 1] };
    let matrices = a.chunks(m * k).zip(b.chunks(k * n)).zip(output.chunks_mut(m * n));
    for (batch, ((a, b), c)) in matrices.enumerate() {
        // SAFETY: the three matrices have the extents and strides given.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                a_columns as isize,
                a_rows as isize,
                b.as_ptr(),
                b_columns as isize,
                b_rows as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(0),
            );
        }
        epilogue.apply(batch * m * n, c);
    }
}
