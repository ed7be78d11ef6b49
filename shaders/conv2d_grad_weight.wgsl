// Gradient of a convolution for its weight, in two dispatches: the output pixels are split into PARTS stretches (split-K),
// each invocation sums one element over one stretch; then the stretches are added up in order. No two invocations write
// the same place, so the sum is the same every time. V is f32, or vec4f along O.
//
// input [n, H, W, C], grad [n, OH, OW, O]; partial [PARTS, KH, KW, CG, O]; output [KH, KW, CG, O].
// Header: V, WIDTH (elements of V), the extents above, GROUP_FILTERS (filters of a group), SH, SW (stride), TOP, LEFT
// (padding), DH, DW (dilation), PARTS.

struct Params { pixels: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> grad: array<V>;
@group(0) @binding(3) var<storage, read_write> partial: array<V>;

const COLUMNS: u32 = O / WIDTH;
const ELEMENTS: u32 = KH * KW * CG * COLUMNS;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= ELEMENTS * PARTS) {
        return;
    }
    let element = i % ELEMENTS;
    let part = i / ELEMENTS;
    let column = element % COLUMNS;
    let c = element / COLUMNS % CG + column * WIDTH / GROUP_FILTERS * CG;
    let kx = element / (COLUMNS * CG) % KW;
    let ky = element / (COLUMNS * CG * KW);
    let stretch = (p.pixels + PARTS - 1u) / PARTS;
    let last = min((part + 1u) * stretch, p.pixels);
    var sum = V(0.0);
    for (var pixel = part * stretch; pixel < last; pixel++) {
        let y = pixel / OW % OH * SH + ky * DH - TOP;
        let x = pixel % OW * SW + kx * DW - LEFT;
        if (y < H && x < W) {
            sum += input[((pixel / (OH * OW) * H + y) * W + x) * C + c] * grad[pixel * COLUMNS + column];
        }
    }
    partial[i] = sum;
}
