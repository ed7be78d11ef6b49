// Sum, mean or maximum along the middle of [outer, reduced, inner]: one invocation per element of the result, registers
// only.
//
// With parts > 1 invocation (o, part, c) takes rows part, part + parts, …; the result [outer, parts, inner] is then
// reduced by a second launch. Neighbouring invocations read neighbouring elements, and the order of a sum is fixed.
//
// The header defines V (f32, or vec4f over inner), the binding `input: array<V>` [outer, reduced, INNER], INNER in
// units of V, and MAX.

struct Params { outer: u32, reduced: u32, parts: u32, divisor: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> output: array<V>;    // [outer, parts, INNER]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.outer * p.parts * INNER) {
        return;
    }
    let o = i / INNER / p.parts;
    let part = i / INNER % p.parts;
    var at = (o * p.reduced + part) * INNER + i % INNER;
    var total = input[at];
    for (var r = part + p.parts; r < p.reduced; r += p.parts) {
        at += p.parts * INNER;
        let x = input[at];
        if (MAX == 1u) {
            total = max(total, x);
        } else {
            total += x;
        }
    }
    if (p.divisor > 1u) {
        total /= f32(p.divisor);
    }
    output[i] = total;
}
