// B: matrices [terms, N], as vectors along the columns.
alias Columns = u32;

fn b_columns(matrix: u32, column: u32) -> Columns {
    return matrix * p.terms * N4 + min(column, N4 - 1u);
}

fn b_block(columns: Columns, quad: u32) -> mat4x4f {
    let last = columns + (p.terms - 1u) * N4;
    let at = min(vec4u(columns + 4u * quad * N4) + vec4u(0u, N4, 2u * N4, 3u * N4), vec4u(last));
    return mat4x4f(b[at.x], b[at.y], b[at.z], b[at.w]);
}
