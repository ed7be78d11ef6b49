// A: what lies under the window of a convolution, as in product_a_windows_vec4.wgsl, for any number of channels: those of
// a picture, mostly.

struct Rows { y: vec4u, x: vec4u, image: vec4u }

fn a_rows(matrix: u32, row: u32) -> Rows {
    let pixels = min(vec4u(row) + vec4u(0u, 1u, 2u, 3u), vec4u(p.rows - 1u));
    return Rows(pixels / OW % OH * SH, pixels % OW * SW, (matrix + pixels / (OH * OW)) * H);
}

// One term of four rows.
fn a_term(rows: Rows, term: u32) -> vec4f {
    let tap = term / C;
    let y = rows.y + (tap / KW * DH - TOP);
    let x = rows.x + (tap % KW * DW - LEFT);
    let inside = (y / UP_H < vec4u(H)) & (x / UP_W < vec4u(W)) & (y % UP_H == vec4u()) & (x % UP_W == vec4u())
        & vec4<bool>(term < p.terms);
    let at = select(vec4u(), ((rows.image + y / UP_H) * W + x / UP_W) * C + term % C, inside);
    return select(vec4f(), vec4f(a[at.x], a[at.y], a[at.z], a[at.w]), inside);
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    let term = 4u * quad;
    return transpose(mat4x4f(a_term(rows, term), a_term(rows, term + 1u), a_term(rows, term + 2u), a_term(rows, term + 3u)));
}
