// The states of one step and the next, in workgroup memory.

var<workgroup> states: array<vec2f, 2u * STATES>;

fn state_at(sequence: u32, row: u32, state: u32) -> vec2f {
    return states[row * STATES + state];
}

fn set_state(sequence: u32, row: u32, state: u32, value: vec2f) {
    states[row * STATES + state] = value;
}

fn meet() {
    workgroupBarrier();
}

