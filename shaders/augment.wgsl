// Image bytes to network input in one pass: warp with bilinear sampling, blur, colour jitter, noise, erasing, normalisation.
// One invocation makes one pixel of the result, all its channels.
//
// A row of eight vectors says what happens to an image; see src/ops/augment for the formulas:
//   0 [a, b, t, g]                   1 [c, d, u, h]
//   2 [red's shares, brightness]     3 [green's shares, contrast]    4 [blue's shares, blur]
//   5 [left, top, right, bottom] of what is erased
//   6 [sharpen, solarize, posterize, noise]                          7 [key, -, -, -]
// Contrast and colours are written so that 1 leaves a value exactly as it was.
//
// The header defines H, W, C (input), OH, OW (output), and MEAN and DEVIATION, arrays of C floats.

struct Params { n: u32 }    // pixels of the result
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> images: array<u32>;          // bytes [n, H, W, C], four a word
@group(0) @binding(2) var<storage, read> rows: array<vec4f>;          // [n, 32]
@group(0) @binding(3) var<storage, read_write> output: array<f32>;    // [n, OH, OW, C]

fn byte_at(i: u32) -> f32 {
    return f32((images[i / 4u] >> (8u * (i % 4u))) & 255u);
}

// The image's pixel that is seen at `at` of the result.
fn warped(n: u32, at: vec2f) -> array<f32, C> {
    let first = rows[8u * n];
    let second = rows[8u * n + 1u];
    let depth = 1.0 + first.w * at.x + second.w * at.y;
    let source = vec2f(dot(first.xy, at) + first.z, dot(second.xy, at) + second.z) / depth;
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
    return values;
}

// A Gaussian mean over two standard deviations to each side.
fn blurred(n: u32, at: vec2f, sigma: f32) -> array<f32, C> {
    let radius = i32(ceil(2.0 * sigma));
    var sums: array<f32, C>;
    var total = 0.0;
    for (var dy = -radius; dy <= radius; dy++) {
        for (var dx = -radius; dx <= radius; dx++) {
            let offset = vec2f(f32(dx), f32(dy));
            let weight = exp(-dot(offset, offset) / (2.0 * sigma * sigma));
            var values = warped(n, clamp(at + offset, vec2f(0.0), vec2f(f32(OW - 1u), f32(OH - 1u))));
            for (var k = 0u; k < C; k++) {
                sums[k] += weight * values[k];
            }
            total += weight;
        }
    }
    for (var k = 0u; k < C; k++) {
        sums[k] /= total;
    }
    return sums;
}

fn scramble(value: u32) -> u32 {
    var x = value;
    x = (x ^ (x >> 16u)) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

// Four whole numbers of 16 bits added up, with mean 0 and variance 1.
fn noise(key: u32, position: u32) -> f32 {
    let first = scramble(position ^ scramble(key));
    let second = scramble(first ^ 0x9e3779b9u);
    let sum = (first & 0xffffu) + (first >> 16u) + (second & 0xffffu) + (second >> 16u);
    return f32(i32(sum) - 131070) * (1.0 / 37837.227);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let n = i / (OH * OW);
    let at = vec2f(f32(i % OW), f32(i / OW % OH));
    let red = rows[8u * n + 2u];
    let green = rows[8u * n + 3u];
    let blue = rows[8u * n + 4u];
    let erase = rows[8u * n + 5u];
    let rest = rows[8u * n + 6u];
    let key = u32(rows[8u * n + 7u].x);

    var values = warped(n, at);
    if (blue.w > 0.0) {
        var soft = blurred(n, at, blue.w);
        for (var k = 0u; k < C; k++) {
            values[k] += rest.x * (values[k] - soft[k]);
        }
    }
    let pixel = vec3f(values[0], values[C / 2u], values[C - 1u]);
    if (C == 3u) {
        values[0] = dot(red.xyz, pixel);
        values[C / 2u] = dot(green.xyz, pixel);
        values[C - 1u] = dot(blue.xyz, pixel);
    }
    let erased = all(at >= erase.xy) && all(at < erase.zw);
    let shift = 0.5 - 0.5 * green.w + red.w;
    var mean = MEAN;
    var deviation = DEVIATION;
    for (var k = 0u; k < C; k++) {
        var value = clamp(values[k] * green.w + shift, 0.0, 1.0);
        value = select(value, 1.0 - value, value >= rest.y);
        if (rest.z > 0.0) {
            value = floor((value * 255.0 + 0.5) / rest.z) * rest.z / 255.0;
        }
        if (rest.w > 0.0) {
            value = clamp(value + rest.w * noise(key, (i % (OH * OW)) * C + k), 0.0, 1.0);
        }
        output[i * C + k] = select((value - mean[k]) / deviation[k], 0.0, erased);
    }
}
