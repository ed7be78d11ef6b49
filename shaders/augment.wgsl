// Image bytes to network input in one pass: affine warp with bilinear sampling, colour jitter, normalisation. One
// invocation makes one pixel of the result, all its channels.
//
// A row says what happens to an image: [a, b, tx, c, d, ty, brightness, contrast, saturation, -, -, -]; see
// src/ops/augment.rs for the formulas. Contrast and saturation are written so that 1 leaves a value exactly as it was.
//
// The header defines H, W, C (input), OH, OW (output), and MEAN and DEVIATION, arrays of C floats.

struct Params { n: u32 }    // pixels of the result
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> images: array<u32>;          // bytes [n, H, W, C], four a word
@group(0) @binding(2) var<storage, read> rows: array<vec4f>;          // [n, 12]
@group(0) @binding(3) var<storage, read_write> output: array<f32>;    // [n, OH, OW, C]

fn byte_at(i: u32) -> f32 {
    return f32((images[i / 4u] >> (8u * (i % 4u))) & 255u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let n = i / (OH * OW);
    let at = vec2f(f32(i % OW), f32(i / OW % OH));
    let first = rows[3u * n];
    let second = rows[3u * n + 1u];
    let saturation = rows[3u * n + 2u].x;
    let gain = second.w;
    let shift = 0.5 - 0.5 * gain + second.z;

    let source = vec2f(dot(first.xy, at) + first.z, dot(vec2f(first.w, second.x), at) + second.y);
    let inside = clamp(source, vec2f(0.0), vec2f(f32(W - 1u), f32(H - 1u)));
    let near = min(vec2u(inside), vec2u(W - 1u, H - 1u));
    let far = min(near + 1u, vec2u(W - 1u, H - 1u));
    let part = inside - vec2f(near);
    let upper = (n * H + near.y) * W;
    let lower = (n * H + far.y) * W;

    var values: array<f32, C>;
    for (var k = 0u; k < C; k++) {
        let above = mix(byte_at((upper + near.x) * C + k), byte_at((upper + far.x) * C + k), part.x);
        let below = mix(byte_at((lower + near.x) * C + k), byte_at((lower + far.x) * C + k), part.x);
        values[k] = mix(above, below, part.y) / 255.0;
    }
    var luma = 0.0;
    if (C == 3u) {
        luma = 0.299 * values[0] + 0.587 * values[C / 2u] + 0.114 * values[C - 1u];
    }
    let keep = select(1.0, saturation, C == 3u);
    var mean = MEAN;
    var deviation = DEVIATION;
    for (var k = 0u; k < C; k++) {
        let value = (values[k] * keep + luma * (1.0 - keep)) * gain + shift;
        output[i * C + k] = (clamp(value, 0.0, 1.0) - mean[k]) / deviation[k];
    }
}
