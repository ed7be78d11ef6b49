// B: the weight of a convolution [KH, KW, N, C] as its gradient for the input needs it, taps in reverse order:
// [KH * KW * C, N]. Read in place, as vectors along C, which is a multiple of 4.
alias Columns = vec4u;

fn b_columns(matrix: u32, column: u32) -> Columns {
    return min(vec4u(4u * column) + vec4u(0u, 1u, 2u, 3u), vec4u(N - 1u)) * (C / 4u);
}

fn b_block(columns: Columns, quad: u32) -> mat4x4f {
    let tap = min(quad / (C / 4u), KH * KW - 1u);
    let at = columns + (KH * KW - 1u - tap) * N * (C / 4u) + quad % (C / 4u);
    return transpose(mat4x4f(b[at.x], b[at.y], b[at.z], b[at.w]));
}
