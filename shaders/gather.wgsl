// Rows of a table by id: one invocation per element of the result. An id that is no row gives zeros. The header defines V
// (one word, or four) and ROW in units of V.

struct Params { n: u32, rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<V>;           // [rows, ROW]
@group(0) @binding(2) var<storage, read> ids: array<i32>;           // [n / ROW]
@group(0) @binding(3) var<storage, read_write> output: array<V>;    // [n / ROW, ROW]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let row = u32(ids[i / ROW]);
    var result = V(0u);
    if (row < p.rows) {
        result = table[row * ROW + i % ROW];
    }
    output[i] = result;
}
