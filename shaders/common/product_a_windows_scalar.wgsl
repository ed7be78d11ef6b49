// The image by single channels, of any number: those of a picture, mostly.

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
