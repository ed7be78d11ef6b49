// [outer, A, B] -> [outer, B, A] in blocks of 4x4, each turned in the registers of one invocation: four vector loads and
// four vector stores for sixteen elements. The header defines A and B, both multiples of 4.

struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4u>;           // [outer, A, B / 4]
@group(0) @binding(2) var<storage, read_write> output: array<vec4u>;    // [outer, B, A / 4]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let a = i % (A / 4u);
    let b = i / (A / 4u) % (B / 4u);
    let o = i / (A / 4u * (B / 4u));
    let source = (o * A + 4u * a) * (B / 4u) + b;
    let r0 = input[source];
    let r1 = input[source + B / 4u];
    let r2 = input[source + B / 4u * 2u];
    let r3 = input[source + B / 4u * 3u];
    let sink = (o * B + 4u * b) * (A / 4u) + a;
    output[sink] = vec4u(r0.x, r1.x, r2.x, r3.x);
    output[sink + A / 4u] = vec4u(r0.y, r1.y, r2.y, r3.y);
    output[sink + A / 4u * 2u] = vec4u(r0.z, r1.z, r2.z, r3.z);
    output[sink + A / 4u * 3u] = vec4u(r0.w, r1.w, r2.w, r3.w);
}
