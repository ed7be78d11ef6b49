// Rows of a matrix, LANES invocations each (a power of two), ROWS rows a workgroup: sums and maxima over the lanes of a
// row by a tree in workgroup memory. All invocations must call them, and all receive the result.

var<workgroup> row_values: array<f32, LANES * ROWS>;

fn row_sum(x: f32, local: vec3u) -> f32 {
    let here = local.y * LANES + local.x;
    row_values[here] = x;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (local.x < half) {
            row_values[here] += row_values[here + half];
        }
        workgroupBarrier();
    }
    let result = row_values[local.y * LANES];
    // Nobody may write again before all have read.
    workgroupBarrier();
    return result;
}

fn row_max(x: f32, local: vec3u) -> f32 {
    let here = local.y * LANES + local.x;
    row_values[here] = x;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (local.x < half) {
            row_values[here] = max(row_values[here], row_values[here + half]);
        }
        workgroupBarrier();
    }
    let result = row_values[local.y * LANES];
    // Nobody may write again before all have read.
    workgroupBarrier();
    return result;
}
