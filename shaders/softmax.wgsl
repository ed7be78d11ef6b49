// Softmax or its logarithm along the last axis of [rows, LENGTH], shifted by the row's maximum: exp of a value above 88
// overflows f32.
//
// LANES invocations share a row; `row_max` and `row_sum` come from common/row_alone.wgsl or common/row_tree.wgsl. The
// header defines LENGTH, LANES, ROWS and LOG.

struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;           // [rows, LENGTH]
@group(0) @binding(2) var<storage, read_write> output: array<f32>;    // [rows, LENGTH]

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let row = (group.x + group.y * groups.x) * ROWS + local.y;
    // Invocations beyond the last row work on it too, so that all meet at the barriers; they store nothing.
    let start = min(row, p.rows - 1u) * LENGTH;
    var largest = input[start];
    for (var c = local.x; c < LENGTH; c += LANES) {
        largest = max(largest, input[start + c]);
    }
    largest = row_max(largest, local);
    var total = 0.0;
    for (var c = local.x; c < LENGTH; c += LANES) {
        total += exp(input[start + c] - largest);
    }
    total = row_sum(total, local);
    if (row >= p.rows) {
        return;
    }
    let logarithm = log(total);
    for (var c = local.x; c < LENGTH; c += LANES) {
        let x = input[start + c];
        if (LOG == 1u) {
            // The difference first: it is exact where the result is small, and the sum would be rounded.
            output[start + c] = (x - largest) - logarithm;
        } else {
            output[start + c] = exp(x - largest) / total;
        }
    }
}
