// A: what lies under the window of a convolution, as in product_a_windows_vec4.wgsl, for any number of channels: those of
// a picture, mostly.

// Row and column of a window in the padded image, and the first row of its image, for each of four windows.
struct Rows { r0: vec3u, r1: vec3u, r2: vec3u, r3: vec3u }

fn origin(matrix: u32, row: u32) -> vec3u {
    let pixel = min(row, p.rows - 1u);
    return vec3u(pixel / OW % OH * SH, pixel % OW * SW, (matrix + pixel / (OH * OW)) * H);
}

fn a_rows(matrix: u32, row: u32) -> Rows {
    return Rows(origin(matrix, row), origin(matrix, row + 1u), origin(matrix, row + 2u), origin(matrix, row + 3u));
}

fn pixel(at: vec3u, term: u32) -> f32 {
    let tap = term / C;
    let y = at.x + tap / KW * DH - TOP;
    let x = at.y + tap % KW * DW - LEFT;
    let inside = y / UP_H < H && x / UP_W < W && y % UP_H == 0u && x % UP_W == 0u && term < p.terms;
    let place = ((at.z + y / UP_H) * W + x / UP_W) * C + term % C;
    return select(0.0, a[select(0u, place, inside)], inside);
}

fn row_of(at: vec3u, quad: u32) -> vec4f {
    let term = 4u * quad;
    return vec4f(pixel(at, term), pixel(at, term + 1u), pixel(at, term + 2u), pixel(at, term + 3u));
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    return mat4x4f(row_of(rows.r0, quad), row_of(rows.r1, quad), row_of(rows.r2, quad), row_of(rows.r3, quad));
}
