// A product on registers alone: each invocation computes eight rows of four columns. A vector of B serves eight rows, one
// of A four columns; nothing is shared between invocations. Operands and Params: common/product.wgsl.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let t = tile(id.x + id.y * groups.x * 64u, 8u, 1u);
    if (t.matrix >= p.matrices) {
        return;
    }
    let upper = a_rows(t.matrix, t.row);
    let lower = a_rows(t.matrix, t.row + 4u);
    let columns = b_columns(t.matrix, t.column);
    var upper_sum = mat4x4f();
    var lower_sum = mat4x4f();
    for (var quad = t.first; quad < t.last; quad++) {
        let b = b_block(columns, quad);
        upper_sum = add_block(upper_sum, a_block(upper, quad), b);
        lower_sum = add_block(lower_sum, a_block(lower, quad), b);
    }
    store_block(t.layer, t.row, t.column, upper_sum);
    store_block(t.layer, t.row + 4u, t.column, lower_sum);
}
