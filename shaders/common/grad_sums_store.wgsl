// The rows of batch_norm_grad_sums. Header: EPSILON.
fn store(part: u32, c: u32, total: Part) {
    let inverse = inverseSqrt(statistics[C + c] + EPSILON);
    let share = statistics[2u * C + c] / f32(p.rows);
    let product = total.b * inverse;
    output[c] = total.a;
    output[C + c] = product;
    output[2u * C + c] = total.a * share;
    output[3u * C + c] = product * share * inverse;
}
