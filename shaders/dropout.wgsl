// Dropout: keeps an element if its random number is at least the threshold, and multiplies it by the scale. One
// invocation makes four elements.
//
// The random number is a hash of seed, step and the element's position (lowbias32, C. Wellons,
// <https://github.com/skeeto/hash-prospector>), with the same integer arithmetic as in src/ops/dropout.rs: every device
// drops the same elements, and the gradient needs no stored mask.

struct Params { n: u32, seed: u32, threshold: u32, scale: f32, per_picture: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> step_number: array<i32>;    // [2]: the step, its first picture here
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

fn scramble(value: vec4u) -> vec4u {
    var x = value;
    x = (x ^ (x >> vec4u(16u))) * 0x7feb352du;
    x = (x ^ (x >> vec4u(15u))) * 0x846ca68bu;
    return x ^ (x >> vec4u(16u));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let key = scramble(vec4u(p.seed));
    let step_key = scramble(key ^ vec4u(bitcast<u32>(step_number[0])));
    let start = bitcast<u32>(step_number[1]) * p.per_picture;
    let position = vec4u(start + 4u * i) + vec4u(0u, 1u, 2u, 3u);
    let hash = scramble(scramble(position ^ key) + step_key);
    output[i] = select(vec4f(0.0), input[i] * p.scale, hash >= vec4u(p.threshold));
}
