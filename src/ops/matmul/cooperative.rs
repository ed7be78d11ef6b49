use super::{Extents, MatMul};
use crate::graph::{Binding, Capabilities, Kernel, Launch};
use crate::ops::product::Product;

/// Rows, columns and terms of which a product must have multiples.
const BLOCKS: [usize; 3] = [16, 32, 8];

/// The kernel that multiplies cooperative matrices, then applies the epilogue, where the adapter has them and the product
/// can be cut into whole blocks.
///
/// Apple's GPUs multiply blocks of f32; most others only f16, which would change the result. As no such adapter has run it
/// yet, it must be asked for; see [`Capabilities::cooperative`].
pub(super) fn kernel(
    op: &MatMul,
    extents: Extents,
    product: &Product<'_>,
    capabilities: &Capabilities,
) -> Option<Kernel> {
    let Extents { batch, m, n, k } = extents;
    let subgroup = capabilities.subgroup.filter(|_| capabilities.cooperative)? as usize;
    let [rows, columns, terms] = BLOCKS;
    if !(m.is_multiple_of(rows) && n.is_multiple_of(columns) && k.is_multiple_of(terms)) {
        return None;
    }
    let text = include_str!("../../../shaders/matmul_cooperative.wgsl");
    let multiply = Launch::new("matmul_cooperative.wgsl", text)
        .bindings([Binding::Input(0), Binding::Input(1), Binding::Scratch(0)])
        .constants([("N", n), ("K", k), ("SUBGROUP", subgroup)])
        .constants([("TRANSPOSE_A", usize::from(op.transpose_a)), ("TRANSPOSE_B", usize::from(op.transpose_b))])
        // A directive stands before all else.
        .prepend("enable wgpu_cooperative_matrix;\n")
        .params([m, batch])
        .threads(batch * (m / rows) * (n / columns), 1);
    Some(Kernel {
        variant: "cooperative".into(),
        launches: vec![multiply, product.add_layers(0, 1)],
        scratch: vec![4 * batch * m * n],
    })
}
