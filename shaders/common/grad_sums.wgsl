// The sum of grad, and the sum of grad times centred x.

struct Part { n: f32, a: V, b: V }

fn combine(x: Part, y: Part) -> Part {
    return Part(0.0, x.a + y.a, x.b + y.b);
}
