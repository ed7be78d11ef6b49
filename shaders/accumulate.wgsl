// Adds the gradients of a part of a step to the sum of those of the parts before: sum = keep * sum + share * gradients.
// `keep` is 0 for the first part, where the sum may hold anything, else 1. One invocation adds four elements.
struct Params { share: f32, keep: f32, vectors: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> gradients: array<vec4f>;    // [vectors]
@group(0) @binding(2) var<storage, read_write> sum: array<vec4f>;    // [vectors]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.vectors) {
        return;
    }
    let before = select(vec4f(0.0), sum[i], p.keep != 0.0);
    sum[i] = before + p.share * gradients[i];
}
