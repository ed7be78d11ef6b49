// Winograd's F(4x4, 3x3), the input: V = B' d B for each tile of 6x6 pixels, which overlaps its neighbours by two
// (A. Lavin & S. Gray, 2015, https://arxiv.org/abs/1509.09308). One invocation takes a tile of four channels.
//
// input [n, H, W, C] (as vectors along C); transformed [36, tiles, C], tiles from number `first` on of
// [n, tiles_h, tiles_w]. Params: the extents, C in vectors, top and left padding: so all layers of a network share what a
// driver compiles. Header: the points NEAR and FAR (ops/conv2d/points.rs).

struct Params {
    first: u32, tiles: u32, h: u32, w: u32, c4: u32, top: u32, left: u32, tiles_h: u32, tiles_w: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> transformed: array<vec4f>;

fn pixel(image: u32, y: u32, x: u32, c: u32) -> vec4f {
    // Above the image the difference wraps around to a large number: one comparison covers both ends.
    let inside = y < p.h && x < p.w;
    return select(vec4f(), input[select(0u, ((image * p.h + y) * p.w + x) * p.c4 + c, inside)], inside);
}

// B' times a column: the values at opposite points share their even and odd parts.
fn evaluate(d0: vec4f, d1: vec4f, d2: vec4f, d3: vec4f, d4: vec4f, d5: vec4f) -> array<vec4f, 6> {
    let near_even = fma(vec4f(-FAR2), d2, d4);
    let near_odd = fma(vec4f(-FAR2), d1, d3);
    let far_even = fma(vec4f(-NEAR2), d2, d4);
    let far_odd = fma(vec4f(-NEAR2), d1, d3);
    return array<vec4f, 6>(
        fma(vec4f(NEAR2 * FAR2), d0, fma(vec4f(-(NEAR2 + FAR2)), d2, d4)),
        fma(vec4f(NEAR), near_odd, near_even),
        fma(vec4f(-NEAR), near_odd, near_even),
        fma(vec4f(FAR), far_odd, far_even),
        fma(vec4f(-FAR), far_odd, far_even),
        fma(vec4f(NEAR2 * FAR2), d1, fma(vec4f(-(NEAR2 + FAR2)), d3, d5)),
    );
}

fn column(image: u32, y: u32, x: u32, c: u32) -> array<vec4f, 6> {
    return evaluate(
        pixel(image, y, x, c), pixel(image, y + 1u, x, c), pixel(image, y + 2u, x, c),
        pixel(image, y + 3u, x, c), pixel(image, y + 4u, x, c), pixel(image, y + 5u, x, c),
    );
}

fn put(row: u32, i: u32, d0: vec4f, d1: vec4f, d2: vec4f, d3: vec4f, d4: vec4f, d5: vec4f) {
    let v = evaluate(d0, d1, d2, d3, d4, d5);
    let plane = p.tiles * p.c4;
    let at = row * 6u * plane + i;
    transformed[at] = v[0];
    transformed[at + plane] = v[1];
    transformed[at + 2u * plane] = v[2];
    transformed[at + 3u * plane] = v[3];
    transformed[at + 4u * plane] = v[4];
    transformed[at + 5u * plane] = v[5];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.tiles * p.c4) {
        return;
    }
    let tile = p.first + i / p.c4;
    let c = i % p.c4;
    let y = tile / p.tiles_w % p.tiles_h * 4u - p.top;
    let x = tile % p.tiles_w * 4u - p.left;
    let image = tile / (p.tiles_h * p.tiles_w);
    let c0 = column(image, y, x, c);
    let c1 = column(image, y, x + 1u, c);
    let c2 = column(image, y, x + 2u, c);
    let c3 = column(image, y, x + 3u, c);
    let c4 = column(image, y, x + 4u, c);
    let c5 = column(image, y, x + 5u, c);
    put(0u, i, c0[0], c1[0], c2[0], c3[0], c4[0], c5[0]);
    put(1u, i, c0[1], c1[1], c2[1], c3[1], c4[1], c5[1]);
    put(2u, i, c0[2], c1[2], c2[2], c3[2], c4[2], c5[2]);
    put(3u, i, c0[3], c1[3], c2[3], c3[3], c4[3], c5[3]);
    put(4u, i, c0[4], c1[4], c2[4], c3[4], c4[4], c5[4]);
    put(5u, i, c0[5], c1[5], c2[5], c3[5], c4[5], c5[5]);
}
