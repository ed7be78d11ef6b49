// Winograd's F(2x2, 3x3), the weight: U = G g G' for each channel and filter (A. Lavin & S. Gray, Fast Algorithms for
// Convolutional Neural Networks, 2015, https://arxiv.org/abs/1509.09308).
//
// weight [3, 3, C, O], or [3, 3, O, C] with the taps in reverse order if FLIP; transformed [16, C, O].
// Header: C, O, FLIP.

struct Params { unused: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> transformed: array<f32>;

fn tap(ky: u32, kx: u32, i: u32) -> f32 {
    if (FLIP == 1u) {
        return weight[((8u - ky * 3u - kx) * O + i % O) * C + i / O];
    }
    return weight[(ky * 3u + kx) * C * O + i];
}

// G times a column.
fn expand(x: vec3f) -> vec4f {
    let middle = 0.5 * (x.x + x.z);
    return vec4f(x.x, middle + 0.5 * x.y, middle - 0.5 * x.y, x.z);
}

fn put(row: u32, i: u32, x: vec3f) {
    let y = expand(x);
    transformed[row * 4u * C * O + i] = y.x;
    transformed[(row * 4u + 1u) * C * O + i] = y.y;
    transformed[(row * 4u + 2u) * C * O + i] = y.z;
    transformed[(row * 4u + 3u) * C * O + i] = y.w;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u + p.unused;
    if (i >= C * O) {
        return;
    }
    let left = expand(vec3f(tap(0u, 0u, i), tap(1u, 0u, i), tap(2u, 0u, i)));
    let middle = expand(vec3f(tap(0u, 1u, i), tap(1u, 1u, i), tap(2u, 1u, i)));
    let right = expand(vec3f(tap(0u, 2u, i), tap(1u, 2u, i), tap(2u, 2u, i)));
    put(0u, i, vec3f(left.x, middle.x, right.x));
    put(1u, i, vec3f(left.y, middle.y, right.y));
    put(2u, i, vec3f(left.z, middle.z, right.z));
    put(3u, i, vec3f(left.w, middle.w, right.w));
}
