// Adds up the layers of each matrix, the parts of a split sum, in order. Header: what common/product.wgsl wants; they are at binding 1.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    let layer = p.rows * N4;
    if (i >= p.matrices * layer) {
        return;
    }
    let matrix = i / layer;
    let first = i + matrix * (p.layers - 1u) * layer;
    var sum = partial[first];
    for (var part = 1u; part < p.layers; part++) {
        sum += partial[first + part * layer];
    }
    store(matrix, i / N4 % p.rows, i % N4, sum);
}
