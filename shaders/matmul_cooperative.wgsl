// Matrix product by cooperative matrices: a subgroup multiplies blocks of 8 x 8 together, in hardware made for it.
//
// a [batch, m, k], or [batch, k, m] if TRANSPOSE_A; b [batch, k, n], or [batch, n, k] if TRANSPOSE_B; product
// [batch, m, n], without the epilogue. A workgroup is one subgroup and computes a tile of 16 rows by 32 columns, two blocks
// by four; m, n and k are multiples of 16, 32 and 8, as blocks cannot be loaded in part. After wgpu's extension of WGSL
// (<https://github.com/gfx-rs/wgpu/blob/trunk/docs/api-specs/cooperative_matrix.md>).
// Header: N, K, TRANSPOSE_A, TRANSPOSE_B, SUBGROUP; the directive that enables the extension.

struct Params { m: u32, matrices: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> product: array<f32>;

alias Left = coop_mat8x8<f32, A>;
alias Right = coop_mat8x8<f32, B>;
alias Sum = coop_mat8x8<f32, C>;

fn left(matrix: u32, row: u32, l: u32) -> Left {
    let start = matrix * p.m * K;
    if (TRANSPOSE_A == 1u) {
        return coopLoad<Left>(&a[start + l * p.m + row], p.m);
    }
    return coopLoadT<Left>(&a[start + row * K + l], K);
}

fn right(matrix: u32, l: u32, column: u32) -> Right {
    let start = matrix * K * N;
    if (TRANSPOSE_B == 1u) {
        return coopLoad<Right>(&b[start + column * K + l], K);
    }
    return coopLoadT<Right>(&b[start + l * N + column], N);
}

@compute @workgroup_size(SUBGROUP)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let tile = group.x + group.y * groups.x;
    let across = N / 32u;
    let down = p.m / 16u;
    if (tile >= across * down * p.matrices) {
        return;
    }
    let column = tile % across * 32u;
    let row = tile / across % down * 16u;
    let matrix = tile / (across * down);
    var sum00: Sum; var sum01: Sum; var sum02: Sum; var sum03: Sum;
    var sum10: Sum; var sum11: Sum; var sum12: Sum; var sum13: Sum;
    for (var l = 0u; l < K; l += 8u) {
        let a0 = left(matrix, row, l);
        let a1 = left(matrix, row + 8u, l);
        let b0 = right(matrix, l, column);
        let b1 = right(matrix, l, column + 8u);
        let b2 = right(matrix, l, column + 16u);
        let b3 = right(matrix, l, column + 24u);
        sum00 = coopMultiplyAdd(a0, b0, sum00);
        sum01 = coopMultiplyAdd(a0, b1, sum01);
        sum02 = coopMultiplyAdd(a0, b2, sum02);
        sum03 = coopMultiplyAdd(a0, b3, sum03);
        sum10 = coopMultiplyAdd(a1, b0, sum10);
        sum11 = coopMultiplyAdd(a1, b1, sum11);
        sum12 = coopMultiplyAdd(a1, b2, sum12);
        sum13 = coopMultiplyAdd(a1, b3, sum13);
    }
    let start = (matrix * p.m + row) * N + column;
    coopStoreT(sum00, &product[start], N);
    coopStoreT(sum01, &product[start + 8u], N);
    coopStoreT(sum02, &product[start + 16u], N);
    coopStoreT(sum03, &product[start + 24u], N);
    let below = start + 8u * N;
    coopStoreT(sum10, &product[below], N);
    coopStoreT(sum11, &product[below + 8u], N);
    coopStoreT(sum12, &product[below + 16u], N);
    coopStoreT(sum13, &product[below + 24u], N);
}
