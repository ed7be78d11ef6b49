// Gradient of average pooling, one invocation per input pixel: it gathers its share of every window that covers it.
//
// grad [n, OH, OW, C], output [n, H, W, C], both in V: f32, or vec4f along the channels.
// Header: V, the extents (C in V), KH, KW (window), SH, SW (stride), TOP, LEFT (padding).

struct Params { elements: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<V>;
@group(0) @binding(2) var<storage, read_write> output: array<V>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.elements) {
        return;
    }
    let c = i % C;
    let x = i / C % W + LEFT;
    let y = i / (C * W) % H + TOP;
    let image = i / (C * W * H) * OH;
    var sum = V(0.0);
    // Windows from the first that reaches down to this pixel to the last that starts at or before it.
    for (var oy = (max(y + 1u, KH) - KH + SH - 1u) / SH; oy < OH && oy * SH <= y; oy++) {
        for (var ox = (max(x + 1u, KW) - KW + SW - 1u) / SW; ox < OW && ox * SW <= x; ox++) {
            let height = min(oy * SH + KH - TOP, H) - (max(oy * SH, TOP) - TOP);
            let width = min(ox * SW + KW - LEFT, W) - (max(ox * SW, LEFT) - LEFT);
            sum += grad[((image + oy) * OW + ox) * C + c] / f32(height * width);
        }
    }
    output[i] = sum;
}
