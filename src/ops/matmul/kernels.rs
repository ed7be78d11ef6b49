use super::{Extents, MatMul, cooperative};
use crate::graph::{Binding, Capabilities, Kernel, Launch};
use crate::ops::epilogue;
use crate::ops::product::{Product, Stored, matrix_a, matrix_b};
use crate::tensor::Meta;

/// Multiply-adds below which a product is not worth a tile; nor, in software, the time to compile one.
const TINY: usize = 1 << 12;
const TINY_IN_SOFTWARE: usize = 1 << 17;
/// Extents from which on a product is better packed first: rows of smaller matrices do not meet in one set of a cache.
const HUGE: usize = 768;

/// Every kernel that computes the product, the one to prefer first.
pub(super) fn matmul(
    op: &MatMul,
    extents: Extents,
    inputs: &[&Meta],
    output: &Meta,
    capabilities: &Capabilities,
) -> Vec<Kernel> {
    let Extents { batch, m, n, k } = extents;
    let product = Product {
        batch,
        rows: m,
        columns: n,
        terms: k,
        a: matrix_a(Binding::Input(0), op.transpose_a, [m, k]),
        b: matrix_b(Binding::Input(1), op.transpose_b, [k, n]),
        constants: vec![("TRANSPOSE_A", usize::from(op.transpose_a)), ("TRANSPOSE_B", usize::from(op.transpose_b))],
        result: Stored::Output { epilogue: op.epilogue.as_ref(), inputs, own: 2, shape: &output.shape },
    };
    let mut kernels = Vec::from_iter(cooperative::kernel(op, extents, &product, capabilities));
    kernels.extend(product.kernels(capabilities));
    if let Some(packed) = product.packed(capabilities) {
        let huge = m.min(n).min(k) >= HUGE;
        kernels.insert(if huge { 0 } else { kernels.len() }, packed);
    }
    let naive = Kernel::single("naive", naive(op, extents, inputs, output));
    // A tile wastes most of its work on a matrix with few rows or columns.
    let tiny = if capabilities.software { TINY_IN_SOFTWARE } else { TINY };
    let small = batch * m * n * k < tiny || n == 1;
    kernels.insert(if small { 0 } else { kernels.len() }, naive);
    kernels
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
