use super::{Extents, MatMul};
use crate::graph::{Binding, Capabilities, Kernel, Launch};
use crate::ops::epilogue;
use crate::tensor::Meta;

/// Every kernel that computes the product, the one to prefer first.
pub(super) fn matmul(
    op: &MatMul,
    extents: Extents,
    inputs: &[&Meta],
    output: &Meta,
    _capabilities: &Capabilities,
) -> Vec<Kernel> {
    vec![Kernel::single("naive", naive(op, extents, inputs, output))]
}

/// One invocation per element.
fn naive(op: &MatMul, extents: Extents, inputs: &[&Meta], output: &Meta) -> Launch {
    let Extents { m, n, k, .. } = extents;
    let launch = Launch::new("matmul_naive.wgsl", include_str!("../../../shaders/matmul_naive.wgsl")).bindings([
        Binding::Input(0),
        Binding::Input(1),
        Binding::Output,
    ]);
    epilogue::attach(launch, op.epilogue.as_ref(), inputs, 2, &output.shape, 1)
        .constants([
            ("N", n),
            ("TRANSPOSE_A", usize::from(op.transpose_a)),
            ("TRANSPOSE_B", usize::from(op.transpose_b)),
        ])
        .params([output.elements(), m, k])
        .threads(output.elements(), 64)
}
