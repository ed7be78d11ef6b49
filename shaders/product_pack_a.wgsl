// Lays A out in the order in which tiles of 32 rows read it, so that they stream through memory: output
// [matrices, stripes of 32 rows, quads of terms, 32], each element four terms of a row (K. Goto & R. van de Geijn, Anatomy
// of High-Performance Matrix Multiplication, 2008). Operands and Params: common/product.wgsl. One invocation takes a block.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    let quads = (p.terms + 3u) / 4u;
    let stripes = (p.rows + 31u) / 32u;
    let quad = i % quads;
    let row = i / quads % (stripes * 8u) * 4u;
    let matrix = i / (quads * stripes * 8u);
    if (matrix >= p.matrices) {
        return;
    }
    let block = a_block(a_rows(matrix, row), quad);
    let at = ((matrix * stripes + row / 32u) * quads + quad) * 32u + row % 32u;
    output[at] = block[0];
    output[at + 1u] = block[1];
    output[at + 2u] = block[2];
    output[at + 3u] = block[3];
}
