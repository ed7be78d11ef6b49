// Winograd's F(4x4, 3x3), the weight: U = G g G' for each channel and filter (A. Lavin & S. Gray, Fast Algorithms for
// Convolutional Neural Networks, 2015, https://arxiv.org/abs/1509.09308).
//
// weight [3, 3, c, o], or [3, 3, o, c] with the taps in reverse order if FLIP; transformed [36, c, o].
// Header: FLIP; the points NEAR and FAR with what follows from them (ops/conv2d/points.rs).

struct Params { c: u32, o: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> transformed: array<f32>;

fn tap(ky: u32, kx: u32, i: u32) -> f32 {
    if (FLIP == 1u) {
        return weight[((8u - ky * 3u - kx) * p.o + i % p.o) * p.c + i / p.o];
    }
    return weight[(ky * 3u + kx) * p.c * p.o + i];
}

// G times a column.
fn expand(g0: f32, g1: f32, g2: f32) -> array<f32, 6> {
    let near = fma(NEAR2, g2, g0);
    let far = fma(FAR2, g2, g0);
    return array<f32, 6>(
        AT_ZERO * g0,
        AT_NEAR * fma(NEAR, g1, near),
        AT_NEAR * fma(-NEAR, g1, near),
        AT_FAR * fma(FAR, g1, far),
        AT_FAR * fma(-FAR, g1, far),
        g2,
    );
}

fn column(kx: u32, i: u32) -> array<f32, 6> {
    return expand(tap(0u, kx, i), tap(1u, kx, i), tap(2u, kx, i));
}

fn put(row: u32, i: u32, g0: f32, g1: f32, g2: f32) {
    let u = expand(g0, g1, g2);
    let at = row * 6u * p.c * p.o + i;
    transformed[at] = u[0];
    transformed[at + p.c * p.o] = u[1];
    transformed[at + 2u * p.c * p.o] = u[2];
    transformed[at + 3u * p.c * p.o] = u[3];
    transformed[at + 4u * p.c * p.o] = u[4];
    transformed[at + 5u * p.c * p.o] = u[5];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.c * p.o) {
        return;
    }
    let c0 = column(0u, i);
    let c1 = column(1u, i);
    let c2 = column(2u, i);
    put(0u, i, c0[0], c1[0], c2[0]);
    put(1u, i, c0[1], c1[1], c2[1]);
    put(2u, i, c0[2], c1[2], c2[2]);
    put(3u, i, c0[3], c1[3], c2[3]);
    put(4u, i, c0[4], c1[4], c2[4]);
    put(5u, i, c0[5], c1[5], c2[5]);
}
