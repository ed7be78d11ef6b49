// Dropout: keeps an element if its random number is at least the threshold, and multiplies it by the scale. One
// invocation makes four elements.
//
// The random number is a function of seed, step and the element's position: every device drops the same elements, and the
// gradient needs no stored mask.

struct Params { n: u32, seed: u32, threshold: u32, scale: f32, per_picture: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> step_number: array<i32>;    // [2]: the step, its first picture here
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let bits = random_bits(p.seed, step_number[0], step_number[1], p.per_picture, 4u * i);
    output[i] = select(vec4f(0.0), input[i] * p.scale, bits >= vec4u(p.threshold));
}
