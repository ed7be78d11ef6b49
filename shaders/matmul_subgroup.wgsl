// A product with A spread by subgroup broadcasts: a subgroup computes 32 rows, each of its lanes four columns of them.
//
// A lane loads one block of A, of four rows; the subgroup together has 32 rows, and each lane receives them all. No
// workgroup memory, no barrier, and per multiply-add a quarter of the loads of matmul_registers. Subgroup operations
// stand in uniform control flow: addresses are clamped, only stores are masked. Operands and Params:
// common/product.wgsl. Header: SUBGROUP (lanes, 4 or more), STACK (subgroups of a workgroup, each with its own rows).

// With subgroups of 4 a lane holds a second block.
const FOUR: bool = SUBGROUP == 4u;
const L4: u32 = 4u % SUBGROUP;
const L5: u32 = 5u % SUBGROUP;
const L6: u32 = 6u % SUBGROUP;
const L7: u32 = 7u % SUBGROUP;

@compute @workgroup_size(SUBGROUP, STACK)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let t = tile(group.x + group.y * groups.x, 32u * STACK, SUBGROUP);
    let row = t.row + local.y * 32u;
    let column = t.column + local.x;
    let rows = a_rows(t.matrix, row + local.x % 8u * 4u);
    let columns = b_columns(t.matrix, column);
    var s0 = mat4x4f(); var s1 = mat4x4f(); var s2 = mat4x4f(); var s3 = mat4x4f();
    var s4 = mat4x4f(); var s5 = mat4x4f(); var s6 = mat4x4f(); var s7 = mat4x4f();
    for (var quad = t.first; quad < t.last; quad++) {
        let b = b_block(columns, quad);
        let a = a_block(rows, quad);
        var z = a;
        if (FOUR) {
            z = a_block(a_rows(t.matrix, row + 16u + local.x % 4u * 4u), quad);
        }
        s0 = add_block(s0, mat4x4f(subgroupBroadcast(a[0], 0u), subgroupBroadcast(a[1], 0u), subgroupBroadcast(a[2], 0u), subgroupBroadcast(a[3], 0u)), b);
        s1 = add_block(s1, mat4x4f(subgroupBroadcast(a[0], 1u), subgroupBroadcast(a[1], 1u), subgroupBroadcast(a[2], 1u), subgroupBroadcast(a[3], 1u)), b);
        s2 = add_block(s2, mat4x4f(subgroupBroadcast(a[0], 2u), subgroupBroadcast(a[1], 2u), subgroupBroadcast(a[2], 2u), subgroupBroadcast(a[3], 2u)), b);
        s3 = add_block(s3, mat4x4f(subgroupBroadcast(a[0], 3u), subgroupBroadcast(a[1], 3u), subgroupBroadcast(a[2], 3u), subgroupBroadcast(a[3], 3u)), b);
        s4 = add_block(s4, mat4x4f(subgroupBroadcast(z[0], L4), subgroupBroadcast(z[1], L4), subgroupBroadcast(z[2], L4), subgroupBroadcast(z[3], L4)), b);
        s5 = add_block(s5, mat4x4f(subgroupBroadcast(z[0], L5), subgroupBroadcast(z[1], L5), subgroupBroadcast(z[2], L5), subgroupBroadcast(z[3], L5)), b);
        s6 = add_block(s6, mat4x4f(subgroupBroadcast(z[0], L6), subgroupBroadcast(z[1], L6), subgroupBroadcast(z[2], L6), subgroupBroadcast(z[3], L6)), b);
        s7 = add_block(s7, mat4x4f(subgroupBroadcast(z[0], L7), subgroupBroadcast(z[1], L7), subgroupBroadcast(z[2], L7), subgroupBroadcast(z[3], L7)), b);
    }
    if (t.layer < p.layers) {
        store_block(t.layer, row, column, s0);
        store_block(t.layer, row + 4u, column, s1);
        store_block(t.layer, row + 8u, column, s2);
        store_block(t.layer, row + 12u, column, s3);
        store_block(t.layer, row + 16u, column, s4);
        store_block(t.layer, row + 20u, column, s5);
        store_block(t.layer, row + 24u, column, s6);
        store_block(t.layer, row + 28u, column, s7);
    }
}
