// Position of the first maximum along the middle of [outer, reduced, inner]: one invocation per element of the result.

struct Params { outer: u32, reduced: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;           // [outer, reduced, INNER]
@group(0) @binding(2) var<storage, read_write> output: array<i32>;    // [outer, INNER]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.outer * INNER) {
        return;
    }
    let start = i / INNER * p.reduced * INNER + i % INNER;
    var largest = input[start];
    var position = 0u;
    for (var r = 1u; r < p.reduced; r++) {
        let x = input[start + r * INNER];
        if (x > largest) {
            largest = x;
            position = r;
        }
    }
    output[i] = i32(position);
}
