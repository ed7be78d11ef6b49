// Gradient of softmax, y (g - sum(g y)), or of its logarithm, g - exp(y) sum(g), along the last axis of [rows, LENGTH].
//
// LANES invocations share a row; `row_sum` comes from common/row_alone.wgsl or common/row_tree.wgsl. The header defines
// LENGTH, LANES, ROWS and LOG.

struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> result: array<f32>;              // [rows, LENGTH], what the op computed
@group(0) @binding(2) var<storage, read> grad_output: array<f32>;         // [rows, LENGTH]
@group(0) @binding(3) var<storage, read_write> grad_input: array<f32>;    // [rows, LENGTH]

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let row = (group.x + group.y * groups.x) * ROWS + local.y;
    // Invocations beyond the last row work on it too, so that all meet at the barriers; they store nothing.
    let start = min(row, p.rows - 1u) * LENGTH;
    var total = 0.0;
    for (var c = local.x; c < LENGTH; c += LANES) {
        let g = grad_output[start + c];
        if (LOG == 1u) {
            total += g;
        } else {
            total += g * result[start + c];
        }
    }
    total = row_sum(total, local);
    if (row >= p.rows) {
        return;
    }
    for (var c = local.x; c < LENGTH; c += LANES) {
        let g = grad_output[start + c];
        let y = result[start + c];
        if (LOG == 1u) {
            grad_input[start + c] = g - exp(y) * total;
        } else {
            grad_input[start + c] = y * (g - total);
        }
    }
}
