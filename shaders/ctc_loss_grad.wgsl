// Gradient of connectionist temporal classification with respect to the logits: g (softmax - probability of the class
// given the label), from what ctc_posteriors.wgsl leaves.
//
// LANES invocations share a step; `row_sum` comes from common/row_alone.wgsl or common/row_tree.wgsl. The header defines
// LANES, ROWS, STEPS, CLASSES, MOST, STATES and BLANK.

struct Params { rows: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;                // [n, STEPS, CLASSES]
@group(0) @binding(2) var<storage, read> labels: array<i32>;                // [n, MOST]
@group(0) @binding(3) var<storage, read> grad_output: array<f32>;           // [n]
@group(0) @binding(4) var<storage, read_write> statistics: array<vec2f>;    // [n, STEPS]: maximum and sum
@group(0) @binding(5) var<storage, read_write> posteriors: array<vec2f>;    // [n, STEPS, STATES]
@group(0) @binding(6) var<storage, read_write> counted: array<u32>;         // [n]
@group(0) @binding(7) var<storage, read_write> grad_logits: array<f32>;     // [n, STEPS, CLASSES]

fn gradient(row: u32, c: u32, posterior: f32) -> f32 {
    let s = statistics[row];
    return grad_output[row / STEPS] * (exp(logits[row * CLASSES + c] - s.x) / s.y - posterior);
}

@compute @workgroup_size(LANES, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let number = (group.x + group.y * groups.x) * ROWS + local.y;
    // Invocations beyond the last row work on it too, so that all meet at the barriers; they store nothing.
    let row = min(number, p.rows - 1u);
    let sequence = row / STEPS;
    let counts = row % STEPS < counted[sequence];
    var letters = 0u;
    for (var i = 0u; i < MOST; i++) {
        letters += select(0u, 1u, counts && labels[sequence * MOST + i] >= 0);
    }
    var blank = 0.0;
    if (counts) {
        for (var i = local.x; i <= letters; i += LANES) {
            blank += posteriors[row * STATES + 2u * i].x;
        }
    }
    blank = row_sum(blank, local);
    if (number < p.rows) {
        for (var c = local.x; c < CLASSES; c += LANES) {
            grad_logits[row * CLASSES + c] = select(0.0, gradient(row, c, select(0.0, blank, c == BLANK)), counts);
        }
    }
    // Then what holds for the classes of letters.
    storageBarrier();
    if (number >= p.rows) {
        return;
    }
    for (var i = local.x; i < letters; i += LANES) {
        let letter = labels[sequence * MOST + i];
        // The first of equal letters stands for all.
        var first = true;
        for (var j = 0u; j < i; j++) {
            first = first && labels[sequence * MOST + j] != letter;
        }
        if (first) {
            var posterior = 0.0;
            for (var j = i; j < letters; j++) {
                if (labels[sequence * MOST + j] == letter) {
                    posterior += posteriors[row * STATES + 2u * j + 1u].x;
                }
            }
            grad_logits[row * CLASSES + u32(letter)] = gradient(row, u32(letter), posterior);
        }
    }
}
