// The image as vectors along C, a multiple of 4.
const C4: u32 = C / 4u;

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
