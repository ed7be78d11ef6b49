// What all products share: output[i, j] = sum over l of A[i, l] B[l, j], for `matrices` pairs of matrices.
//
// l runs in quads. A scheme (matmul_registers, matmul_subgroup, matmul_tiled) divides rows and columns among
// invocations; operands say where A and B are, in blocks of 4x4:
//   a_rows(matrix, row) -> Rows, the place of four rows; a_block(rows, quad): its columns are rows of A, four terms each;
//   b_columns(matrix, column) -> Columns; b_block(columns, quad): its columns are four terms of B, four columns each.
// Beyond the last term A gives 0 and B any value that it has; beyond the last row or column both repeat the last.
// With parts > 1 the sum over l is split (split-K): each part is stored in a layer of its own, from `first` on of the
// `layers` that a matrix has, and added up in order by product_sum.wgsl. Columns count in vec4.
//
// Header: N (columns, as f32); fn store(layer, row, column, value).

struct Params { rows: u32, terms: u32, stretch: u32, matrices: u32, parts: u32, first: u32, layers: u32 }
@group(0) @binding(0) var<uniform> p: Params;

const N4: u32 = (N + 3u) / 4u;

struct Tile { row: u32, column: u32, matrix: u32, layer: u32, first: u32, last: u32 }

// The tile of that number, `rows` x `columns` large: columns first, then rows, parts, matrices.
fn tile(number: u32, rows: u32, columns: u32) -> Tile {
    let across = (N4 + columns - 1u) / columns;
    let down = (p.rows + rows - 1u) / rows;
    let part = number / (across * down) % p.parts;
    let matrix = number / (across * down * p.parts);
    let layer = matrix * p.layers + p.first + part;
    let first = part * p.stretch;
    let last = min(first + p.stretch, (p.terms + 3u) / 4u);
    return Tile(number / across % down * rows, number % across * columns, matrix, layer, first, last);
}

fn add_row(sum: vec4f, row: vec4f, right: mat4x4f) -> vec4f {
    let upper = fma(vec4f(row.y), right[1], fma(vec4f(row.x), right[0], sum));
    return fma(vec4f(row.w), right[3], fma(vec4f(row.z), right[2], upper));
}

// Four terms of four rows and four columns.
fn add_block(sum: mat4x4f, left: mat4x4f, right: mat4x4f) -> mat4x4f {
    return mat4x4f(
        add_row(sum[0], left[0], right), add_row(sum[1], left[1], right),
        add_row(sum[2], left[2], right), add_row(sum[3], left[3], right),
    );
}

fn store_block(layer: u32, row: u32, column: u32, sum: mat4x4f) {
    store(layer, row, column, sum[0]);
    store(layer, row + 1u, column, sum[1]);
    store(layer, row + 2u, column, sum[2]);
    store(layer, row + 3u, column, sum[3]);
}
