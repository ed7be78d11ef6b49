// Lays B out in the order in which tiles read it, as product_pack_a.wgsl does A: output
// [matrices, panels of PANEL vectors, terms, PANEL]. Operands and Params: common/product.wgsl. One invocation takes a block.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    let quads = (p.terms + 3u) / 4u;
    let panels = (N4 + PANEL - 1u) / PANEL;
    let column = i % (panels * PANEL);
    let quad = i / (panels * PANEL) % quads;
    let matrix = i / (panels * PANEL * quads);
    if (matrix >= p.matrices) {
        return;
    }
    let block = b_block(b_columns(matrix, column), quad);
    let at = (((matrix * panels + column / PANEL) * quads + quad) * 4u) * PANEL + column % PANEL;
    output[at] = block[0];
    output[at + PANEL] = block[1];
    output[at + 2u * PANEL] = block[2];
    output[at + 3u * PANEL] = block[3];
}
