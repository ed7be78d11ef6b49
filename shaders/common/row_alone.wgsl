// Rows of a matrix, one invocation each (LANES is 1): what the tree would combine is already there.

fn row_sum(x: f32, local: vec3u) -> f32 {
    return x;
}

fn row_max(x: f32, local: vec3u) -> f32 {
    return x;
}
