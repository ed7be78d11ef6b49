//! What ops along the last axis share: softmax, cross-entropy. They see their tensors as a matrix `[rows, length]`.

use crate::error::{Error, Result};
use crate::graph::{Capabilities, Kernel, Launch, exp};
use crate::tensor::{DType, Meta};

/// Elements that make a task of the CPU worth its overhead.
const TASK: usize = 4 << 10;

/// Number of rows and their length.
///
/// Errors: if the tensor has no axes, no elements, or is not f32.
pub(super) fn extents(at: &str, input: &Meta) -> Result<(usize, usize)> {
    if input.dtype != DType::F32 || input.dims().is_empty() || input.elements() == 0 {
        return Err(Error::shape(at, format!("takes floats along a last axis, not {input}")));
    }
    Ok((input.elements() / input.shape.last(), input.shape.last()))
}

/// Rows of `length` that make a task.
pub(super) fn per_task(length: usize) -> usize {
    TASK.div_ceil(length)
}

/// The kernels of a shader in which LANES invocations share a row, ROWS rows are one workgroup, and `row_sum` and
/// `row_max` combine the lanes: one with an invocation per row, one with a tree in workgroup memory. `launch` is complete
/// but for these and the grid.
pub(super) fn kernels(rows: usize, length: usize, capabilities: &Capabilities, launch: &Launch) -> Vec<Kernel> {
    let kernel = |variant: &str, snippet: &str, lanes: usize| {
        let per_group = 64 / lanes;
        let launch = launch.clone().prepend(snippet).constants([("LANES", lanes), ("ROWS", per_group)]);
        Kernel::single(variant, launch.threads(rows, per_group))
    };
    let alone = kernel("registers", include_str!("../../shaders/common/row_alone.wgsl"), 1);
    let lanes = length.next_power_of_two().clamp(2, 64);
    let tree = kernel("tree", include_str!("../../shaders/common/row_tree.wgsl"), lanes);
    if capabilities.software || length < 32 { vec![alone, tree] } else { vec![tree, alone] }
}

/// `sum(exp(row - shift))`, in lanes that the compiler can put into vector registers.
pub(super) fn sum_exp(row: &[f32], shift: f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<16>();
    let mut lanes = [0.0_f32; 16];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane += exp(x - shift));
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&x| exp(x - shift)).sum::<f32>()
}
