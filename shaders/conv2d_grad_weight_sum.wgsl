// Adds up the PARTS partial gradients of a convolution's weight, in order. V is f32, or vec4f.
// Header: V, ELEMENTS (of the gradient, in V), PARTS.

struct Params { unused: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> partial: array<V>;    // [PARTS, ELEMENTS]
@group(0) @binding(2) var<storage, read_write> output: array<V>;     // [ELEMENTS]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u + p.unused;
    if (i >= ELEMENTS) {
        return;
    }
    var sum = partial[i];
    for (var part = 1u; part < PARTS; part++) {
        sum += partial[part * ELEMENTS + i];
    }
    output[i] = sum;
}
