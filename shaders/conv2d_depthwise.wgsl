// Depthwise convolution, four channels of one pixel an invocation; or its gradient for the input, which is one with the
// taps in reverse order (FLIP) over an image with UP_H - 1 rows and UP_W - 1 columns of zeros between its pixels.
//
// input [n, H, W, C], weight [KH, KW, C], output [n, OH, OW, C], all as vectors along C.
// Header: the extents, SH, SW (stride), DH, DW (dilation), UP_H, UP_W, TOP, LEFT, FLIP; fn epilogue(value, element, column).

struct Params { pixels: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

const C4: u32 = C / 4u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.pixels * C4) {
        return;
    }
    let c = i % C4;
    let pixel = i / C4;
    let image = pixel / (OH * OW);
    var sum = vec4f();
    for (var tap = 0u; tap < KH * KW; tap++) {
        // Above the image the difference wraps around to a large number: one comparison covers both ends.
        let y = pixel / OW % OH * SH + tap / KW * DH - TOP;
        let x = pixel % OW * SW + tap % KW * DW - LEFT;
        if (y / UP_H < H && x / UP_W < W && y % UP_H == 0u && x % UP_W == 0u) {
            let w = weight[select(tap, KH * KW - 1u - tap, FLIP == 1u) * C4 + c];
            sum = fma(input[((image * H + y / UP_H) * W + x / UP_W) * C4 + c], w, sum);
        }
    }
    output[i] = epilogue(sum, i, c);
}
