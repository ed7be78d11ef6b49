// B: matrices stored as [N, terms], as vectors along the terms.
alias Columns = vec4u;

fn b_columns(matrix: u32, column: u32) -> Columns {
    let columns = min(vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u), vec4u(N - 1u));
    return (matrix * N + columns) * (p.terms / 4u);
}

fn b_block(columns: Columns, quad: u32) -> mat4x4f {
    return transpose(mat4x4f(b[columns.x + quad], b[columns.y + quad], b[columns.z + quad], b[columns.w + quad]));
}
