// The weight of a convolution as its gradient for the input needs it: [KH, KW, C, O] -> [KH, KW, O, C], the taps in
// reverse order. Header: TAPS = KH * KW, C, O.

struct Params { unused: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read_write> flipped: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u + p.unused;
    if (i >= TAPS * C * O) {
        return;
    }
    let tap = TAPS - 1u - i / (C * O);
    flipped[i] = weight[(tap * C + i % C) * O + i / C % O];
}
