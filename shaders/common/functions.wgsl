// Scalar functions which WGSL lacks, on V: f32 or a vector of it, as the shader defines. Names end in an underscore so
// that they never meet a built-in. No result depends on infinities or NaN: drivers may assume that they never occur.

fn sigmoid_(x: V) -> V {
    return 1.0 / (1.0 + exp(-clamp(x, V(-87.0), V(87.0))));
}

// exp overflows far out in some drivers' tanh; beyond 10 the result is 1 in f32 anyway. Near 0, where the quotient
// would cancel, the odd Taylor polynomial.
fn tanh_(x: V) -> V {
    let e = exp(2.0 * clamp(x, V(-10.0), V(10.0)));
    let x2 = x * x;
    let small = x * (1.0 + x2 * (-0.33333333 + x2 * (0.13333333 + x2 * -0.053968254)));
    return select((e - 1.0) / (e + 1.0), small, abs(x) < V(0.2));
}

// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)); for small e, log(1 + e) by its series.
fn softplus_(x: V) -> V {
    let e = exp(-min(abs(x), V(87.0)));
    let series = e * (1.0 - e * (0.5 - e * 0.33333333));
    return max(x, V(0.0)) + select(log(1.0 + e), series, e < V(0.01));
}

fn relu_(x: V) -> V {
    return max(x, V(0.0));
}

fn relu6_(x: V) -> V {
    return clamp(x, V(0.0), V(6.0));
}

fn silu_(x: V) -> V {
    return x * sigmoid_(x);
}

// Abramowitz & Stegun, Handbook of Mathematical Functions, 7.1.26: absolute error below 1.5e-7.
fn erf_(x: V) -> V {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - p * exp(-min(x * x, V(87.0))));
}

fn gelu_(x: V) -> V {
    return 0.5 * x * (1.0 + erf_(x * 0.70710678));
}

fn hard_swish_(x: V) -> V {
    return x * clamp(x + 3.0, V(0.0), V(6.0)) * 0.16666667;
}

// WGSL's pow wants x >= 0: a negative base has a real power only for whole exponents.
fn pow_(x: V, y: V) -> V {
    let magnitude = pow(abs(x), y);
    let odd = abs(y - 2.0 * floor(y * 0.5)) == V(1.0);
    let whole = select(magnitude, -magnitude, odd);
    // As a variable: WGSL refuses constants that are no numbers.
    var none = 0x7fc00000u;
    let negative = select(V(bitcast<f32>(none)), whole, y == floor(y));
    return select(magnitude, negative, x < V(0.0));
}

fn leaky_relu_(x: V, slope: V) -> V {
    return max(x, V(0.0)) + slope * min(x, V(0.0));
}

// exp(x) - 1 by its series near 0, where the difference would cancel.
fn elu_(x: V, alpha: V) -> V {
    let m = min(x, V(0.0));
    let series = m * (1.0 + m * (0.5 + m * (0.16666667 + m * (0.041666667 + m * 0.0083333333))));
    return max(x, V(0.0)) + alpha * select(exp(m) - 1.0, series, m > V(-0.1));
}
