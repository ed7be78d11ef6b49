// A: matrices [rows, terms], or [terms, rows] if TRANSPOSE_A, of any extents.
alias Rows = vec4u;

fn a_rows(matrix: u32, row: u32) -> Rows {
    let rows = min(vec4u(row) + vec4u(0u, 1u, 2u, 3u), vec4u(p.rows - 1u));
    return vec4u(matrix * p.rows * p.terms) + rows * select(p.terms, 1u, TRANSPOSE_A == 1u);
}

// One term of four rows.
fn a_term(rows: Rows, term: u32) -> vec4f {
    let at = rows + min(term, p.terms - 1u) * select(1u, p.rows, TRANSPOSE_A == 1u);
    return select(vec4f(), vec4f(a[at.x], a[at.y], a[at.z], a[at.w]), term < p.terms);
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    let term = 4u * quad;
    return transpose(mat4x4f(a_term(rows, term), a_term(rows, term + 1u), a_term(rows, term + 2u), a_term(rows, term + 3u)));
}
