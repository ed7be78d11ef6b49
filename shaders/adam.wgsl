// Adam and AdamW; see src/train/optimizers/adam.rs.
// The header defines WORKGROUP, and refined, which has the last word on where parameters move.
// One invocation moves four consecutive elements of the arena. The first `decayed` vectors are subject to weight decay.
struct Params { rate: f32, first: f32, second: f32, epsilon: f32, decay: f32, vectors: u32, decayed: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> parameters: array<vec4f>;   // [vectors]
@group(0) @binding(2) var<storage, read> gradients: array<vec4f>;          // [vectors]
@group(0) @binding(3) var<storage, read> gradient_scale: array<f32>;       // [1]
@group(0) @binding(4) var<storage, read_write> first_moment: array<vec4f>;  // [vectors]
@group(0) @binding(5) var<storage, read_write> second_moment: array<vec4f>; // [vectors]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * WORKGROUP;
    if (i >= p.vectors) {
        return;
    }
    let decay = select(1.0, p.decay, i < p.decayed);
    let g = gradients[i] * gradient_scale[0];
    let m = first_moment[i] + (g - first_moment[i]) * p.first;
    let v = second_moment[i] + (g * g - second_moment[i]) * p.second;
    first_moment[i] = m;
    second_moment[i] = v;
    parameters[i] = refined(i, parameters[i] * decay - p.rate * m / (sqrt(v) + p.epsilon));
}
