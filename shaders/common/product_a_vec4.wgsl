// A: matrices [rows, terms], as vectors along the terms.
alias Rows = vec4u;

fn a_rows(matrix: u32, row: u32) -> Rows {
    let rows = min(vec4u(row) + vec4u(0u, 1u, 2u, 3u), vec4u(p.rows - 1u));
    return (vec4u(matrix * p.rows) + rows) * (p.terms / 4u);
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    return mat4x4f(a[rows.x + quad], a[rows.y + quad], a[rows.z + quad], a[rows.w + quad]);
}
