// For the gradient of connectionist temporal classification: given that a sequence reads as its label, the probability of
// each state at each step. Steps forward leave what leads to a state, steps backward multiply by what leads on.
//
// Inputs, states and numbers come from common/ctc.wgsl; `state_at`, `set_state` and `meet` from
// common/ctc_states_workgroup.wgsl or common/ctc_states_scratch.wgsl.

@group(0) @binding(5) var<storage, read_write> posteriors: array<Wide>;    // [sequences, STEPS, STATES], first parts
@group(0) @binding(6) var<storage, read_write> counted: array<u32>;        // [sequences], steps that count

// All that leads on from a state, to the states at the step after, which stand in row `after`.
fn leave(sequence: u32, state: u32, last: u32, after: u32) -> Wide {
    var one = ZERO;
    var two = ZERO;
    if (state + 1u <= last) {
        one = state_at(sequence, after, state + 1u);
    }
    if (state + 2u <= last && skips_to(sequence, state + 2u)) {
        two = state_at(sequence, after, state + 2u);
    }
    return sum(state_at(sequence, after, state), one, two);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let sequence = group.x + group.y * groups.x;
    if (sequence >= p.sequences) {
        return;
    }
    let letters = letters_of(sequence);
    let last = 2u * letters;
    let steps = steps_of(sequence);
    // The first step comes to the first blank and the first letter.
    for (var s = lane; s <= last; s += LANES) {
        set_state(sequence, 0u, s, select(ZERO, ONE, s == 0u));
    }
    meet();
    for (var t = 0u; t < steps; t++) {
        for (var s = lane; s <= last; s += LANES) {
            let alpha = arrive(sequence, t, s, t % 2u);
            set_state(sequence, (t + 1u) % 2u, s, alpha);
            posteriors[(sequence * STEPS + t) * STATES + s] = alpha;
        }
        meet();
    }
    let whole = probability(sequence, steps % 2u, letters);
    if (lane == 0u) {
        counted[sequence] = select(steps, 0u, whole.x == 0.0);
    }
    // Nobody may write again before all have read.
    meet();
    // The last step goes on from the last letter and the last blank.
    for (var s = lane; s <= last; s += LANES) {
        set_state(sequence, 0u, s, select(ZERO, ONE, s == last));
    }
    meet();
    for (var back = 0u; back < steps; back++) {
        let t = steps - 1u - back;
        for (var s = lane; s <= last; s += LANES) {
            let onward = leave(sequence, s, last, back % 2u);
            set_state(sequence, (back + 1u) % 2u, s, product(onward, emission(sequence, t, s)));
            let here = (sequence * STEPS + t) * STATES + s;
            posteriors[here].x = quotient(product(posteriors[here], onward), whole);
        }
        meet();
    }
}
