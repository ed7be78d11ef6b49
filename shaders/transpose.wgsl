// Swaps the two middle axes, [outer, A, B, INNER] -> [outer, B, A, INNER]: one invocation per element of the result, which
// it fetches. The header defines V (one word, or four along INNER), A, B, and INNER in units of V.

struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<V>;           // [outer, A, B, INNER]
@group(0) @binding(2) var<storage, read_write> output: array<V>;    // [outer, B, A, INNER]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let a = i / INNER % A;
    let b = i / (INNER * A) % B;
    let o = i / (INNER * A * B);
    output[i] = input[((o * A + a) * B + b) * INNER + i % INNER];
}
