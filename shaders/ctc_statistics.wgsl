// What the softmax of each step's logits is made with: their maximum, and the sum of exp(logit - maximum).
//
// LANES invocations share a row; `row_max` and `row_sum` come from common/row_alone.wgsl or common/row_tree.wgsl. The
// header defines LANES, ROWS, STEPS and CLASSES.

struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;                // [n, STEPS, CLASSES]
@group(0) @binding(2) var<storage, read_write> statistics: array<vec2f>;    // [n, STEPS]

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let row = (group.x + group.y * groups.x) * ROWS + local.y;
    // Invocations beyond the last row work on it too, so that all meet at the barriers; they store nothing.
    let start = min(row, p.rows - 1u) * CLASSES;
    var largest = logits[start];
    for (var c = local.x; c < CLASSES; c += LANES) {
        largest = max(largest, logits[start + c]);
    }
    largest = row_max(largest, local);
    var total = 0.0;
    for (var c = local.x; c < CLASSES; c += LANES) {
        total += exp(logits[start + c] - largest);
    }
    total = row_sum(total, local);
    if (row < p.rows && local.x == 0u) {
        statistics[row] = vec2f(largest, total);
    }
}
