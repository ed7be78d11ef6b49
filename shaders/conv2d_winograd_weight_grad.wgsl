// Winograd's F(4x4, 3x3), the gradient for the weight: dg = G' U G, the adjoint of conv2d_winograd_weight (A. Lavin & S.
// Gray, 2015, https://arxiv.org/abs/1509.09308). One invocation takes a channel and four filters.
//
// product [36, plane]; output [3, 3, plane], where a plane is [C, O] as vectors along O.
// Header: the points NEAR and FAR with what follows from them (ops/conv2d/points.rs).

struct Params { plane: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> product: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;

// G' times a column.
fn contract(u0: vec4f, u1: vec4f, u2: vec4f, u3: vec4f, u4: vec4f, u5: vec4f) -> array<vec4f, 3> {
    let near = AT_NEAR * u1 + AT_NEAR * u2;
    let far = AT_FAR * u3 + AT_FAR * u4;
    let near_odd = AT_NEAR * u1 - AT_NEAR * u2;
    let far_odd = AT_FAR * u3 - AT_FAR * u4;
    return array<vec4f, 3>(
        fma(vec4f(AT_ZERO), u0, near + far),
        fma(vec4f(FAR), far_odd, NEAR * near_odd),
        fma(vec4f(FAR2), far, fma(vec4f(NEAR2), near, u5)),
    );
}

fn column(x: u32, i: u32) -> array<vec4f, 3> {
    let at = x * p.plane + i;
    return contract(
        product[at], product[at + 6u * p.plane], product[at + 12u * p.plane],
        product[at + 18u * p.plane], product[at + 24u * p.plane], product[at + 30u * p.plane],
    );
}

fn put(ky: u32, i: u32, u0: vec4f, u1: vec4f, u2: vec4f, u3: vec4f, u4: vec4f, u5: vec4f) {
    let g = contract(u0, u1, u2, u3, u4, u5);
    let at = ky * 3u * p.plane + i;
    output[at] = g[0];
    output[at + p.plane] = g[1];
    output[at + 2u * p.plane] = g[2];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.plane) {
        return;
    }
    let c0 = column(0u, i);
    let c1 = column(1u, i);
    let c2 = column(2u, i);
    let c3 = column(3u, i);
    let c4 = column(4u, i);
    let c5 = column(5u, i);
    put(0u, i, c0[0], c1[0], c2[0], c3[0], c4[0], c5[0]);
    put(1u, i, c0[1], c1[1], c2[1], c3[1], c4[1], c5[1]);
    put(2u, i, c0[2], c1[2], c2[2], c3[2], c4[2], c5[2]);
}
