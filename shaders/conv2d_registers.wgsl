// Convolution forward on registers alone: each invocation computes eight consecutive pixels of four filters. A weight
// vector is loaded once for eight pixels, an input vector once for four filters; nothing is shared between invocations.
//
// input [n, H, W, C] (as vectors along C), weight [KH, KW, CG, O] and output [n, OH, OW, O] (as vectors along O).
// Header: the extents above (CG and O multiples of 4), GROUP_FILTERS (a multiple of 4), SH, SW (stride), TOP, LEFT
// (padding), DH, DW (dilation); fn epilogue(value, element, column).

struct Params { pixels: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

const COLUMNS: u32 = O / 4u;
const C4: u32 = CG / 4u;

// Where the window of a pixel starts: row and column in the padded image, and the first row of its image.
fn origin(pixel: u32) -> vec3u {
    let at = min(pixel, p.pixels - 1u);
    return vec3u(at / OW % OH * SH, at % OW * SW, at / (OH * OW) * H);
}

// Position of the first channel under a tap, or none.
fn tap(at: vec3u, ky: u32, kx: u32) -> u32 {
    let y = at.x + ky * DH - TOP;
    let x = at.y + kx * DW - LEFT;
    return select(NONE, ((at.z + y) * W + x) * (C / 4u), y < H && x < W);
}

const NONE: u32 = 0xffffffffu;

// Four input channels times four filters, or nothing in the padding.
fn load(position: u32, c: u32) -> vec4f {
    return select(vec4f(0.0), input[select(position + c, 0u, position == NONE)], position != NONE);
}

fn add(sum: vec4f, x: vec4f, w0: vec4f, w1: vec4f, w2: vec4f, w3: vec4f) -> vec4f {
    return fma(vec4f(x.w), w3, fma(vec4f(x.z), w2, fma(vec4f(x.y), w1, fma(vec4f(x.x), w0, sum))));
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
    let first = i / COLUMNS * 8u;
    if (first >= p.pixels) {
        return;
    }
    let group = column * 4u / GROUP_FILTERS * C4;
    let o0 = origin(first);      let o1 = origin(first + 1u); let o2 = origin(first + 2u); let o3 = origin(first + 3u);
    let o4 = origin(first + 4u); let o5 = origin(first + 5u); let o6 = origin(first + 6u); let o7 = origin(first + 7u);
    var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f();
    var s4 = vec4f(); var s5 = vec4f(); var s6 = vec4f(); var s7 = vec4f();
    for (var ky = 0u; ky < KH; ky++) {
        for (var kx = 0u; kx < KW; kx++) {
            let t0 = tap(o0, ky, kx); let t1 = tap(o1, ky, kx); let t2 = tap(o2, ky, kx); let t3 = tap(o3, ky, kx);
            let t4 = tap(o4, ky, kx); let t5 = tap(o5, ky, kx); let t6 = tap(o6, ky, kx); let t7 = tap(o7, ky, kx);
            for (var c = 0u; c < C4; c++) {
                let by = ((ky * KW + kx) * CG + c * 4u) * COLUMNS + column;
                let w0 = weight[by];
                let w1 = weight[by + COLUMNS];
                let w2 = weight[by + 2u * COLUMNS];
                let w3 = weight[by + 3u * COLUMNS];
                s0 = add(s0, load(t0, group + c), w0, w1, w2, w3);
                s1 = add(s1, load(t1, group + c), w0, w1, w2, w3);
                s2 = add(s2, load(t2, group + c), w0, w1, w2, w3);
                s3 = add(s3, load(t3, group + c), w0, w1, w2, w3);
                s4 = add(s4, load(t4, group + c), w0, w1, w2, w3);
                s5 = add(s5, load(t5, group + c), w0, w1, w2, w3);
                s6 = add(s6, load(t6, group + c), w0, w1, w2, w3);
                s7 = add(s7, load(t7, group + c), w0, w1, w2, w3);
            }
        }
    }
    store(first, column, s0);
    store(first + 1u, column, s1);
    store(first + 2u, column, s2);
    store(first + 3u, column, s3);
    store(first + 4u, column, s4);
    store(first + 5u, column, s5);
    store(first + 6u, column, s6);
    store(first + 7u, column, s7);
}
