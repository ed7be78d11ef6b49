// Gradient of max pooling where windows do not overlap: one invocation per window and channel (or four neighbouring
// channels) writes all pixels up to the next window.
//
// A window gives its gradient to the first pixel which equals its maximum; what lies in no window gets 0.
//
// The header defines V (f32, or vec4f over channels), C in units of V, H, W (input), OH, OW (result of the pooling), KH,
// KW (window), SH, SW (stride, not less than the window), TOP, LEFT (padding), and ROWS, COLUMNS: the steps it takes to
// cover the input.

struct Params { n: u32 }    // steps and channels, in units of V
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<V>;           // [n, H, W, C]
@group(0) @binding(2) var<storage, read> largest: array<V>;         // [n, OH, OW, C]
@group(0) @binding(3) var<storage, read> grad: array<V>;            // [n, OH, OW, C]
@group(0) @binding(4) var<storage, read_write> output: array<V>;    // [n, H, W, C]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let n = i / (ROWS * COLUMNS * C);
    let row = i / (C * COLUMNS) % ROWS;
    let column = i / C % COLUMNS;
    let window = ((n * OH + row) * OW + column) * C + i % C;
    var wanted = V(0.0);
    var rest = V(0.0);
    if (row < OH && column < OW) {
        wanted = largest[window];
        rest = grad[window];
    }
    for (var dy = 0u; dy < SH; dy++) {
        let y = row * SH + dy - TOP;
        for (var dx = 0u; dx < SW; dx++) {
            let x = column * SW + dx - LEFT;
            // What lies above or left of the image wraps around to very large numbers.
            if (y < H && x < W) {
                let at = ((n * H + y) * W + x) * C + i % C;
                var share = V(0.0);
                if (dy < KH && dx < KW) {
                    let hit = input[at] == wanted;
                    share = select(share, rest, hit);
                    rest = select(rest, V(0.0), hit);
                }
                output[at] = share;
            }
        }
    }
}
