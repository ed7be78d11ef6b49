// B: packed by product_pack_b.wgsl as [matrices, panels of PANEL vectors, terms, PANEL].
alias Columns = u32;

fn b_columns(matrix: u32, column: u32) -> Columns {
    let panel = matrix * ((N4 + PANEL - 1u) / PANEL) + column / PANEL;
    return panel * ((p.terms + 3u) / 4u) * 4u * PANEL + column % PANEL;
}

fn b_block(columns: Columns, quad: u32) -> mat4x4f {
    let at = columns + quad * 4u * PANEL;
    return mat4x4f(b[at], b[at + PANEL], b[at + 2u * PANEL], b[at + 3u * PANEL]);
}
