// Gradient of max pooling: one invocation per pixel and channel (or four neighbouring channels) of the input looks at the
// windows that contain it, and takes the gradient of those whose maximum it is the first to equal. No atomics.
//
// The header defines V (f32, or vec4f over channels), B (bool, or vec4<bool>), C in units of V, H, W (input), OH, OW
// (result of the pooling), KH, KW (window), SH, SW (stride), TOP, LEFT (padding).

struct Params { n: u32 }    // elements of the input, in units of V
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
    let c = i % C;
    let n = i / (H * W * C);
    // Where the pixel and the windows stand in the padded image.
    let at = vec2u(i / C % W + LEFT, i / (C * W) % H + TOP);
    let stride = vec2u(SW, SH);
    let size = vec2u(KW, KH);
    let first = (max(at + 1u, size) - size + stride - 1u) / stride;
    let last = min(at / stride, vec2u(OW - 1u, OH - 1u));

    let value = input[i];
    var total = V(0.0);
    for (var row = first.y; row <= last.y; row++) {
        for (var column = first.x; column <= last.x; column++) {
            let window = ((n * OH + row) * OW + column) * C + c;
            let wanted = largest[window];
            // Pixels of the window before this one, in row-major order.
            var before = B(false);
            let corner = max(vec2u(column, row) * stride, vec2u(LEFT, TOP));
            let right = min(column * SW + KW, W + LEFT);
            for (var y = corner.y; y <= at.y; y++) {
                let end = select(right, at.x, y == at.y);
                for (var x = corner.x; x < end; x++) {
                    before = before | (input[((n * H + y - TOP) * W + x - LEFT) * C + c] == wanted);
                }
            }
            total += select(V(0.0), grad[window], (value == wanted) & !before);
        }
    }
    output[i] = total;
}
