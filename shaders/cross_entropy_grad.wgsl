// Gradient of the cross-entropy with respect to its logits: g (softmax(logits) sum(t) - t), where t is the weighted,
// smoothed target from common/smoothed_target.wgsl.
//
// LANES invocations share a row; `row_max` and `row_sum` come from common/row_alone.wgsl or common/row_tree.wgsl. The
// header defines LANES, ROWS and CLASSES.

struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;               // [rows, CLASSES]
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;          // [rows]
@group(0) @binding(4) var<storage, read_write> grad_logits: array<f32>;    // [rows, CLASSES]

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
    for (var c = local.x; c < CLASSES; c += LANES) {
        total += exp(logits[start + c] - largest);
        mass += weighted_target(row, c);
    }
    total = row_sum(total, local);
    mass = row_sum(mass, local);
    if (number >= p.rows) {
        return;
    }
    let g = grad_output[row];
    for (var c = local.x; c < CLASSES; c += LANES) {
        let share = exp(logits[start + c] - largest) / total;
        grad_logits[start + c] = g * (share * mass - weighted_target(row, c));
    }
}
