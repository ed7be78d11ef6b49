// Connectionist temporal classification: -log of the probability of each sequence's label, the sum over all alignments,
// step by step. 0 where there is none.
//
// Inputs, states and numbers come from common/ctc.wgsl; `state_at`, `set_state` and `meet` from
// common/ctc_states_workgroup.wgsl or common/ctc_states_scratch.wgsl.

@group(0) @binding(5) var<storage, read_write> output: array<f32>;    // [sequences]

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
    let steps = steps_of(sequence);
    // The first step comes to the first blank and the first letter.
    for (var s = lane; s <= 2u * letters; s += LANES) {
        set_state(sequence, 0u, s, select(ZERO, ONE, s == 0u));
    }
    meet();
    for (var t = 0u; t < steps; t++) {
        for (var s = lane; s <= 2u * letters; s += LANES) {
            set_state(sequence, (t + 1u) % 2u, s, arrive(sequence, t, s, t % 2u));
        }
        meet();
    }
    if (lane == 0u) {
        let whole = probability(sequence, steps % 2u, letters);
        output[sequence] = select(-(log(whole.x) + whole.y * LN_2), 0.0, whole.x == 0.0);
    }
}
