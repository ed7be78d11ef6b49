// A: matrices stored as [terms, rows], as vectors along the rows.
alias Rows = u32;

fn a_rows(matrix: u32, row: u32) -> Rows {
    return matrix * p.terms * (p.rows / 4u) + min(row, p.rows - 1u) / 4u;
}

fn a_term(rows: Rows, term: u32) -> vec4f {
    return select(vec4f(), a[rows + min(term, p.terms - 1u) * (p.rows / 4u)], term < p.terms);
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    let term = 4u * quad;
    return transpose(mat4x4f(a_term(rows, term), a_term(rows, term + 1u), a_term(rows, term + 2u), a_term(rows, term + 3u)));
}
