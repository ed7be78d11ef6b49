// Gradient of a convolution for its input on registers alone: each invocation computes four consecutive pixels of four
// channels, gathering from the output pixels whose windows cover them.
//
// grad [n, OH, OW, O] and weight [KH, KW, CG, O] (as vectors along O), output [n, H, W, C] (as vectors along C).
// Header: the extents above (C, CG and O multiples of 4), GROUP_FILTERS (a multiple of 4), SH, SW (stride), TOP, LEFT
// (padding), DH, DW (dilation); fn epilogue(value, element, column).

struct Params { pixels: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> grad: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

const COLUMNS: u32 = C / 4u;
const O4: u32 = O / 4u;
const NONE: u32 = 0xffffffffu;

// Row and column in the padded image, and the first row of the image's gradient.
fn origin(pixel: u32) -> vec3u {
    let at = min(pixel, p.pixels - 1u);
    return vec3u(at / W % H + TOP, at % W + LEFT, at / (H * W) * OH);
}

// Position of the gradient that meets a pixel through a tap, or none. Before the first position the difference wraps
// around to a large number: one comparison covers both ends.
fn tap(at: vec3u, ky: u32, kx: u32) -> u32 {
    let y = at.x - ky * DH;
    let x = at.y - kx * DW;
    let meets = y % SH == 0u && x % SW == 0u && y / SH < OH && x / SW < OW;
    return select(NONE, ((at.z + y / SH) * OW + x / SW) * O4, meets);
}

fn load(position: u32, o: u32) -> vec4f {
    return select(vec4f(0.0), grad[select(position + o, 0u, position == NONE)], position != NONE);
}

fn add(sum: vec4f, g: vec4f, w0: vec4f, w1: vec4f, w2: vec4f, w3: vec4f) -> vec4f {
    return sum + vec4f(dot(g, w0), dot(g, w1), dot(g, w2), dot(g, w3));
}

fn store(pixel: u32, column: u32, sum: vec4f) {
    if (pixel < p.pixels) {
        let element = pixel * COLUMNS + column;
        output[element] = epilogue(sum, element, column);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    let column = i % COLUMNS;
    let first = i / COLUMNS * 4u;
    if (first >= p.pixels) {
        return;
    }
    let channel = column * 4u % CG;
    let filters = column * 4u / CG * GROUP_FILTERS / 4u;
    let o0 = origin(first); let o1 = origin(first + 1u); let o2 = origin(first + 2u); let o3 = origin(first + 3u);
    var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
    for (var ky = 0u; ky < KH; ky++) {
        for (var kx = 0u; kx < KW; kx++) {
            let t0 = tap(o0, ky, kx); let t1 = tap(o1, ky, kx); let t2 = tap(o2, ky, kx); let t3 = tap(o3, ky, kx);
            let row = ((ky * KW + kx) * CG + channel) * O4 + filters;
            for (var o = 0u; o < GROUP_FILTERS / 4u; o++) {
                let w0 = weight[row + o];
                let w1 = weight[row + O4 + o];
                let w2 = weight[row + 2u * O4 + o];
                let w3 = weight[row + 3u * O4 + o];
                s0 = add(s0, load(t0, filters + o), w0, w1, w2, w3);
                s1 = add(s1, load(t1, filters + o), w0, w1, w2, w3);
                s2 = add(s2, load(t2, filters + o), w0, w1, w2, w3);
                s3 = add(s3, load(t3, filters + o), w0, w1, w2, w3);
            }
        }
    }
    store(first, column, s0);
    store(first + 1u, column, s1);
    store(first + 2u, column, s2);
    store(first + 3u, column, s3);
}
