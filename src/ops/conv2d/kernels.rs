use super::Geometry;
use crate::graph::{Binding, Capabilities, Expression, Kernel, Launch};
use crate::ops::epilogue;
use crate::tensor::Meta;

/// Invocations per workgroup.
const WORKGROUP: usize = 64;
/// Invocations to aim for when a sum over pixels is split into parts.
const PARALLEL: usize = 1 << 14;
/// Most parts of such a sum.
const MOST_PARTS: usize = 64;

/// What does not change with the batch size.
fn constants(g: &Geometry) -> Vec<(&'static str, usize)> {
    let ([h, w], [oh, ow], [kh, kw]) = (g.input, g.output, g.window.size);
    let ([sh, sw], [dh, dw], [top, _, left, _]) = (g.window.stride, g.window.dilation, g.window.padding);
    vec![
        ("H", h),
        ("W", w),
        ("C", g.channels),
        ("OH", oh),
        ("OW", ow),
        ("O", g.filters),
        ("KH", kh),
        ("KW", kw),
        ("CG", g.channels_in()),
        ("GROUP_FILTERS", g.filters_in()),
        ("SH", sh),
        ("SW", sw),
        ("TOP", top),
        ("LEFT", left),
        ("DH", dh),
        ("DW", dw),
    ]
}

/// Whether channels and filters of each group can be read four at a time.
fn in_fours(g: &Geometry) -> bool {
    g.channels_in().is_multiple_of(4) && g.filters_in().is_multiple_of(4)
}

const TWO_INPUTS: [Binding; 3] = [Binding::Input(0), Binding::Input(1), Binding::Output];

/// Every kernel of the forward convolution, the one to prefer first.
pub(super) fn forward(
    g: &Geometry,
    expression: Option<&Expression>,
    inputs: &[&Meta],
    output: &Meta,
    _capabilities: &Capabilities,
) -> Vec<Kernel> {
    let finish = |launch: Launch, width: usize| {
        epilogue::attach(launch.bindings(TWO_INPUTS), expression, inputs, 2, &output.shape, width)
            .constants(constants(g))
    };
    let mut kernels = Vec::new();
    if in_fours(g) {
        let text = include_str!("../../../shaders/conv2d_registers.wgsl");
        let pixels = g.n * g.pixels();
        let threads = pixels.div_ceil(8) * (g.filters / 4);
        let launch = finish(Launch::new("conv2d_registers.wgsl", text), 4).params([pixels]).threads(threads, WORKGROUP);
        kernels.push(Kernel::single("registers", launch));
    }
    let text = include_str!("../../../shaders/conv2d_naive.wgsl");
    let n = output.elements();
    let launch = finish(Launch::new("conv2d_naive.wgsl", text), 1).params([n]).threads(n, WORKGROUP);
    kernels.push(Kernel::single("naive", launch));
    kernels
}

/// Every kernel of the gradient for the input.
pub(super) fn grad_input(g: &Geometry, output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
    let mut kernels = Vec::new();
    if in_fours(g) {
        let text = include_str!("../../../shaders/conv2d_grad_input_registers.wgsl");
        let pixels = g.n * g.input[0] * g.input[1];
        let launch = Launch::new("conv2d_grad_input_registers.wgsl", text)
            .constants(constants(g))
            .params([pixels])
            .bindings(TWO_INPUTS)
            .threads(pixels.div_ceil(4) * (g.channels / 4), WORKGROUP);
        kernels.push(Kernel::single("registers", launch));
    }
    let text = include_str!("../../../shaders/conv2d_grad_input_naive.wgsl");
    let n = output.elements();
    let launch = Launch::new("conv2d_grad_input_naive.wgsl", text)
        .constants(constants(g))
        .params([n])
        .bindings(TWO_INPUTS)
        .threads(n, WORKGROUP);
    kernels.push(Kernel::single("naive", launch));
    kernels
}

/// Every kernel of the gradient for the weight.
pub(super) fn grad_weight(g: &Geometry, output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
    let fits = |width: &usize| g.filters_in().is_multiple_of(*width);
    [4, 1].into_iter().filter(fits).map(|width| split(g, output, width)).collect()
}

/// The kernel that splits the sum over pixels, on vectors of `width` filters.
fn split(g: &Geometry, output: &Meta, width: usize) -> Kernel {
    let elements = output.elements() / width;
    // Not from the batch size: programs for different ones share the kernel.
    let parts = (PARALLEL / elements).clamp(1, MOST_PARTS).min(g.pixels());
    let vector = if width == 4 { "alias V = vec4f;\n" } else { "alias V = f32;\n" };
    let text = include_str!("../../../shaders/conv2d_grad_weight.wgsl");
    let sum = Launch::new("conv2d_grad_weight.wgsl", text)
        .prepend(vector)
        .constants(constants(g))
        .constants([("WIDTH", width), ("PARTS", parts)])
        .params([g.n * g.pixels()])
        .bindings([Binding::Input(0), Binding::Input(1), Binding::Scratch(0)])
        .threads(elements * parts, WORKGROUP);
    let text = include_str!("../../../shaders/conv2d_grad_weight_sum.wgsl");
    let add = Launch::new("conv2d_grad_weight_sum.wgsl", text)
        .prepend(vector)
        .constants([("ELEMENTS", elements), ("PARTS", parts)])
        .params([0])
        .bindings([Binding::Scratch(0), Binding::Output])
        .threads(elements, WORKGROUP);
    let variant = if width == 4 { "split-vec4" } else { "split" };
    Kernel { variant: variant.into(), launches: vec![sum, add], scratch: vec![output.elements() * parts * 4] }
}
