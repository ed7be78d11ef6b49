// A: packed by product_pack_a.wgsl as [matrices, stripes of 32 rows, quads of terms, 32].
alias Rows = u32;

fn a_rows(matrix: u32, row: u32) -> Rows {
    let stripe = matrix * ((p.rows + 31u) / 32u) + row / 32u;
    return stripe * ((p.terms + 3u) / 4u) * 32u + row % 32u;
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    let at = rows + quad * 32u;
    return mat4x4f(a[at], a[at + 1u], a[at + 2u], a[at + 3u]);
}
