// Winograd's F(4x4, 3x3), the result: Y = A' M A, four by four pixels of each tile (A. Lavin & S. Gray, 2015,
// https://arxiv.org/abs/1509.09308). One invocation takes a tile of four filters.
//
// product [36, tiles, O], tiles from number `first` on of [n, tiles_h, tiles_w]; output [n, h, w, O] (both as vectors along
// O). Params: the extents, O in vectors. Header: the points NEAR and FAR (ops/conv2d/points.rs); fn epilogue(value, element,
// column).

struct Params { first: u32, tiles: u32, h: u32, w: u32, o4: u32, tiles_h: u32, tiles_w: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> product: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;

// A' times a column.
fn interpolate(m0: vec4f, m1: vec4f, m2: vec4f, m3: vec4f, m4: vec4f, m5: vec4f) -> array<vec4f, 4> {
    let near = m1 + m2;
    let far = m3 + m4;
    let near_odd = NEAR * (m1 - m2);
    let far_odd = FAR * (m3 - m4);
    return array<vec4f, 4>(
        m0 + (near + far),
        near_odd + far_odd,
        fma(vec4f(FAR2), far, NEAR2 * near),
        fma(vec4f(FAR2), far_odd, fma(vec4f(NEAR2), near_odd, m5)),
    );
}

fn column(x: u32, i: u32) -> array<vec4f, 4> {
    let plane = p.tiles * p.o4;
    let at = x * plane + i;
    return interpolate(
        product[at], product[at + 6u * plane], product[at + 12u * plane],
        product[at + 18u * plane], product[at + 24u * plane], product[at + 30u * plane],
    );
}

fn put(image: u32, y: u32, x: u32, o: u32, value: vec4f) {
    if (x < p.w) {
        let element = ((image * p.h + y) * p.w + x) * p.o4 + o;
        output[element] = epilogue(value, element, o);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.tiles * p.o4) {
        return;
    }
    let tile = p.first + i / p.o4;
    let o = i % p.o4;
    let top = tile / p.tiles_w % p.tiles_h * 4u;
    let left = tile % p.tiles_w * 4u;
    let image = tile / (p.tiles_h * p.tiles_w);
    let c0 = column(0u, i);
    let c1 = column(1u, i);
    let c2 = column(2u, i);
    let c3 = column(3u, i);
    let c4 = column(4u, i);
    let c5 = column(5u, i);
    // In a loop: 16 copies of the epilogue would take drivers longer to compile than all the rest.
    for (var r = 0u; r < min(4u, p.h - top); r++) {
        let y = interpolate(pick(r, c0), pick(r, c1), pick(r, c2), pick(r, c3), pick(r, c4), pick(r, c5));
        put(image, top + r, left, o, y[0]);
        put(image, top + r, left + 1u, o, y[1]);
        put(image, top + r, left + 2u, o, y[2]);
        put(image, top + r, left + 3u, o, y[3]);
    }
}

fn pick(i: u32, c: array<vec4f, 4>) -> vec4f {
    return select(select(c[0], c[1], i == 1u), select(c[2], c[3], i == 3u), i >= 2u);
}
