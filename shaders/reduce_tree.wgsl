// Sum, mean or maximum along the middle of [outer, reduced, inner] with a tree in workgroup memory.
//
// A workgroup of LANES x ROWS invocations makes LANES neighbouring elements of the result: each invocation walks down
// its column in steps of ROWS, then halves of the rows are combined until one is left (M. Harris, Optimizing Parallel
// Reduction in CUDA, 2007). With parts > 1 a workgroup takes blocks part, part + parts, … of ROWS rows; the result
// [outer, parts, inner] is then reduced by a second launch. The order of a sum is fixed.
//
// The header defines the binding `input: array<f32>` [outer, reduced, INNER], INNER, LANES, ROWS (a power of two), MAX.

struct Params { outer: u32, reduced: u32, parts: u32, divisor: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;    // [outer, parts, INNER]

const TILES: u32 = (INNER + LANES - 1u) / LANES;
var<workgroup> rows: array<f32, LANES * ROWS>;

fn combine(a: f32, b: f32) -> f32 {
    if (MAX == 1u) {
        return max(a, b);
    }
    return a + b;
}

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let g = group.x + group.y * groups.x;
    let part = g / TILES % p.parts;
    // Invocations without an element work on another one's, so that all meet at the barriers; they store nothing.
    let c = min(g % TILES * LANES + local.x, INNER - 1u);
    let o = min(g / TILES / p.parts, p.outer - 1u);
    let start = o * p.reduced * INNER + c;
    var total = select(0.0, input[start], MAX == 1u);
    for (var r = part * ROWS + local.y; r < p.reduced; r += p.parts * ROWS) {
        total = combine(total, input[start + r * INNER]);
    }
    let here = local.y * LANES + local.x;
    rows[here] = total;
    workgroupBarrier();
    for (var half = ROWS / 2u; half > 0u; half /= 2u) {
        if (local.y < half) {
            rows[here] = combine(rows[here], rows[here + half * LANES]);
        }
        workgroupBarrier();
    }
    let valid = g % TILES * LANES + local.x < INNER && g / TILES / p.parts < p.outer;
    if (local.y == 0u && valid) {
        total = rows[here];
        if (p.divisor > 1u) {
            total /= f32(p.divisor);
        }
        output[(o * p.parts + part) * INNER + c] = total;
    }
}
