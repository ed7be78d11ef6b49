// Mean and biased variance: a part is its number of elements, their mean, and the sum of squared differences from it.

struct Part { n: f32, a: V, b: V }

// T. Chan, G. Golub, R. LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
fn combine(x: Part, y: Part) -> Part {
    let n = x.n + y.n;
    let share = y.n / max(n, 1.0);
    let difference = y.a - x.a;
    return Part(n, x.a + difference * share, x.b + y.b + difference * difference * (x.n * share));
}
