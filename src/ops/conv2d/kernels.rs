//! GPU kernels of the three ops.
//!
//! Without groups all three are products of the `matmul` family whose operands are fetched from images: forward, windows
//! times weight; for the input, windows over the gradient times the flipped weight; for the weight, pixels at all taps
//! times gradient. A convolution with 3x3 taps and stride 1 has Winograd's form besides. Groups have kernels of their own.

use super::{Geometry, winograd};
use crate::graph::{Binding, Capabilities, Expression, Kernel, Launch};
use crate::ops::epilogue;
use crate::ops::product::{Operand, Product, Stored, matrix_b};
use crate::tensor::Meta;

/// Invocations per workgroup.
pub(super) const WORKGROUP: usize = 64;
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

/// A convolution forward, or the one that gives the gradient for the input: `source` is the image under the windows.
#[derive(Clone, Copy)]
pub(super) struct Windows {
    pub n: usize,
    pub source: [usize; 2],
    pub channels: usize,
    pub result: [usize; 2],
    pub filters: usize,
    pub size: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Distance between the pixels of the source once zeros stand between them.
    pub up: [usize; 2],
    /// Zeros at the top and left.
    pub before: [usize; 2],
    /// Whether the weight is that of another convolution, with input and output exchanged and the taps in reverse order.
    pub flipped: bool,
}

impl Windows {
    pub fn forward(g: &Geometry) -> Self {
        Self {
            n: g.n,
            source: g.input,
            channels: g.channels,
            result: g.output,
            filters: g.filters,
            size: g.window.size,
            stride: g.window.stride,
            dilation: g.window.dilation,
            up: [1; 2],
            before: [g.window.padding[0], g.window.padding[2]],
            flipped: false,
        }
    }

    /// The gradient for the input: a window over the gradient, as wide apart as the stride. `None` if the padding is wider
    /// than the window.
    fn backward(g: &Geometry) -> Option<Self> {
        let span = g.window.span();
        let before = |axis: usize| (span[axis] - 1).checked_sub(g.window.padding[2 * axis]);
        Some(Self {
            n: g.n,
            source: g.output,
            channels: g.filters,
            result: g.input,
            filters: g.channels,
            size: g.window.size,
            stride: [1; 2],
            dilation: g.window.dilation,
            up: g.window.stride,
            before: [before(0)?, before(1)?],
            flipped: true,
        })
    }

    pub fn constants(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("H", self.source[0]),
            ("W", self.source[1]),
            ("C", self.channels),
            ("OH", self.result[0]),
            ("OW", self.result[1]),
            ("KH", self.size[0]),
            ("KW", self.size[1]),
            ("SH", self.stride[0]),
            ("SW", self.stride[1]),
            ("DH", self.dilation[0]),
            ("DW", self.dilation[1]),
            ("UP_H", self.up[0]),
            ("UP_W", self.up[1]),
            ("TOP", self.before[0]),
            ("LEFT", self.before[1]),
        ]
    }

    /// Zeros at the bottom and right that a window of stride 1 reaches; `None` if it leaves out pixels of the source.
    pub fn after(&self) -> Option<[usize; 2]> {
        let after =
            |axis: usize| (self.result[axis] + self.size[axis] - 1).checked_sub(self.source[axis] + self.before[axis]);
        Some([after(0)?, after(1)?])
    }

    fn pixels(&self) -> usize {
        self.n * self.result[0] * self.result[1]
    }

    fn terms(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    /// A weight stored as the product wants it, a row for each term.
    fn weight(&self, binding: Binding) -> Operand {
        matrix_b(binding, false, [self.terms(), self.filters])
    }

    /// The weight of the other convolution, read in place; its filters, a multiple of 4, are the channels here.
    fn turned_weight(&self) -> Operand {
        let snippet = include_str!("../../../shaders/common/product_b_turned_vec4.wgsl");
        Operand { binding: Binding::Input(1), element: "vec4f", snippet }
    }

    /// All kernels, by tiles of pixels and filters, from the image in input 0 and the weight in `b`.
    fn products(&self, b: Operand, result: Stored<'_>, capabilities: &Capabilities) -> Vec<Kernel> {
        let (element, snippet) = if self.channels.is_multiple_of(4) {
            (
                "vec4f",
                concat!(
                    include_str!("../../../shaders/common/product_a_windows.wgsl"),
                    include_str!("../../../shaders/common/product_a_windows_vec4.wgsl"),
                ),
            )
        } else {
            (
                "f32",
                concat!(
                    include_str!("../../../shaders/common/product_a_windows.wgsl"),
                    include_str!("../../../shaders/common/product_a_windows_scalar.wgsl"),
                ),
            )
        };
        let mut constants = self.constants();
        constants.push(("TRANSPOSE_B", 0));
        let product = Product {
            batch: 1,
            rows: self.pixels(),
            columns: self.filters,
            terms: self.terms(),
            a: Operand { binding: Binding::Input(0), element, snippet },
            b,
            constants,
            result,
        };
        match product.b.binding {
            Binding::Scratch(_) => product.kernels_after(1, capabilities),
            _ => product.kernels(capabilities),
        }
    }

    fn depthwise(&self, result: Stored<'_>) -> Kernel {
        let text = include_str!("../../../shaders/conv2d_depthwise.wgsl");
        let launch = Launch::new("conv2d_depthwise.wgsl", text).bindings(TWO_INPUTS);
        let launch = result
            .attach(launch)
            .constants(self.constants())
            .constants([("FLIP", usize::from(self.flipped))])
            .params([self.pixels()])
            .threads(self.pixels() * self.channels / 4, WORKGROUP);
        Kernel::single("depthwise", launch)
    }
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
    capabilities: &Capabilities,
) -> Vec<Kernel> {
    let result = Stored::Output { epilogue: expression, inputs, own: 2, shape: &output.shape };
    let windows = Windows::forward(g);
    let mut kernels = Vec::new();
    if g.groups == 1 {
        kernels.extend(windows.products(windows.weight(Binding::Input(1)), result, capabilities));
        winograd::append(&mut kernels, &windows, result, capabilities);
    } else if g.is_depthwise() && g.channels.is_multiple_of(4) {
        kernels.push(windows.depthwise(result));
    }
    let finish = |launch: Launch, width: usize| {
        epilogue::attach(launch.bindings(TWO_INPUTS), expression, inputs, 2, &output.shape, width)
            .constants(constants(g))
    };
    if g.groups > 1 && in_fours(g) {
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
pub(super) fn grad_input(
    g: &Geometry,
    expression: Option<&Expression>,
    inputs: &[&Meta],
    output: &Meta,
    capabilities: &Capabilities,
) -> Vec<Kernel> {
    let result = Stored::Output { epilogue: expression, inputs, own: 2, shape: &output.shape };
    let mut kernels = Vec::new();
    match Windows::backward(g) {
        Some(windows) if g.groups == 1 => {
            if g.filters.is_multiple_of(4) {
                kernels = windows.products(windows.turned_weight(), result, capabilities);
            } else {
                kernels = windows.products(windows.weight(Binding::Scratch(0)), result, capabilities);
                kernels.iter_mut().for_each(|kernel| flip_first(kernel, g));
            }
            winograd::append(&mut kernels, &windows, result, capabilities);
        }
        Some(windows) if g.is_depthwise() && g.channels.is_multiple_of(4) => kernels.push(windows.depthwise(result)),
        _ => {}
    }
    let finish = |launch: Launch, width: usize| {
        epilogue::attach(launch.bindings(TWO_INPUTS), expression, inputs, 2, &output.shape, width)
            .constants(constants(g))
    };
    if kernels.is_empty() && in_fours(g) {
        let text = include_str!("../../../shaders/conv2d_grad_input_registers.wgsl");
        let pixels = g.n * g.input[0] * g.input[1];
        let launch = finish(Launch::new("conv2d_grad_input_registers.wgsl", text), 4)
            .params([pixels])
            .threads(pixels.div_ceil(4) * (g.channels / 4), WORKGROUP);
        kernels.push(Kernel::single("registers", launch));
    }
    let text = include_str!("../../../shaders/conv2d_grad_input_naive.wgsl");
    let n = output.elements();
    let launch = finish(Launch::new("conv2d_grad_input_naive.wgsl", text), 1).params([n]).threads(n, WORKGROUP);
    kernels.push(Kernel::single("naive", launch));
    kernels
}

/// Lets a kernel that expects the flipped weight in scratch 0 make it first.
fn flip_first(kernel: &mut Kernel, g: &Geometry) {
    let elements = g.terms() * g.filters;
    let text = include_str!("../../../shaders/conv2d_flip_weight.wgsl");
    let flip = Launch::new("conv2d_flip_weight.wgsl", text)
        .constants([("TAPS", g.window.size[0] * g.window.size[1]), ("C", g.channels), ("O", g.filters)])
        .params([0])
        .bindings([Binding::Input(1), Binding::Scratch(0)])
        .threads(elements, WORKGROUP);
    kernel.launches.insert(0, flip);
    kernel.scratch.insert(0, elements * 4);
}

/// Every kernel of the gradient for the weight.
pub(super) fn grad_weight(g: &Geometry, inputs: &[&Meta], output: &Meta, capabilities: &Capabilities) -> Vec<Kernel> {
    let mut kernels = Vec::new();
    if g.groups == 1 {
        let (element, snippet) = if g.channels.is_multiple_of(4) {
            ("vec4f", include_str!("../../../shaders/common/product_a_taps_vec4.wgsl"))
        } else {
            ("f32", include_str!("../../../shaders/common/product_a_taps_scalar.wgsl"))
        };
        let pixels = g.n * g.pixels();
        let mut constants = constants(g);
        constants.push(("TRANSPOSE_B", 0));
        let product = Product {
            batch: 1,
            rows: g.terms(),
            columns: g.filters,
            terms: pixels,
            a: Operand { binding: Binding::Input(0), element, snippet },
            b: matrix_b(Binding::Input(1), false, [pixels, g.filters]),
            constants,
            result: Stored::Output { epilogue: None, inputs, own: 2, shape: &output.shape },
        };
        kernels = product.kernels(capabilities);
        winograd::append_grad_weight(&mut kernels, g, capabilities);
    }
    let fits = |width: &usize| g.filters_in().is_multiple_of(*width);
    kernels.extend([4, 1].into_iter().filter(fits).map(|width| split(g, output, width)));
    kernels
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
    let variant = if width == 4 { "elements-vec4" } else { "elements" };
    Kernel { variant: variant.into(), launches: vec![sum, add], scratch: vec![output.elements() * parts * 4] }
}
