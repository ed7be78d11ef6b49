// Maximum or average over a window sliding over [n, H, W, C]: one invocation per element of the result (or four
// neighbouring channels), registers only. Padding is neither the maximum nor counted in the average.
//
// The header defines V (f32, or vec4f over channels), C in units of V, H, W (input), OH, OW (result), KH, KW (window), SH,
// SW (stride), TOP, LEFT (padding), and MAX.

struct Params { n: u32 }    // elements of the result, in units of V
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<V>;           // [n, H, W, C]
@group(0) @binding(2) var<storage, read_write> output: array<V>;    // [n, OH, OW, C]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let image = i / (OH * OW * C) * H;
    let start = vec2u(i / C % OW * SW, i / (C * OW) % OH * SH);
    let corner = vec2u(LEFT, TOP);
    let first = max(start, corner) - corner;
    let end = min(start + vec2u(KW, KH), vec2u(W, H) + corner) - corner;

    // A maximum starts from an element of the window: no value can stand for "smaller than all".
    var total = V(0.0);
    if (MAX == 1u) {
        total = input[((image + first.y) * W + first.x) * C + i % C];
    }
    for (var y = first.y; y < end.y; y++) {
        for (var x = first.x; x < end.x; x++) {
            let value = input[((image + y) * W + x) * C + i % C];
            if (MAX == 1u) {
                total = max(total, value);
            } else {
                total += value;
            }
        }
    }
    if (MAX == 0u) {
        total /= f32((end.x - first.x) * (end.y - first.y));
    }
    output[i] = total;
}
