// Gradient of gathering rows: each element of the table's gradient looks through all ids and adds what was gathered from
// it. No atomics, and a fixed order of sums. The header defines V (f32 or vec4f) and ROW in units of V.

struct Params { n: u32, ids: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> ids: array<i32>;               // [ids]
@group(0) @binding(2) var<storage, read> grad_output: array<V>;         // [ids, ROW]
@group(0) @binding(3) var<storage, read_write> grad_table: array<V>;    // [n / ROW, ROW]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let row = i32(i / ROW);
    var total = V(0.0);
    for (var k = 0u; k < p.ids; k++) {
        if (ids[k] == row) {
            total += grad_output[k * ROW + i % ROW];
        }
    }
    grad_table[i] = total;
}
