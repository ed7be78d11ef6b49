// A product by tiles in workgroup memory: a workgroup of 256 invocations computes 64x64 elements, each of them 4x4, from
// tiles of 32 terms; or, for large matrices, 128x128 elements, each of them 8x8 in four blocks 64 rows and columns apart,
// from tiles of 16 terms: half as many loads for each multiply-add, four times as many registers. 16 KiB of workgroup
// memory are what every adapter has. Operands and Params: common/product.wgsl; the tiles, and QUADS in the header:
// common/product_tiles.wgsl. After V. Volkov & J. Demmel, Benchmarking GPUs to Tune Dense Linear Algebra, 2008.

const LARGE: bool = QUADS == 32u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let t = tile(group.x + group.y * groups.x, 4u * QUADS, QUADS);
    let row = local / 16u;
    let column = local % 16u;
    var s00 = mat4x4f(); var s01 = mat4x4f(); var s10 = mat4x4f(); var s11 = mat4x4f();
    for (var first = t.first; first < t.last; first += TERM_QUADS) {
        fill(t, first, local);
        workgroupBarrier();
        for (var term = 0u; term < 4u * TERM_QUADS; term++) {
            let upper = from_a(term, row);
            let left = from_b(term, column);
            s00 = add_outer(s00, upper, left);
            if (LARGE) {
                let lower = from_a(term, row + 16u);
                let right = from_b(term, column + 16u);
                s01 = add_outer(s01, upper, right);
                s10 = add_outer(s10, lower, left);
                s11 = add_outer(s11, lower, right);
            }
        }
        workgroupBarrier();
    }
    if (t.matrix < p.matrices) {
        let top = t.row + row * 4u;
        store_block(t.layer, top, t.column + column, s00);
        if (LARGE) {
            store_block(t.layer, top, t.column + column + 16u, s01);
            store_block(t.layer, top + 64u, t.column + column, s10);
            store_block(t.layer, top + 64u, t.column + column + 16u, s11);
        }
    }
}
