// A: for each tap of a window and each channel, the input at all positions of the window: [KH * KW * C, n * OH * OW], the
// transpose of what a convolution multiplies; its product with the gradient is the gradient for the weight.
//
// a is the input [n, H, W, C], as vectors along C. Header: the extents, SH, SW (stride), DH, DW (dilation), TOP, LEFT.

const C4: u32 = C / 4u;

// Row and column of the tap, channel.
alias Rows = vec3u;

fn a_rows(matrix: u32, row: u32) -> Rows {
    let quad = matrix + min(row, p.rows - 1u) / 4u;
    let tap = quad / C4;
    return vec3u(tap / KW * DH - TOP, tap % KW * DW - LEFT, quad % C4);
}

// One position, four channels.
fn a_term(rows: Rows, pixel: u32) -> vec4f {
    let y = pixel / OW % OH * SH + rows.x;
    let x = pixel % OW * SW + rows.y;
    let inside = y < H && x < W && pixel < p.terms;
    let at = ((pixel / (OH * OW) * H + y) * W + x) * C4 + rows.z;
    return select(vec4f(), a[select(0u, at, inside)], inside);
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    let pixel = 4u * quad;
    return transpose(
        mat4x4f(a_term(rows, pixel), a_term(rows, pixel + 1u), a_term(rows, pixel + 2u), a_term(rows, pixel + 3u))
    );
}
