// A: the input at all positions of a window, as in product_a_taps_vec4.wgsl, for any number of channels.

// Row and column of the tap, channel, for each of four rows.
struct Rows { r0: vec3u, r1: vec3u, r2: vec3u, r3: vec3u }

fn tap(row: u32) -> vec3u {
    let i = min(row, p.rows - 1u);
    return vec3u(i / C / KW * DH - TOP, i / C % KW * DW - LEFT, i % C);
}

fn a_rows(matrix: u32, row: u32) -> Rows {
    return Rows(tap(matrix + row), tap(matrix + row + 1u), tap(matrix + row + 2u), tap(matrix + row + 3u));
}

fn pixel(at: vec3u, i: u32) -> f32 {
    let y = i / OW % OH * SH + at.x;
    let x = i % OW * SW + at.y;
    let inside = y < H && x < W && i < p.terms;
    return select(0.0, a[select(0u, ((i / (OH * OW) * H + y) * W + x) * C + at.z, inside)], inside);
}

fn row_of(at: vec3u, quad: u32) -> vec4f {
    let i = 4u * quad;
    return vec4f(pixel(at, i), pixel(at, i + 1u), pixel(at, i + 2u), pixel(at, i + 3u));
}

fn a_block(rows: Rows, quad: u32) -> mat4x4f {
    return mat4x4f(row_of(rows.r0, quad), row_of(rows.r1, quad), row_of(rows.r2, quad), row_of(rows.r3, quad));
}
