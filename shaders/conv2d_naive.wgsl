// Convolution forward, one invocation per element of the result: the plain form, for comparison and for what fits no
// other.
//
// input [n, H, W, C], weight [KH, KW, CG, O], output [n, OH, OW, O].
// Header: the extents above, GROUP_FILTERS (filters of a group), SH, SW (stride), TOP, LEFT (padding), DH, DW (dilation);
// fn epilogue(value, element, column).

struct Params { elements: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let element = id.x + id.y * groups.x * 64u;
    if (element >= p.elements) {
        return;
    }
    let o = element % O;
    let pixel = element / O;
    let first = o / GROUP_FILTERS * CG;
    let image = pixel / (OH * OW);
    var sum = 0.0;
    for (var ky = 0u; ky < KH; ky++) {
        // Above the image the difference wraps around to a large number: one comparison covers both ends.
        let y = pixel / OW % OH * SH + ky * DH - TOP;
        for (var kx = 0u; kx < KW; kx++) {
            let x = pixel % OW * SW + kx * DW - LEFT;
            if (y < H && x < W) {
                let start = ((image * H + y) * W + x) * C + first;
                let by = (ky * KW + kx) * CG * O + o;
                for (var c = 0u; c < CG; c++) {
                    sum += input[start + c] * weight[by + c * O];
                }
            }
        }
    }
    output[element] = epilogue(sum, element, o);
}
