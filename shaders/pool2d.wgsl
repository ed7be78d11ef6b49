// Max and average pooling, one invocation per element of the result. Padding is left out: it never wins a maximum and does
// not count in a mean.
//
// input [n, H, W, C], output [n, OH, OW, C], both in V: f32, or vec4f along the channels.
// Header: V, the extents (C in V), KH, KW (window), SH, SW (stride), TOP, LEFT (padding), MAX (1, or 0 for the mean).

struct Params { elements: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<V>;
@group(0) @binding(2) var<storage, read_write> output: array<V>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.elements) {
        return;
    }
    let c = i % C;
    let ox = i / C % OW;
    let oy = i / (C * OW) % OH;
    let image = i / (C * OW * OH) * H;
    // The part of the window inside the image.
    let y0 = max(oy * SH, TOP) - TOP;
    let x0 = max(ox * SW, LEFT) - LEFT;
    let y1 = min(oy * SH + KH - TOP, H);
    let x1 = min(ox * SW + KW - LEFT, W);
    var value = input[((image + y0) * W + x0) * C + c];
    if (MAX == 0u) {
        value = V(0.0);
    }
    for (var y = y0; y < y1; y++) {
        for (var x = x0; x < x1; x++) {
            let pixel = input[((image + y) * W + x) * C + c];
            if (MAX == 1u) {
                value = max(value, pixel);
            } else {
                value += pixel;
            }
        }
    }
    if (MAX == 0u) {
        value /= f32((y1 - y0) * (x1 - x0));
    }
    output[i] = value;
}
