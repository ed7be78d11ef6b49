// Two tiles in workgroup memory, filled by 256 invocations: half of them fetch a block of A each, half one of B. The blocks
// of A are turned, so that both tiles hold vectors of four rows, or columns, for each term.
//
// The place of a vector of A is swizzled by its quad of terms, so that neither loads nor stores meet in a bank.
// Header: QUADS (of rows, and of columns: 16 or 32); a tile has 512 / QUADS terms.

const TERM_QUADS: u32 = 128u / QUADS;
const SWIZZLE: u32 = QUADS / 16u;

var<workgroup> tile_a: array<vec4f, 512>;    // [terms, QUADS]
var<workgroup> tile_b: array<vec4f, 512>;    // [terms, QUADS]

// Fetches the terms from quad `first` on.
fn fill(t: Tile, first: u32, local: u32) {
    let last = max(t.last, 1u) - 1u;
    // Neighbours read neighbouring addresses: along the terms of A, along the columns of B.
    if (local < 128u) {
        let quad = local % TERM_QUADS;
        let row = local / TERM_QUADS;
        let inside = select(0.0, 1.0, first + quad < t.last);
        let vectors = inside * transpose(a_block(a_rows(t.matrix, t.row + row * 4u), min(first + quad, last)));
        let at = quad * 4u * QUADS + (row ^ (quad * SWIZZLE));
        tile_a[at] = vectors[0];
        tile_a[at + QUADS] = vectors[1];
        tile_a[at + 2u * QUADS] = vectors[2];
        tile_a[at + 3u * QUADS] = vectors[3];
    } else {
        let column = local % QUADS;
        let quad = local / QUADS % TERM_QUADS;
        let vectors = b_block(b_columns(t.matrix, t.column + column), min(first + quad, last));
        let at = quad * 4u * QUADS + column;
        tile_b[at] = vectors[0];
        tile_b[at + QUADS] = vectors[1];
        tile_b[at + 2u * QUADS] = vectors[2];
        tile_b[at + 3u * QUADS] = vectors[3];
    }
}

// Four rows of that term.
fn from_a(term: u32, row: u32) -> vec4f {
    return tile_a[term * QUADS + (row ^ (term / 4u * SWIZZLE))];
}

// Four columns of that term.
fn from_b(term: u32, column: u32) -> vec4f {
    return tile_b[term * QUADS + column];
}

fn add_outer(sum: mat4x4f, a: vec4f, b: vec4f) -> mat4x4f {
    return mat4x4f(
        fma(vec4f(a.x), b, sum[0]), fma(vec4f(a.y), b, sum[1]), fma(vec4f(a.z), b, sum[2]), fma(vec4f(a.w), b, sum[3]),
    );
}
