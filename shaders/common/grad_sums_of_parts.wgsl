// Adds what grad_sums_of_rows left for each part.

@group(0) @binding(1) var<storage, read_write> parts: array<V>;     // [items, 2, C]
@group(0) @binding(2) var<storage, read_write> output: array<V>;    // [1, 2, C]

struct Part { n: f32, a: V, b: V }

fn gather(first: u32, end: u32, step: u32, c: u32) -> Part {
    var total = Part(0.0, V(0.0), V(0.0));
    for (var i = first; i < end; i += step) {
        total.a += parts[2u * i * C + c];
        total.b += parts[(2u * i + 1u) * C + c];
    }
    return total;
}

fn combine(x: Part, y: Part) -> Part {
    return Part(0.0, x.a + y.a, x.b + y.b);
}

fn store(part: u32, c: u32, total: Part) {
    output[2u * part * C + c] = total.a;
    output[(2u * part + 1u) * C + c] = total.b;
}
