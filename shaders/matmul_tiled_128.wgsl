// A product by tiles in workgroup memory, as matmul_tiled_64, but 128x128 elements a workgroup, 8x8 of them an invocation
// (in four blocks, 64 rows and columns apart), from tiles of 16 terms: half as many loads for each multiply-add, four
// times as many registers. For large matrices.

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let t = tile(group.x + group.y * groups.x, 128u, 32u);
    let row = local / 16u;
    let column = local % 16u;
    var s00 = mat4x4f(); var s01 = mat4x4f(); var s10 = mat4x4f(); var s11 = mat4x4f();
    for (var first = t.first; first < t.last; first += 4u) {
        fill(t, first, local);
        workgroupBarrier();
        for (var term = 0u; term < 16u; term++) {
            let upper = from_a(term, row);
            let lower = from_a(term, row + 16u);
            let left = from_b(term, column);
            let right = from_b(term, column + 16u);
            s00 = add_outer(s00, upper, left);
            s01 = add_outer(s01, upper, right);
            s10 = add_outer(s10, lower, left);
            s11 = add_outer(s11, lower, right);
        }
        workgroupBarrier();
    }
    if (t.matrix < p.matrices) {
        let top = t.row + row * 4u;
        store_block(t.layer, top, t.column + column, s00);
        store_block(t.layer, top, t.column + column + 16u, s01);
        store_block(t.layer, top + 64u, t.column + column, s10);
        store_block(t.layer, top + 64u, t.column + column + 16u, s11);
    }
}
