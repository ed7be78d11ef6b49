// A few numbers for each channel of [items, C], registers only: one invocation for each part of the items and each channel
// (or four neighbouring channels).
//
// Items are rows of a tensor in the first launch, whose result [parts, 2, C] is the second launch's items. The order of
// a sum is fixed.
//
// The header defines V (f32, or vec4f over channels), C in units of V, the bindings, and what is computed:
// gather, combine and store.

struct Params { items: u32, length: u32, parts: u32, rows: u32, rows_per_item: u32 }
@group(0) @binding(0) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.parts * C) {
        return;
    }
    let part = i / C;
    let first = part * p.length;
    store(part, i % C, gather(first, min(first + p.length, p.items), 1u, i % C));
}
