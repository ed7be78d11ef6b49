// Winograd's F(2x2, 3x3), the input: V = B' d B for each tile of 4x4 pixels, which overlaps its neighbours by two
// (A. Lavin & S. Gray, 2015, https://arxiv.org/abs/1509.09308). One invocation takes a tile of four channels.
//
// input [n, H, W, C] (as vectors along C); transformed [16, tiles, C], tiles [n, TILES_H, TILES_W].
// Header: the extents, TOP, LEFT (padding).

struct Params { tiles: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> transformed: array<vec4f>;

const C4: u32 = C / 4u;

fn pixel(image: u32, y: u32, x: u32, c: u32) -> vec4f {
    let inside = y < H && x < W;
    return select(vec4f(), input[select(0u, ((image * H + y) * W + x) * C4 + c, inside)], inside);
}

// A column of four pixels times B': the rows of the result are channels' vectors.
fn column(image: u32, y: u32, x: u32, c: u32) -> mat4x4f {
    let d0 = pixel(image, y, x, c);
    let d1 = pixel(image, y + 1u, x, c);
    let d2 = pixel(image, y + 2u, x, c);
    let d3 = pixel(image, y + 3u, x, c);
    return mat4x4f(d0 - d2, d1 + d2, d2 - d1, d1 - d3);
}

fn put(row: u32, i: u32, d0: vec4f, d1: vec4f, d2: vec4f, d3: vec4f) {
    let plane = p.tiles * C4;
    let at = row * 4u * plane + i;
    transformed[at] = d0 - d2;
    transformed[at + plane] = d1 + d2;
    transformed[at + 2u * plane] = d2 - d1;
    transformed[at + 3u * plane] = d1 - d3;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.tiles * C4) {
        return;
    }
    let tile = i / C4;
    let y = tile / TILES_W % TILES_H * 2u - TOP;
    let x = tile % TILES_W * 2u - LEFT;
    let image = tile / (TILES_H * TILES_W);
    let c0 = column(image, y, x, i % C4);
    let c1 = column(image, y, x + 1u, i % C4);
    let c2 = column(image, y, x + 2u, i % C4);
    let c3 = column(image, y, x + 3u, i % C4);
    put(0u, i, c0[0], c1[0], c2[0], c3[0]);
    put(1u, i, c0[1], c1[1], c2[1], c3[1]);
    put(2u, i, c0[2], c1[2], c2[2], c3[2]);
    put(3u, i, c0[3], c1[3], c2[3], c3[3]);
}
