// Winograd's F(4x4, 3x3), the gradient of the result: A dy A' for each tile of 4x4 pixels, the adjoint of
// conv2d_winograd_output (A. Lavin & S. Gray, 2015, https://arxiv.org/abs/1509.09308). One invocation takes a tile of four
// filters.
//
// grad [n, h, w, O] (as vectors along O); transformed [36, tiles, O], tiles from number `first` on of
// [n, tiles_h, tiles_w]. Params: the extents, O in vectors. Header: the points NEAR and FAR (ops/conv2d/points.rs).

struct Params { first: u32, tiles: u32, h: u32, w: u32, o4: u32, tiles_h: u32, tiles_w: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> transformed: array<vec4f>;

fn pixel(image: u32, y: u32, x: u32, o: u32) -> vec4f {
    let inside = y < p.h && x < p.w;
    return select(vec4f(), grad[select(0u, ((image * p.h + y) * p.w + x) * p.o4 + o, inside)], inside);
}

// A times a column.
fn evaluate(y0: vec4f, y1: vec4f, y2: vec4f, y3: vec4f) -> array<vec4f, 6> {
    let near_even = fma(vec4f(NEAR2), y2, y0);
    let near_odd = fma(vec4f(NEAR2), y3, y1);
    let far_even = fma(vec4f(FAR2), y2, y0);
    let far_odd = fma(vec4f(FAR2), y3, y1);
    return array<vec4f, 6>(
        y0,
        fma(vec4f(NEAR), near_odd, near_even),
        fma(vec4f(-NEAR), near_odd, near_even),
        fma(vec4f(FAR), far_odd, far_even),
        fma(vec4f(-FAR), far_odd, far_even),
        y3,
    );
}

fn column(image: u32, y: u32, x: u32, o: u32) -> array<vec4f, 6> {
    return evaluate(
        pixel(image, y, x, o), pixel(image, y + 1u, x, o), pixel(image, y + 2u, x, o), pixel(image, y + 3u, x, o)
    );
}

fn put(row: u32, i: u32, y0: vec4f, y1: vec4f, y2: vec4f, y3: vec4f) {
    let v = evaluate(y0, y1, y2, y3);
    let plane = p.tiles * p.o4;
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
    if (i >= p.tiles * p.o4) {
        return;
    }
    let tile = p.first + i / p.o4;
    let o = i % p.o4;
    let y = tile / p.tiles_w % p.tiles_h * 4u;
    let x = tile % p.tiles_w * 4u;
    let image = tile / (p.tiles_h * p.tiles_w);
    let c0 = column(image, y, x, o);
    let c1 = column(image, y, x + 1u, o);
    let c2 = column(image, y, x + 2u, o);
    let c3 = column(image, y, x + 3u, o);
    put(0u, i, c0[0], c1[0], c2[0], c3[0]);
    put(1u, i, c0[1], c1[1], c2[1], c3[1]);
    put(2u, i, c0[2], c1[2], c2[2], c3[2]);
    put(3u, i, c0[3], c1[3], c2[3], c3[3]);
    put(4u, i, c0[4], c1[4], c2[4], c3[4]);
    put(5u, i, c0[5], c1[5], c2[5], c3[5]);
}
