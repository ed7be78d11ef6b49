// The states of one step and the next, in scratch memory [sequences, 2, STATES]: the header declares `states`.

fn state_at(sequence: u32, row: u32, state: u32) -> vec2f {
    return states[(sequence * 2u + row) * STATES + state];
}

fn set_state(sequence: u32, row: u32, state: u32, value: vec2f) {
    states[(sequence * 2u + row) * STATES + state] = value;
}

fn meet() {
    storageBarrier();
}

