// Standard normal numbers: the quantiles of evenly distributed ones. One invocation makes four.
//
// The quantile is by M. Giles, Approximating the erfinv function, GPU Computing Gems 2, 2011, in its form for f32. It needs
// no sine or cosine, of which WGSL demands little accuracy.

struct Params { n: u32, seed: u32, per_picture: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> step_number: array<i32>;    // [2]: the step, its first picture here
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;

fn quantile(x: vec4f) -> vec4f {
    let w = -log((1.0 - x) * (1.0 + x));
    let a = w - 2.5;
    var near = 3.43273939e-7 + 2.81022636e-8 * a;
    near = -3.5233877e-6 + near * a;
    near = -4.39150654e-6 + near * a;
    near = 0.00021858087 + near * a;
    near = -0.00125372503 + near * a;
    near = -0.00417768164 + near * a;
    near = 0.246640727 + near * a;
    near = 1.50140941 + near * a;
    let b = sqrt(max(w, vec4f(0.0))) - 3.0;
    var far = 0.000100950558 - 0.000200214257 * b;
    far = 0.00134934322 + far * b;
    far = -0.00367342844 + far * b;
    far = 0.00573950773 + far * b;
    far = -0.0076224613 + far * b;
    far = 0.00943887047 + far * b;
    far = 1.00167406 + far * b;
    far = 2.83297682 + far * b;
    return 1.41421356 * x * select(far, near, w < vec4f(5.0));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let bits = random_bits(p.seed, step_number[0], step_number[1], p.per_picture, 4u * i);
    // The middles of 2^24 parts of -1 to 1, exact in f32.
    let x = vec4f(vec4i(2u * (bits >> vec4u(8u)) + 1u) - (1 << 24u)) / 16777216.0;
    output[i] = quantile(x);
}
