// What the kernels that go through the steps of a sequence share: its inputs, its states, and numbers far below what f32
// holds. A workgroup of LANES invocations takes a sequence; its states are a blank, the first letter, a blank, the second
// letter, …, a blank. The header defines STEPS, CLASSES, MOST (letters), STATES (2 MOST + 1), BLANK and LANES.

struct Params { sequences: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;                // [sequences, STEPS, CLASSES]
@group(0) @binding(2) var<storage, read> labels: array<i32>;                // [sequences, MOST]
@group(0) @binding(3) var<storage, read> lengths: array<i32>;               // [sequences]
@group(0) @binding(4) var<storage, read_write> statistics: array<vec2f>;    // [sequences, STEPS]: maximum and sum

// x 2^y.
alias Wide = vec2f;
// The exponent of 0 is below what those of other numbers come to.
const LOWEST: f32 = -1e9;
const ZERO: Wide = Wide(0.0, LOWEST);
const ONE: Wide = Wide(1.0, 0.0);
// What is less likely, in a single step, counts as this likely.
const LEAST_EXPONENT: f32 = -16384.0;
const LOG2_E: f32 = 1.4426950408889634;
const LN_2: f32 = 0.6931471805599453;

// 2^y for whole y; 2^-126 if it is less.
fn power_of_two(y: f32) -> f32 {
    return bitcast<f32>(u32(i32(clamp(y, -126.0, 127.0)) + 127) << 23u);
}

fn sum(a: Wide, b: Wide, c: Wide) -> Wide {
    let y = max(a.y, max(b.y, c.y));
    return Wide(a.x * power_of_two(a.y - y) + b.x * power_of_two(b.y - y) + c.x * power_of_two(c.y - y), y);
}

// The product, its first part from 1 to 2.
fn product(a: Wide, b: Wide) -> Wide {
    let x = a.x * b.x;
    let shift = f32((bitcast<u32>(x) >> 23u) & 255u) - 127.0;
    return Wide(x * power_of_two(-shift), max(a.y + b.y + shift, LOWEST));
}

// The quotient, which is at most about 1.
fn quotient(a: Wide, b: Wide) -> f32 {
    return a.x / b.x * power_of_two(a.y - b.y);
}

// Letters of a label: its entries that are not padding.
fn letters_of(sequence: u32) -> u32 {
    var count = 0u;
    for (var i = 0u; i < MOST; i++) {
        count += select(0u, 1u, labels[sequence * MOST + i] >= 0);
    }
    return count;
}

// Whether all of them are classes other than the blank.
fn is_readable(sequence: u32, letters: u32) -> bool {
    var readable = true;
    for (var i = 0u; i < letters; i++) {
        let letter = labels[sequence * MOST + i];
        readable = readable && letter >= 0 && letter < i32(CLASSES) && letter != i32(BLANK);
    }
    return readable;
}

fn steps_of(sequence: u32) -> u32 {
    return u32(clamp(lengths[sequence], 0, i32(STEPS)));
}

fn class_of(sequence: u32, state: u32) -> u32 {
    if (state % 2u == 0u) {
        return BLANK;
    }
    return min(u32(labels[sequence * MOST + state / 2u]), CLASSES - 1u);
}

// Whether an alignment may come to a state from two before it, past a blank: not if the letters are equal, which would then
// be one.
fn skips_to(sequence: u32, state: u32) -> bool {
    return state >= 2u && class_of(sequence, state) != class_of(sequence, state - 2u);
}

// The probability of a state's class at a step.
fn emission(sequence: u32, step: u32, state: u32) -> Wide {
    let row = sequence * STEPS + step;
    let x = (logits[row * CLASSES + class_of(sequence, state)] - statistics[row].x) * LOG2_E;
    let whole = floor(max(x, LEAST_EXPONENT));
    return Wide(exp2(max(x, LEAST_EXPONENT) - whole) / statistics[row].y, whole);
}

// All that leads to a state at a step, from the states at the step before, which stand in row `before`.
fn arrive(sequence: u32, step: u32, state: u32, before: u32) -> Wide {
    var one = ZERO;
    var two = ZERO;
    if (state >= 1u) {
        one = state_at(sequence, before, state - 1u);
    }
    if (skips_to(sequence, state)) {
        two = state_at(sequence, before, state - 2u);
    }
    return product(sum(state_at(sequence, before, state), one, two), emission(sequence, step, state));
}

// An alignment ends in the last letter or the blank after it; `row` holds the states at the last step. 0 if the label
// cannot be read.
fn probability(sequence: u32, row: u32, letters: u32) -> Wide {
    var letter = ZERO;
    if (letters > 0u) {
        letter = state_at(sequence, row, 2u * letters - 1u);
    }
    let whole = sum(state_at(sequence, row, 2u * letters), letter, ZERO);
    if (is_readable(sequence, letters)) {
        return whole;
    }
    return ZERO;
}

