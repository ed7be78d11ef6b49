// Matrix product, one invocation per element of the result: the plain form, for comparison and for what fits no other.
//
// a [batch, m, k], or [batch, k, m] if TRANSPOSE_A; b [batch, k, n], or [batch, n, k] if TRANSPOSE_B; output [batch, m, n].
// Header: N, TRANSPOSE_A, TRANSPOSE_B; fn epilogue(value, element, column).

struct Params { elements: u32, m: u32, k: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let element = id.x + id.y * groups.x * 64u;
    if (element >= p.elements) {
        return;
    }
    let column = element % N;
    let row = element / N % p.m;
    let batch = element / (N * p.m);
    let a_start = batch * p.m * p.k + select(row * p.k, row, TRANSPOSE_A == 1u);
    let a_step = select(1u, p.m, TRANSPOSE_A == 1u);
    let b_start = batch * p.k * N + select(column, column * p.k, TRANSPOSE_B == 1u);
    let b_step = select(N, 1u, TRANSPOSE_B == 1u);
    var sum = 0.0;
    for (var l = 0u; l < p.k; l++) {
        sum += a[a_start + l * a_step] * b[b_start + l * b_step];
    }
    output[element] = epilogue(sum, element, column);
}
