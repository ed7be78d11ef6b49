// A: what lies under the window of a convolution, one row for each position of the window, as if laid out as a matrix
// [n * OH * OW, KH * KW * C] (implicit GEMM; Chetlur et al., cuDNN, 2014, https://arxiv.org/abs/1410.0759).
//
// a is an image [n, H, W, C], as vectors along C. Between its pixels stand UP_H - 1 rows and UP_W - 1 columns of zeros,
// around it TOP and LEFT more: so the gradient for the input of a strided convolution is a convolution too.
// Header: the extents, SH, SW (stride), DH, DW (dilation), UP_H, UP_W, TOP, LEFT.

struct Rows { y: vec4u, x: vec4u, image: vec4u }

const C4: u32 = C / 4u;

fn a_rows(matrix: u32, row: u32) -> Rows {
    let pixels = min(vec4u(row) + vec4u(0u, 1u, 2u, 3u), vec4u(p.rows - 1u));
    return Rows(pixels / OW % OH * SH, pixels % OW * SW, (matrix + pixels / (OH * OW)) * H);
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    let tap = quad / C4;
    // Above the image the difference wraps around to a large number: one comparison covers both ends.
    let y = rows.y + (tap / KW * DH - TOP);
    let x = rows.x + (tap % KW * DW - LEFT);
    let inside = (y / UP_H < vec4u(H)) & (x / UP_W < vec4u(W)) & (y % UP_H == vec4u()) & (x % UP_W == vec4u());
    let at = select(vec4u(), ((rows.image + y / UP_H) * W + x / UP_W) * C4 + quad % C4, inside);
    return mat4x4f(
        select(vec4f(), a[at.x], inside.x), select(vec4f(), a[at.y], inside.y),
        select(vec4f(), a[at.z], inside.z), select(vec4f(), a[at.w], inside.w),
    );
}
