// A product by tiles in workgroup memory: a workgroup of 256 invocations computes 64x64 elements, each of them 4x4, from
// tiles of 32 terms. 16 KiB of workgroup memory are what every adapter has. Operands and Params: common/product.wgsl;
// the tiles: common/product_tiles.wgsl. After V. Volkov & J. Demmel, Benchmarking GPUs to Tune Dense Linear Algebra, 2008.

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) local: u32,
) {
    let t = tile(group.x + group.y * groups.x, 64u, 16u);
    let row = local / 16u;
    let column = local % 16u;
    var sum = mat4x4f();
    for (var first = t.first; first < t.last; first += 8u) {
        fill(t, first, local);
        workgroupBarrier();
        for (var term = 0u; term < 32u; term++) {
            sum = add_outer(sum, from_a(term, row), from_b(term, column));
        }
        workgroupBarrier();
    }
    if (t.matrix < p.matrices) {
        store_block(t.layer, t.row + row * 4u, t.column + column, sum);
    }
}
