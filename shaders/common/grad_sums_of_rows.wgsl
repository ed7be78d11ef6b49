// Per channel, the sum of grad and the sum of grad times normalised x. The header defines EPSILON.

@group(0) @binding(1) var<storage, read> input: array<V>;           // [rows, C]
@group(0) @binding(2) var<storage, read> grad: array<V>;            // [rows, C]
@group(0) @binding(3) var<storage, read> moments: array<V>;         // [2, C]: mean and variance
@group(0) @binding(4) var<storage, read_write> output: array<V>;    // [parts, 2, C]

struct Part { n: f32, a: V, b: V }

fn gather(first: u32, end: u32, step: u32, c: u32) -> Part {
    let mean = moments[c];
    var total = Part(0.0, V(0.0), V(0.0));
    for (var r = first; r < end; r += step) {
        let g = grad[r * C + c];
        total.a += g;
        total.b += g * (input[r * C + c] - mean);
    }
    return total;
}

fn combine(x: Part, y: Part) -> Part {
    return Part(0.0, x.a + y.a, x.b + y.b);
}

fn store(part: u32, c: u32, total: Part) {
    output[2u * part * C + c] = total.a;
    output[(2u * part + 1u) * C + c] = total.b * inverseSqrt(moments[C + c] + EPSILON);
}
