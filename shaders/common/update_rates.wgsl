// Part of an optimizer's kernel: each parameter's step is multiplied by a factor of its own. BINDING is a number.

@group(0) @binding(BINDING) var<storage, read_write> rates: array<vec4f>;   // [vectors]

fn rated(i: u32, moved: vec4f) -> vec4f {
    let before = parameters[i];
    return select(before + rates[i] * (moved - before), moved, rates[i] == vec4f(1.0));
}
