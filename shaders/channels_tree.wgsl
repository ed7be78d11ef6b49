// A few numbers for each channel of [items, C] with a tree in workgroup memory: a workgroup of LANES x ROWS invocations for
// each part of the items and LANES neighbouring channels.
//
// Each invocation walks down its column in steps of ROWS, then halves of the rows are combined until one is left
// (M. Harris, Optimizing Parallel Reduction in CUDA, 2007). Items are rows of a tensor in the first launch, whose result
// [parts, 2, C] is the second launch's items. The order of a sum is fixed.
//
// The header defines V (f32, or vec4f over channels), C, LANES, ROWS (a power of two), the bindings, and what is computed:
// gather, combine and store.

struct Params { items: u32, length: u32, parts: u32, rows: u32, rows_per_item: u32 }
@group(0) @binding(0) var<uniform> p: Params;

const TILES: u32 = (C + LANES - 1u) / LANES;
var<workgroup> counts: array<f32, LANES * ROWS>;
var<workgroup> firsts: array<V, LANES * ROWS>;
var<workgroup> seconds: array<V, LANES * ROWS>;

fn load(i: u32) -> Part {
    return Part(counts[i], firsts[i], seconds[i]);
}

fn keep(i: u32, part: Part) {
    counts[i] = part.n;
    firsts[i] = part.a;
    seconds[i] = part.b;
}

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let g = group.x + group.y * groups.x;
    // Invocations without a channel or a part work on another one's, so that all meet at the barriers; they store nothing.
    let c = min(g % TILES * LANES + local.x, C - 1u);
    let part = min(g / TILES, p.parts - 1u);
    let first = part * p.length;
    let here = local.y * LANES + local.x;
    keep(here, gather(first + local.y, min(first + p.length, p.items), ROWS, c));
    workgroupBarrier();
    for (var half = ROWS / 2u; half > 0u; half /= 2u) {
        if (local.y < half) {
            keep(here, combine(load(here), load(here + half * LANES)));
        }
        workgroupBarrier();
    }
    if (local.y == 0u && g % TILES * LANES + local.x < C && g / TILES < p.parts) {
        store(part, c, load(here));
    }
}
