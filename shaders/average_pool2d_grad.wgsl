// Gradient of average pooling: one invocation per pixel and channel (or four neighbouring channels) of the input adds its
// share of each window that contains it.
//
// The header defines V (f32, or vec4f over channels), C in units of V, H, W (input), OH, OW (result of the pooling), KH,
// KW (window), SH, SW (stride), TOP, LEFT (padding).

struct Params { n: u32 }    // elements of the input, in units of V
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<V>;            // [n, OH, OW, C]
@group(0) @binding(2) var<storage, read_write> output: array<V>;    // [n, H, W, C]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let n = i / (H * W * C);
    // Where the pixel and the windows stand in the padded image.
    let at = vec2u(i / C % W + LEFT, i / (C * W) % H + TOP);
    let stride = vec2u(SW, SH);
    let size = vec2u(KW, KH);
    let corner = vec2u(LEFT, TOP);
    let first = (max(at + 1u, size) - size + stride - 1u) / stride;
    let last = min(at / stride, vec2u(OW - 1u, OH - 1u));

    var total = V(0.0);
    for (var row = first.y; row <= last.y; row++) {
        for (var column = first.x; column <= last.x; column++) {
            let start = vec2u(column, row) * stride;
            let inside = min(start + size, vec2u(W, H) + corner) - max(start, corner);
            total += grad[((n * OH + row) * OW + column) * C + i % C] / f32(inside.x * inside.y);
        }
    }
    output[i] = total;
}
