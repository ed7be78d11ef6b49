// Part of an optimizer's kernel: a moving average of the parameters. BINDING is a number.

@group(0) @binding(BINDING) var<storage, read_write> average: array<vec4f>;   // [vectors]

fn averaged(i: u32, moved: vec4f) -> vec4f {
    average[i] = average[i] + p.renewed * (moved - average[i]);
    return moved;
}
