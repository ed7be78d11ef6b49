// Pads or crops up to four axes: one invocation per element of the result. Element j of an axis is element j - BEFORE of
// the input's; unsigned, a position before the first is beyond the last as well.
//
// The header defines V (one word, or four), IN and OUT per axis but the outermost, BEFORE, and VALUE, a word's bits; the
// innermost axis counts in units of V.

struct Params { n: u32, in0: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<V>;           // [in0, IN1, IN2, IN3]
@group(0) @binding(2) var<storage, read_write> output: array<V>;    // [.., OUT1, OUT2, OUT3]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let x3 = i % OUT3 - BEFORE3;
    let x2 = i / OUT3 % OUT2 - BEFORE2;
    let x1 = i / (OUT3 * OUT2) % OUT1 - BEFORE1;
    let x0 = i / (OUT3 * OUT2 * OUT1) - BEFORE0;
    var result = V(VALUE);
    if (x3 < IN3 && x2 < IN2 && x1 < IN1 && x0 < p.in0) {
        result = input[((x0 * IN1 + x1) * IN2 + x2) * IN3 + x3];
    }
    output[i] = result;
}
