// [outer, A, B] -> [outer, B, A] in tiles of 16x16 through workgroup memory, so that loads and stores both touch
// neighbouring addresses. The column of padding keeps a tile's column in different banks (G. Ruetsch & P. Micikevicius,
// Optimizing Matrix Transpose in CUDA, 2009). The header defines A and B.

struct Params { outer: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<u32>;           // [outer, A, B]
@group(0) @binding(2) var<storage, read_write> output: array<u32>;    // [outer, B, A]

const TILES_A: u32 = (A + 15u) / 16u;
const TILES_B: u32 = (B + 15u) / 16u;
var<workgroup> tile: array<u32, 16u * 17u>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let g = group.x + group.y * groups.x;
    let a = g % TILES_A * 16u;
    let b = g / TILES_A % TILES_B * 16u;
    let o = g / (TILES_A * TILES_B);
    if (a + local.y < A && b + local.x < B && o < p.outer) {
        tile[local.y * 17u + local.x] = input[(o * A + a + local.y) * B + b + local.x];
    }
    workgroupBarrier();
    if (a + local.x < A && b + local.y < B && o < p.outer) {
        output[(o * B + b + local.y) * A + a + local.x] = tile[local.x * 17u + local.y];
    }
}
