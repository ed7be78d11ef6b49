// A: the input at all positions of a window, as in product_a_taps_vec4.wgsl, for any number of channels.

struct Rows { y: vec4u, x: vec4u, c: vec4u }

fn a_rows(matrix: u32, row: u32) -> Rows {
    let rows = vec4u(matrix) + min(vec4u(row) + vec4u(0u, 1u, 2u, 3u), vec4u(p.rows - 1u));
    let taps = rows / C;
    return Rows(taps / KW * DH - TOP, taps % KW * DW - LEFT, rows % C);
}

// One position, four rows.
fn a_term(rows: Rows, pixel: u32) -> vec4f {
    let y = rows.y + pixel / OW % OH * SH;
    let x = rows.x + pixel % OW * SW;
    let inside = (y < vec4u(H)) & (x < vec4u(W)) & vec4<bool>(pixel < p.terms);
    let at = select(vec4u(), ((pixel / (OH * OW) * H + y) * W + x) * C + rows.c, inside);
    return select(vec4f(), vec4f(a[at.x], a[at.y], a[at.z], a[at.w]), inside);
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    let pixel = 4u * quad;
    return transpose(
        mat4x4f(a_term(rows, pixel), a_term(rows, pixel + 1u), a_term(rows, pixel + 2u), a_term(rows, pixel + 3u))
    );
}
