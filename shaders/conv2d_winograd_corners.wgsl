// The four corners of each image of a gradient for the input, by the definition: with padding of two they lie under a
// single tap, for which what Winograd's algorithm rounds in a tile is too much. One invocation computes four elements.
//
// grad [n, H, W, C] and weight [3, 3, O, C], both as vectors along C; output [n, OH, OW, O] as vectors along O.
// Header: the extents, TOP, LEFT (padding of the gradient); fn epilogue(value, element, column). The numbers of taps and of
// vectors of channels are parameters, lest drivers unroll both loops.

struct Params { vectors: u32, taps: u32, c4: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

const C4: u32 = C / 4u;
const O4: u32 = O / 4u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i >= p.vectors) {
        return;
    }
    let o = i % O4;
    let corner = i / O4 % 4u;
    let image = i / (4u * O4);
    let row = corner / 2u * (OH - 1u);
    let column = corner % 2u * (OW - 1u);
    var sum = vec4f(0.0);
    for (var tap = 0u; tap < p.taps; tap++) {
        let y = row + tap / 3u - TOP;
        let x = column + tap % 3u - LEFT;
        if (y < H && x < W) {
            let pixel = ((image * H + y) * W + x) * C4;
            let turned = ((8u - tap) * O + 4u * o) * C4;
            for (var c = 0u; c < p.c4; c++) {
                let g = grad[pixel + c];
                sum += vec4f(
                    dot(g, weight[turned + c]),
                    dot(g, weight[turned + C4 + c]),
                    dot(g, weight[turned + 2u * C4 + c]),
                    dot(g, weight[turned + 3u * C4 + c]),
                );
            }
        }
    }
    let element = ((image * OH + row) * OW + column) * O4 + o;
    output[element] = epilogue(sum, element, o);
}
