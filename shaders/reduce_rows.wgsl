// Sum, mean or maximum along the last axis of [outer, reduced]: one invocation per element of the result, registers only,
// four elements a load.
//
// With parts > 1 invocation (o, part) takes vectors part, part + parts, …; the result [outer, parts] is then reduced by a
// second launch. The order of a sum is fixed.
//
// The header defines the binding `input: array<vec4f>` [outer, reduced], and MAX. `reduced` counts vectors.

struct Params { outer: u32, reduced: u32, parts: u32, divisor: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;    // [outer, parts]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.outer * p.parts) {
        return;
    }
    let part = i % p.parts;
    var at = i / p.parts * p.reduced + part;
    var lanes = input[at];
    for (var r = part + p.parts; r < p.reduced; r += p.parts) {
        at += p.parts;
        let x = input[at];
        if (MAX == 1u) {
            lanes = max(lanes, x);
        } else {
            lanes += x;
        }
    }
    var total = (lanes.x + lanes.y) + (lanes.z + lanes.w);
    if (MAX == 1u) {
        total = max(max(lanes.x, lanes.y), max(lanes.z, lanes.w));
    }
    if (p.divisor > 1u) {
        total /= f32(p.divisor);
    }
    output[i] = total;
}
