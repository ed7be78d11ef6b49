// Writes one input of a concatenation to its place: row r of [rows, ROW] to columns OFFSET.. of row r of [rows, STRIDE].
// The header defines V (one word, or four), and ROW, OFFSET, STRIDE in units of V.

struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<V>;           // [rows, ROW]
@group(0) @binding(2) var<storage, read_write> output: array<V>;    // [rows, STRIDE]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i < p.n) {
        output[i / ROW * STRIDE + OFFSET + i % ROW] = input[i];
    }
}
