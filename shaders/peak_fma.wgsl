// Multiply-adds on registers alone: what an adapter reaches at best. Each invocation runs eight independent chains of
// vec4, enough to hide the latency of one.
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;             // [1]
@group(0) @binding(2) var<storage, read_write> output: array<f32>;    // [n]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    let a = x[0];
    let b = a * 1e-6;
    var c0 = a + f32(i); var c1 = c0 + b; var c2 = c1 + b; var c3 = c2 + b;
    var c4 = c3 + b; var c5 = c4 + b; var c6 = c5 + b; var c7 = c6 + b;
    for (var step = 0u; step < STEPS; step++) {
        c0 = fma(c0, a, b); c1 = fma(c1, a, b); c2 = fma(c2, a, b); c3 = fma(c3, a, b);
        c4 = fma(c4, a, b); c5 = fma(c5, a, b); c6 = fma(c6, a, b); c7 = fma(c7, a, b);
    }
    let sum = (c0 + c1 + c2 + c3) + (c4 + c5 + c6 + c7);
    if (i < p.n) {
        output[i] = sum.x + sum.y + sum.z + sum.w;
    }
}
