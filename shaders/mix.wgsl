// Images mixed with others of the batch. One invocation makes one pixel, all its channels.
//
// A row of two vectors says how: [left, top, right, bottom] of what shows the partner alone, and [partner, share, -, -]; see
// src/ops/mix.rs. The header defines H, W, C.

struct Params { n: u32 }    // pixels of the batch
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> images: array<f32>;          // [n, H, W, C]
@group(0) @binding(2) var<storage, read> rows: array<vec4f>;          // [n, 8]
@group(0) @binding(3) var<storage, read_write> output: array<f32>;    // [n, H, W, C]

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.n) {
        return;
    }
    let n = i / (H * W);
    let at = vec2f(f32(i % W), f32(i / W % H));
    let rectangle = rows[2u * n];
    let rest = rows[2u * n + 1u];
    let inside = all(at >= rectangle.xy) && all(at < rectangle.zw);
    let share = select(rest.y, 0.0, inside);
    let last = i32(p.n / (H * W)) - 1;
    let partner = u32(clamp(i32(n) + i32(rest.x), 0, last)) * H * W + i % (H * W);
    for (var k = 0u; k < C; k++) {
        output[i * C + k] = share * images[i * C + k] + (1.0 - share) * images[partner * C + k];
    }
}
