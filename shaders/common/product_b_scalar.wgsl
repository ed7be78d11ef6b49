// B: matrices [terms, N], or [N, terms] if TRANSPOSE_B, of any extents.
alias Columns = vec4u;

fn b_columns(matrix: u32, column: u32) -> Columns {
    let columns = min(vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u), vec4u(N - 1u));
    return vec4u(matrix * N * p.terms) + columns * select(1u, p.terms, TRANSPOSE_B == 1u);
}

// One term of four columns.
fn b_term(columns: Columns, term: u32) -> vec4f {
    let at = columns + min(term, p.terms - 1u) * select(N, 1u, TRANSPOSE_B == 1u);
    return vec4f(b[at.x], b[at.y], b[at.z], b[at.w]);
}

fn b_block(columns: Columns, quad: u32) -> mat4x4f {
    let term = 4u * quad;
    return mat4x4f(b_term(columns, term), b_term(columns, term + 1u), b_term(columns, term + 2u), b_term(columns, term + 3u));
}
