// Cross-entropy of softmax(logits), one loss per row: sum over c of t[c] (log(sum(exp(logits))) - logits[c]), where t is
// the weighted, smoothed target from common/smoothed_target.wgsl. Shifted by the row's maximum, both parts are positive.
//
// LANES invocations share a row; `row_max` and `row_sum` come from common/row_alone.wgsl or common/row_tree.wgsl. The
// header defines LANES, ROWS and CLASSES.

struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;          // [rows, CLASSES]
@group(0) @binding(3) var<storage, read_write> output: array<f32>;    // [rows]

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let number = (group.x + group.y * groups.x) * ROWS + local.y;
    // Invocations beyond the last row work on it too, so that all meet at the barriers; they store nothing.
    let row = min(number, p.rows - 1u);
    let start = row * CLASSES;
    var largest = logits[start];
    for (var c = local.x; c < CLASSES; c += LANES) {
        largest = max(largest, logits[start + c]);
    }
    largest = row_max(largest, local);
    var total = 0.0;
    var mass = 0.0;
    var distance = 0.0;
    for (var c = local.x; c < CLASSES; c += LANES) {
        let x = logits[start + c] - largest;
        let t = weighted_target(row, c);
        total += exp(x);
        mass += t;
        distance -= t * x;
    }
    total = row_sum(total, local);
    mass = row_sum(mass, local);
    distance = row_sum(distance, local);
    if (number < p.rows && local.x == 0u) {
        output[row] = mass * log(total) + distance;
    }
}
