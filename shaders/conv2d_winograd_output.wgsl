// Winograd's F(2x2, 3x3), the result: Y = A' M A, two by two pixels of each tile (A. Lavin & S. Gray, 2015,
// https://arxiv.org/abs/1509.09308). One invocation takes a tile of four filters.
//
// product [16, tiles, O], tiles [n, TILES_H, TILES_W]; output [n, OH, OW, O] (both as vectors along O).
// Header: the extents; fn epilogue(value, element, column).

struct Params { tiles: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> product: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;

const O4: u32 = O / 4u;

// A' times a column: two pixels.
fn column(plane: u32, i: u32) -> array<vec4f, 2> {
    let size = p.tiles * O4;
    let m0 = product[plane * size + i];
    let m1 = product[(plane + 4u) * size + i];
    let m2 = product[(plane + 8u) * size + i];
    let m3 = product[(plane + 12u) * size + i];
    return array<vec4f, 2>(m0 + m1 + m2, m1 - m2 - m3);
}

fn put(image: u32, y: u32, x: u32, o: u32, value: vec4f) {
    if (y < OH && x < OW) {
        let element = ((image * OH + y) * OW + x) * O4 + o;
        output[element] = epilogue(value, element, o);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.tiles * O4) {
        return;
    }
    let tile = i / O4;
    let o = i % O4;
    let y = tile / TILES_W % TILES_H * 2u;
    let x = tile % TILES_W * 2u;
    let image = tile / (TILES_H * TILES_W);
    let c0 = column(0u, i);
    let c1 = column(1u, i);
    let c2 = column(2u, i);
    let c3 = column(3u, i);
    put(image, y, x, o, c0[0] + c1[0] + c2[0]);
    put(image, y, x + 1u, o, c1[0] - c2[0] - c3[0]);
    put(image, y + 1u, x, o, c0[1] + c1[1] + c2[1]);
    put(image, y + 1u, x + 1u, o, c1[1] - c2[1] - c3[1]);
}
