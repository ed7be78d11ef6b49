//! Products on the GPU: how rows and columns are divided among invocations, for all ops that are one.
//!
//! A product is `output[i, j] = Σ_l A[i, l] B[l, j]`. An [`Operand`] says where `A` or `B` is: in a matrix, or under the
//! windows of a convolution. A scheme, a shader of the `matmul` family, does the rest. Each combination is a variant.

use super::epilogue;
use crate::graph::{Binding, Capabilities, Expression, Kernel, Launch};
use crate::tensor::{Meta, Shape};

/// Where one of the two factors is.
#[derive(Clone)]
pub(super) struct Operand {
    /// What holds it.
    pub binding: Binding,
    /// Elements of that buffer: `f32` or `vec4f`.
    pub element: &'static str,
    /// The snippet which fetches blocks of it.
    pub snippet: &'static str,
}

/// A product, or `batch` of them.
#[derive(Clone)]
pub(super) struct Product<'a> {
    pub batch: usize,
    pub rows: usize,
    pub columns: usize,
    pub terms: usize,
    pub a: Operand,
    pub b: Operand,
    /// What the snippets of the operands want in the header.
    pub constants: Vec<(&'static str, usize)>,
    /// What becomes of the result.
    pub result: Stored<'a>,
}

/// Where a product goes.
#[derive(Clone, Copy)]
pub(super) enum Stored<'a> {
    /// Through the op's epilogue to its result; `inputs` are all inputs of the op, of which `own` belong to the product.
    Output { epilogue: Option<&'a Expression>, inputs: &'a [&'a Meta], own: usize, shape: &'a Shape },
    /// To a scratch buffer, `[batch, rows, columns]`, where columns are a multiple of 4.
    Scratch(usize),
}

impl Stored<'_> {
    /// Adds the function `epilogue` to a launch whose bindings are complete otherwise: on four columns at once, if they
    /// are a multiple of 4.
    pub fn attach(self, launch: Launch) -> Launch {
        match self {
            Self::Scratch(_) => epilogue::attach(launch, None, &[], 0, &Shape::from([4]), 4),
            Self::Output { epilogue, inputs, own, shape } => {
                let width = if shape.last().is_multiple_of(4) { 4 } else { 1 };
                epilogue::attach(launch, epilogue, inputs, own, shape, width)
            }
        }
    }
}

/// How rows and columns are divided among invocations.
#[derive(Clone, Copy)]
enum Scheme {
    Registers,
    Subgroup {
        lanes: usize,
        stack: usize,
    },
    /// Of so many rows and columns: 64 or 128.
    Tiled(usize),
}

/// Terms which a part of a split sum has at least: below, storing and adding the parts costs more than they save.
const LEAST_STRETCH: usize = 128;
/// Workgroups that keep hardware busy.
const FULL: usize = 256;

impl Scheme {
    /// The schemes for an adapter, the preferred first.
    ///
    /// Where loads cost more than arithmetic and workgroup memory is no cheaper than any other, that is in software, a
    /// large tile in registers wins, fed by broadcasts if there are any. Hardware has workgroup memory for this; the larger
    /// tile comes first where there are enough of them to fill it.
    fn all(product: &Product<'_>, capabilities: &Capabilities) -> Vec<Self> {
        let subgroup = capabilities.subgroup.filter(|lanes| (4..=64).contains(lanes));
        // Workgroups of less than four subgroups leave hardware idle.
        let stack = if capabilities.software { 1 } else { 4 };
        let subgroup = subgroup.map(|lanes| Self::Subgroup { lanes: lanes as usize, stack });
        if capabilities.software {
            return subgroup.into_iter().chain([Self::Registers, Self::Tiled(64), Self::Tiled(128)]).collect();
        }
        let large = product.tiles(Self::Tiled(128)) >= FULL;
        let tiled = if large { [Self::Tiled(128), Self::Tiled(64)] } else { [Self::Tiled(64), Self::Tiled(128)] };
        tiled.into_iter().chain(subgroup).chain([Self::Registers]).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Registers => "registers",
            Self::Subgroup { .. } => "subgroup",
            Self::Tiled(64) => "tiled-64",
            Self::Tiled(_) => "tiled-128",
        }
    }

    /// Rows and columns that one workgroup, or one invocation of [`Scheme::Registers`], computes.
    fn tile(self) -> [usize; 2] {
        match self {
            Self::Registers => [8, 4],
            Self::Subgroup { lanes, stack } => [32 * stack, 4 * lanes],
            Self::Tiled(size) => [size, size],
        }
    }

    fn launch(self, tiles: usize) -> Launch {
        match self {
            Self::Registers => {
                let text = include_str!("../../shaders/matmul_registers.wgsl");
                Launch::new("matmul_registers.wgsl", text).threads(tiles, 64)
            }
            Self::Subgroup { lanes, stack } => {
                let text = include_str!("../../shaders/matmul_subgroup.wgsl");
                Launch::new("matmul_subgroup.wgsl", text)
                    .prepend(&format!("const SUBGROUP: u32 = {lanes}u;\nconst STACK: u32 = {stack}u;\n"))
                    .threads(tiles, 1)
            }
            Self::Tiled(size) => {
                let (shader, text) = match size {
                    64 => ("matmul_tiled_64.wgsl", include_str!("../../shaders/matmul_tiled_64.wgsl")),
                    _ => ("matmul_tiled_128.wgsl", include_str!("../../shaders/matmul_tiled_128.wgsl")),
                };
                let tiles_in_memory = include_str!("../../shaders/common/product_tiles.wgsl");
                Launch::new(shader, text)
                    .prepend(&format!("const QUADS: u32 = {}u;\n{tiles_in_memory}", size / 4))
                    .threads(tiles, 1)
            }
        }
    }
}

impl Product<'_> {
    /// Every kernel that computes it, the one to prefer first.
    pub fn kernels(&self, capabilities: &Capabilities) -> Vec<Kernel> {
        self.kernels_after(0, capabilities)
    }

    /// The same for a product that is the last launch of kernels which have `scratch` buffers of their own.
    pub fn kernels_after(&self, scratch: usize, capabilities: &Capabilities) -> Vec<Kernel> {
        Scheme::all(self, capabilities).into_iter().map(|scheme| self.kernel(scheme, scratch, capabilities)).collect()
    }

    /// The preferred scheme in one launch, without splitting the sum.
    pub fn whole(&self, capabilities: &Capabilities) -> Launch {
        let scheme = Scheme::all(self, capabilities)[0];
        self.launch(scheme, 1)
    }

    fn tiles(&self, scheme: Scheme) -> usize {
        let [rows, columns] = scheme.tile();
        self.batch * self.rows.div_ceil(rows) * self.columns.div_ceil(columns)
    }

    fn launch(&self, scheme: Scheme, parts: usize) -> Launch {
        self.store(self.operands(scheme.launch(self.tiles(scheme) * parts)))
            .params(self.params(parts, self.batch * parts))
    }

    fn params(&self, parts: usize, layers: usize) -> [usize; 5] {
        [self.rows, self.terms, self.terms.div_ceil(4).div_ceil(parts), parts, layers]
    }

    /// Into how many parts to split the sum: enough that all of the adapter has work.
    fn parts(&self, scheme: Scheme, capabilities: &Capabilities) -> usize {
        let tiles = self.tiles(scheme);
        let wanted = match scheme {
            Scheme::Registers => 1 << 12,
            // More than there are cores: short stretches of both operands stay in a core's cache.
            _ if capabilities.software => 256,
            _ => 2 * FULL,
        };
        if tiles * 2 >= wanted {
            return 1;
        }
        let quads = self.terms.div_ceil(4);
        let parts = (wanted / tiles).min(self.terms / LEAST_STRETCH).max(1);
        // As many as the stretches fill: none may be empty.
        quads.div_ceil(quads.div_ceil(parts))
    }

    fn kernel(&self, scheme: Scheme, scratch: usize, capabilities: &Capabilities) -> Kernel {
        let parts = self.parts(scheme, capabilities);
        if parts == 1 {
            return Kernel::single(scheme.name(), self.launch(scheme, 1));
        }
        let partial = Product { result: Stored::Scratch(scratch), ..self.clone() };
        let vectors = self.rows * self.columns.div_ceil(4);
        let text = include_str!("../../shaders/product_sum.wgsl");
        let add = Launch::new("product_sum.wgsl", text).threads(self.batch * vectors, 64);
        let add = self.store(declare(add, Binding::Scratch(scratch), "partial", "vec4f"));
        Kernel {
            variant: format!("{}-split", scheme.name()),
            launches: vec![partial.launch(scheme, parts), add.params(self.params(parts, self.batch))],
            scratch: vec![self.batch * parts * vectors * 16],
        }
    }

    /// Adds operands to the text of a scheme.
    fn operands(&self, launch: Launch) -> Launch {
        let launch = launch.prepend(self.b.snippet).prepend(self.a.snippet);
        let launch = declare(launch, self.a.binding, "a", self.a.element);
        declare(launch, self.b.binding, "b", self.b.element)
    }

    /// Adds what all products share, and the function which stores.
    fn store(&self, launch: Launch) -> Launch {
        let vec4 = include_str!("../../shaders/common/product_store_vec4.wgsl");
        let scalar = include_str!("../../shaders/common/product_store_scalar.wgsl");
        let launch = launch.prepend(include_str!("../../shaders/common/product.wgsl"));
        let vectors = self.columns.is_multiple_of(4) || matches!(self.result, Stored::Scratch(_));
        let (snippet, element) = if vectors { (vec4, "vec4f") } else { (scalar, "f32") };
        let binding = match self.result {
            Stored::Scratch(i) => Binding::Scratch(i),
            Stored::Output { .. } => Binding::Output,
        };
        let launch = self.result.attach(declare(launch.prepend(snippet), binding, "output", element));
        launch.constants([("N", self.columns)]).constants(self.constants.iter().copied())
    }
}

/// Binds one more buffer under a name.
pub(super) fn declare(launch: Launch, binding: Binding, name: &str, element: &str) -> Launch {
    let access = if matches!(binding, Binding::Input(_)) { "read" } else { "read_write" };
    let bindings: Vec<Binding> = launch.bindings.iter().copied().chain([binding]).collect();
    let number = bindings.len();
    launch
        .prepend(&format!("@group(0) @binding({number}) var<storage, {access}> {name}: array<{element}>;\n"))
        .bindings(bindings)
}

/// `A` as matrices `[rows, terms]`, or `[terms, rows]` if transposed.
pub(super) fn matrix_a(binding: Binding, transposed: bool, [rows, terms]: [usize; 2]) -> Operand {
    let (element, snippet) = match (transposed, rows % 4, terms % 4) {
        (false, _, 0) => ("vec4f", include_str!("../../shaders/common/product_a_vec4.wgsl")),
        (true, 0, _) => ("vec4f", include_str!("../../shaders/common/product_a_transposed_vec4.wgsl")),
        _ => ("f32", include_str!("../../shaders/common/product_a_scalar.wgsl")),
    };
    Operand { binding, element, snippet }
}

/// `B` as matrices `[terms, columns]`, or `[columns, terms]` if transposed.
pub(super) fn matrix_b(binding: Binding, transposed: bool, [terms, columns]: [usize; 2]) -> Operand {
    let (element, snippet) = match (transposed, terms % 4, columns % 4) {
        (false, _, 0) => ("vec4f", include_str!("../../shaders/common/product_b_vec4.wgsl")),
        (true, 0, _) => ("vec4f", include_str!("../../shaders/common/product_b_transposed_vec4.wgsl")),
        _ => ("f32", include_str!("../../shaders/common/product_b_scalar.wgsl")),
    };
    Operand { binding, element, snippet }
}
