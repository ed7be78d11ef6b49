// A: what lies under the window of a convolution, one row for each position of the window, as if laid out as a matrix
// [n * OH * OW, KH * KW * C] (implicit GEMM; Chetlur et al., cuDNN, 2014, https://arxiv.org/abs/1410.0759).
//
// a is an image [n, H, W, C]. Between its pixels stand UP_H - 1 rows and UP_W - 1 columns of zeros,
// around it TOP and LEFT more: so the gradient for the input of a strided convolution is a convolution too.
// Header: the extents, SH, SW (stride), DH, DW (dilation), UP_H, UP_W, TOP, LEFT.

// Row and column of a window in the padded image, and the first row of its image, for each of four windows.
struct Rows { r0: vec3u, r1: vec3u, r2: vec3u, r3: vec3u }

fn origin(matrix: u32, row: u32) -> vec3u {
    let pixel = min(row, p.rows - 1u);
    return vec3u(pixel / OW % OH * SH, pixel % OW * SW, (matrix + pixel / (OH * OW)) * H);
}

fn a_rows(matrix: u32, row: u32) -> Rows {
    return Rows(origin(matrix, row), origin(matrix, row + 1u), origin(matrix, row + 2u), origin(matrix, row + 3u));
}

