// The rows of batch_statistics. Header: EPSILON, KEPT and TAKEN, the shares of the running statistics and of the batch's.
fn store(part: u32, c: u32, total: Part) {
    let variance = total.b / total.n;
    output[c] = total.a;
    output[C + c] = variance;
    output[2u * C + c] = gamma[c] * inverseSqrt(variance + EPSILON);
    output[3u * C + c] = KEPT * running_mean[c] + TAKEN * total.a;
    output[4u * C + c] = KEPT * running_variance[c] + TAKEN * variance;
}
