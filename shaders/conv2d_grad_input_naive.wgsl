// Gradient of a convolution for its input, one invocation per element: it gathers from every output pixel whose window
// covers it, so that no two invocations write the same place.
//
// grad [n, OH, OW, O], weight [KH, KW, CG, O], output [n, H, W, C].
// Header: the extents above, GROUP_FILTERS (filters of a group), SH, SW (stride), TOP, LEFT (padding), DH, DW (dilation);
// fn epilogue(value, element, column).

struct Params { elements: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let element = id.x + id.y * groups.x * 64u;
    if (element >= p.elements) {
        return;
    }
    let c = element % C;
    let pixel = element / C;
    let image = pixel / (H * W);
    let first = c / CG * GROUP_FILTERS;
    var sum = 0.0;
    for (var ky = 0u; ky < KH; ky++) {
        // Before the first position the difference wraps around to a large number: one comparison covers both ends.
        let y = pixel / W % H + TOP - ky * DH;
        if (y % SH != 0u || y / SH >= OH) {
            continue;
        }
        for (var kx = 0u; kx < KW; kx++) {
            let x = pixel % W + LEFT - kx * DW;
            if (x % SW == 0u && x / SW < OW) {
                let start = ((image * OH + y / SH) * OW + x / SW) * O + first;
                let by = ((ky * KW + kx) * CG + c % CG) * O + first;
                for (var o = 0u; o < GROUP_FILTERS; o++) {
                    sum += grad[start + o] * weight[by + o];
                }
            }
        }
    }
    output[element] = epilogue(sum, element, c);
}
