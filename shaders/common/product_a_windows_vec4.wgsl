// A: what lies under the window of a convolution, one row for each position of the window, as if laid out as a matrix
// [n * OH * OW, KH * KW * C] (implicit GEMM; Chetlur et al., cuDNN, 2014, https://arxiv.org/abs/1410.0759).
//
// a is an image [n, H, W, C], as vectors along C. Between its pixels stand UP_H - 1 rows and UP_W - 1 columns of zeros,
// around it TOP and LEFT more: so the gradient for the input of a strided convolution is a convolution too.
// Header: the extents, SH, SW (stride), DH, DW (dilation), UP_H, UP_W, TOP, LEFT.

const C4: u32 = C / 4u;

// Row and column of a window in the padded image, and the first row of its image, for each of four windows.
struct Rows { r0: vec3u, r1: vec3u, r2: vec3u, r3: vec3u }

fn origin(matrix: u32, row: u32) -> vec3u {
    let pixel = min(row, p.rows - 1u);
    return vec3u(pixel / OW % OH * SH, pixel % OW * SW, (matrix + pixel / (OH * OW)) * H);
}

fn a_rows(matrix: u32, row: u32) -> Rows {
    return Rows(origin(matrix, row), origin(matrix, row + 1u), origin(matrix, row + 2u), origin(matrix, row + 3u));
}

// Four channels under one tap of a window.
fn pixel(at: vec3u, tap: u32, c: u32) -> vec4f {
    // Above the image the difference wraps around to a large number: one comparison covers both ends.
    let y = at.x + tap / KW * DH - TOP;
    let x = at.y + tap % KW * DW - LEFT;
    let inside = y / UP_H < H && x / UP_W < W && y % UP_H == 0u && x % UP_W == 0u;
    let place = ((at.z + y / UP_H) * W + x / UP_W) * C4 + c;
    return select(vec4f(), a[select(0u, place, inside)], inside);
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    let tap = quad / C4;
    let c = quad % C4;
    return mat4x4f(pixel(rows.r0, tap, c), pixel(rows.r1, tap, c), pixel(rows.r2, tap, c), pixel(rows.r3, tap, c));
}
