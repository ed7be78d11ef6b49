// A product with A spread by subgroup broadcasts: a group of lanes computes 32 rows, each lane four or eight columns of
// them.
//
// A lane loads one block of A, of four rows, or two if the group has but four lanes; the group together has 32 rows, and
// each lane receives them all. No workgroup memory, no barrier, and per multiply-add a fraction of the loads of
// matmul_registers. Subgroup operations stand in uniform control flow: addresses are clamped, only stores are masked.
// Operands and Params: common/product.wgsl. Header: SUBGROUP (its lanes), GROUP (4, or SUBGROUP: lanes which share rows),
// VECTORS (1 or 2: of columns, a lane's), STACK (subgroups of a workgroup, each with its own rows); fn spread0 to spread7
// (common/product_spread_*.wgsl).

const GROUPS: u32 = SUBGROUP / GROUP;
const WIDE: bool = VECTORS == 2u;

@compute @workgroup_size(SUBGROUP, STACK)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let t = tile(group.x + group.y * groups.x, 32u * STACK * GROUPS, GROUP * VECTORS);
    let row = t.row + (local.y * GROUPS + local.x / GROUP) * 32u;
    let column = t.column + local.x % GROUP;
    let rows = a_rows(t.matrix, row + local.x % GROUP % 8u * 4u);
    let lower = a_rows(t.matrix, row + 16u + local.x % 4u * 4u);
    let columns = b_columns(t.matrix, column);
    let right = b_columns(t.matrix, column + GROUP);
    var s0 = mat4x4f(); var s1 = mat4x4f(); var s2 = mat4x4f(); var s3 = mat4x4f();
    var s4 = mat4x4f(); var s5 = mat4x4f(); var s6 = mat4x4f(); var s7 = mat4x4f();
    var w0 = mat4x4f(); var w1 = mat4x4f(); var w2 = mat4x4f(); var w3 = mat4x4f();
    var w4 = mat4x4f(); var w5 = mat4x4f(); var w6 = mat4x4f(); var w7 = mat4x4f();
    for (var quad = t.first; quad < t.last; quad++) {
        let b = b_block(columns, quad);
        let a = a_block(rows, quad);
        var z = a;
        if (GROUP == 4u) {
            z = a_block(lower, quad);
        }
        let a0 = spread0(a); let a1 = spread1(a); let a2 = spread2(a); let a3 = spread3(a);
        let a4 = spread4(z); let a5 = spread5(z); let a6 = spread6(z); let a7 = spread7(z);
        s0 = add_block(s0, a0, b); s1 = add_block(s1, a1, b); s2 = add_block(s2, a2, b); s3 = add_block(s3, a3, b);
        s4 = add_block(s4, a4, b); s5 = add_block(s5, a5, b); s6 = add_block(s6, a6, b); s7 = add_block(s7, a7, b);
        if (WIDE) {
            let c = b_block(right, quad);
            w0 = add_block(w0, a0, c); w1 = add_block(w1, a1, c); w2 = add_block(w2, a2, c); w3 = add_block(w3, a3, c);
            w4 = add_block(w4, a4, c); w5 = add_block(w5, a5, c); w6 = add_block(w6, a6, c); w7 = add_block(w7, a7, c);
        }
    }
    if (t.matrix < p.matrices) {
        // In a loop: 32 copies of the epilogue would take drivers longer to compile than all the rest.
        for (var i = 0u; i < 8u; i++) {
            store_block(t.layer, row + 4u * i, column, pick(i, s0, s1, s2, s3, s4, s5, s6, s7));
            if (WIDE) {
                store_block(t.layer, row + 4u * i, column + GROUP, pick(i, w0, w1, w2, w3, w4, w5, w6, w7));
            }
        }
    }
}

fn pick(
    i: u32, m0: mat4x4f, m1: mat4x4f, m2: mat4x4f, m3: mat4x4f, m4: mat4x4f, m5: mat4x4f, m6: mat4x4f, m7: mat4x4f,
) -> mat4x4f {
    var picked = m0;
    if (i == 1u) { picked = m1; }
    if (i == 2u) { picked = m2; }
    if (i == 3u) { picked = m3; }
    if (i == 4u) { picked = m4; }
    if (i == 5u) { picked = m5; }
    if (i == 6u) { picked = m6; }
    if (i == 7u) { picked = m7; }
    return picked;
}
