// Gradient of max pooling, one invocation per input pixel: it gathers the gradient of every window that covers it and of
// which it is the first maximum. No two invocations write the same place.
//
// grad [n, OH, OW, C], input and output [n, H, W, C], all in V: f32, or vec4f along the channels.
// Header: V, the extents (C in V), KH, KW (window), SH, SW (stride), TOP, LEFT (padding).

struct Params { elements: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<V>;
@group(0) @binding(2) var<storage, read> input: array<V>;
@group(0) @binding(3) var<storage, read_write> output: array<V>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.elements) {
        return;
    }
    let c = i % C;
    let ix = i / C % W;
    let iy = i / (C * W) % H;
    let n = i / (C * W * H);
    let x = ix + LEFT;
    let y = iy + TOP;
    let own = input[i];
    var sum = V(0.0);
    // Windows from the first that reaches down to this pixel to the last that starts at or before it.
    for (var oy = (max(y + 1u, KH) - KH + SH - 1u) / SH; oy < OH && oy * SH <= y; oy++) {
        for (var ox = (max(x + 1u, KW) - KW + SW - 1u) / SW; ox < OW && ox * SW <= x; ox++) {
            // 1 as long as no pixel of the window is larger, and none before this one as large.
            var wins = V(1.0);
            for (var wy = max(oy * SH, TOP) - TOP; wy < min(oy * SH + KH - TOP, H); wy++) {
                for (var wx = max(ox * SW, LEFT) - LEFT; wx < min(ox * SW + KW - LEFT, W); wx++) {
                    let other = input[((n * H + wy) * W + wx) * C + c];
                    let before = wy < iy || (wy == iy && wx < ix);
                    wins = select(wins, V(0.0), other > own);
                    wins = select(wins, select(wins, V(0.0), other == own), before);
                }
            }
            sum += wins * grad[((n * OH + oy) * OW + ox) * C + c];
        }
    }
    output[i] = sum;
}
