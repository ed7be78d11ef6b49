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
    /// To a scratch buffer, `[batch, layers, rows, columns]`, where columns are rounded up to a multiple of 4.
    Scratch(usize),
}

/// Which parts of a split sum a launch leaves, each in a layer of its own.
#[derive(Clone, Copy)]
pub(super) struct Layers {
    /// Parts into which the launch splits its terms.
    pub parts: usize,
    /// The layer of the first of them.
    pub first: usize,
    /// Layers of each matrix, with those of other launches.
    pub of: usize,
}

impl Layers {
    /// The sum is not split.
    const WHOLE: Self = Self { parts: 1, first: 0, of: 1 };
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
    Subgroup(Broadcast),
    /// Of so many rows and columns: 64 or 128.
    Tiled(usize),
}

/// A tile in the registers of a subgroup.
#[derive(Clone, Copy)]
struct Broadcast {
    lanes: usize,
    /// Lanes that share rows: all, or four.
    group: usize,
    /// Vectors of columns that a lane holds.
    vectors: usize,
    /// Subgroups of a workgroup.
    stack: usize,
}

impl Broadcast {
    /// The forms that suit a product, the preferred first.
    fn all(product: &Product<'_>, capabilities: &Capabilities) -> Vec<Self> {
        let Some(lanes) = capabilities.subgroup.filter(|lanes| (4..=64).contains(lanes)) else { return Vec::new() };
        let lanes = lanes as usize;
        // Workgroups of less than four subgroups leave hardware idle.
        let stack = if capabilities.software { 1 } else { 4 };
        let plain = Self { lanes, group: lanes, vectors: 1, stack };
        let narrow = Self { group: 4, ..plain };
        let wide = Self { vectors: 2, ..plain };
        if lanes > 4 && product.columns <= narrow.tile()[1] && product.rows > plain.tile()[0] {
            vec![narrow, plain]
        } else if capabilities.software && product.columns > plain.tile()[1] {
            // Hardware has not as many registers, and drivers take twice as long for it.
            let large = product.batch * product.rows * product.columns * product.terms >= WORTH_WIDE;
            if large { vec![wide, plain] } else { vec![plain, wide] }
        } else {
            vec![plain]
        }
    }

    fn name(self) -> &'static str {
        match (self.group < self.lanes, self.vectors) {
            (true, _) => "subgroup-narrow",
            (_, 2) => "subgroup-wide",
            _ => "subgroup",
        }
    }

    fn tile(self) -> [usize; 2] {
        [32 * self.stack * (self.lanes / self.group), 4 * self.panel()]
    }

    /// Vectors of columns that a tile has.
    fn panel(self) -> usize {
        self.group * self.vectors
    }

    fn launch(self) -> Launch {
        let Self { lanes, group, vectors, stack } = self;
        let spread = match group {
            4 => include_str!("../../shaders/common/product_spread_quads.wgsl"),
            _ => include_str!("../../shaders/common/product_spread_subgroup.wgsl"),
        };
        Launch::new("matmul_subgroup.wgsl", include_str!("../../shaders/matmul_subgroup.wgsl"))
            .prepend(spread)
            .constants([("SUBGROUP", lanes), ("GROUP", group), ("VECTORS", vectors), ("STACK", stack)])
    }
}

/// Multiply-adds from which on the wide form saves more than compiling it costs.
const WORTH_WIDE: usize = 1 << 23;
/// Terms which a part of a split sum has at least: below, storing and adding the parts costs more than they save.
const LEAST_STRETCH: usize = 128;
/// Workgroups that keep hardware busy.
const FULL: usize = 256;
/// Rows, columns and terms from which on packing both operands may pay.
const LEAST_PACKED: usize = 128;

impl Scheme {
    /// The schemes for an adapter, the preferred first.
    ///
    /// Where loads cost more than arithmetic and workgroup memory is no cheaper than any other, that is in software, a
    /// large tile in registers wins, fed by broadcasts if there are any. Hardware has workgroup memory for this; the larger
    /// tile comes first where there are enough of them to fill it.
    fn all(product: &Product<'_>, capabilities: &Capabilities) -> Vec<Self> {
        let subgroup = Broadcast::all(product, capabilities).into_iter().map(Self::Subgroup);
        if capabilities.software {
            return subgroup.chain([Self::Registers, Self::Tiled(64), Self::Tiled(128)]).collect();
        }
        let large = product.tiles(Self::Tiled(128)) >= FULL;
        let tiled = if large { [Self::Tiled(128), Self::Tiled(64)] } else { [Self::Tiled(64), Self::Tiled(128)] };
        tiled.into_iter().chain(subgroup).chain([Self::Registers]).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Registers => "registers",
            Self::Subgroup(form) => form.name(),
            Self::Tiled(64) => "tiled-64",
            Self::Tiled(_) => "tiled-128",
        }
    }

    /// Rows and columns that one workgroup, or one invocation of [`Scheme::Registers`], computes.
    fn tile(self) -> [usize; 2] {
        match self {
            Self::Registers => [8, 4],
            Self::Subgroup(form) => form.tile(),
            Self::Tiled(size) => [size, size],
        }
    }

    fn launch(self, tiles: usize) -> Launch {
        match self {
            Self::Registers => {
                let text = include_str!("../../shaders/matmul_registers.wgsl");
                Launch::new("matmul_registers.wgsl", text).threads(tiles, 64)
            }
            Self::Subgroup(form) => form.launch().threads(tiles, 1),
            Self::Tiled(size) => Launch::new("matmul_tiled.wgsl", include_str!("../../shaders/matmul_tiled.wgsl"))
                .prepend(include_str!("../../shaders/common/product_tiles.wgsl"))
                .constants([("QUADS", size / 4)])
                .threads(tiles, 1),
        }
    }
}

impl Product<'_> {
    /// Every kernel that computes it, the one to prefer first.
    pub fn kernels(&self, capabilities: &Capabilities) -> Vec<Kernel> {
        self.kernels_after(0, capabilities)
    }

    /// The kernel that packs both operands first, for a large product in software, where a tile's own reads would be
    /// scattered over the whole of both.
    pub fn packed(&self, capabilities: &Capabilities) -> Option<Kernel> {
        let large = self.rows.min(self.columns).min(self.terms) >= LEAST_PACKED;
        let form = *Broadcast::all(self, capabilities).first().filter(|_| capabilities.software && large)?;
        let panel = form.panel();
        let quads = self.terms.div_ceil(4);
        let blocks = [self.rows.div_ceil(32) * 8, self.columns.div_ceil(4 * panel) * panel];
        let texts = [
            ("product_pack_a.wgsl", include_str!("../../shaders/product_pack_a.wgsl")),
            ("product_pack_b.wgsl", include_str!("../../shaders/product_pack_b.wgsl")),
        ];
        let pack = |i: usize| {
            let (shader, text) = texts[i];
            let launch = Launch::new(shader, text).threads(self.batch * blocks[i] * quads, 64);
            let (operand, name) = [(&self.a, "a"), (&self.b, "b")][i];
            let launch = declare(launch.prepend(operand.snippet), operand.binding, name, operand.element);
            let product = Product { result: Stored::Scratch(i), ..self.clone() };
            product.store(launch).constants([("PANEL", panel)]).params(self.params(Layers::WHOLE))
        };
        let packed = |i: usize, snippet| Operand { binding: Binding::Scratch(i), element: "vec4f", snippet };
        let product = Product {
            a: packed(0, include_str!("../../shaders/common/product_a_packed.wgsl")),
            b: packed(1, include_str!("../../shaders/common/product_b_packed.wgsl")),
            constants: vec![("PANEL", panel)],
            ..self.clone()
        };
        Some(Kernel {
            variant: format!("{}-packed", form.name()),
            launches: vec![pack(0), pack(1), product.launch(Scheme::Subgroup(form), Layers::WHOLE)],
            scratch: blocks.map(|n| self.batch * n * quads * 64).to_vec(),
        })
    }

    /// The same for a product that is the last launch of kernels which have `scratch` buffers of their own.
    pub fn kernels_after(&self, scratch: usize, capabilities: &Capabilities) -> Vec<Kernel> {
        Scheme::all(self, capabilities).into_iter().map(|scheme| self.kernel(scheme, scratch, capabilities)).collect()
    }

    /// The preferred scheme in one launch, without splitting the sum.
    pub fn whole(&self, capabilities: &Capabilities) -> Launch {
        self.preferred(capabilities, Layers::WHOLE)
    }

    /// The preferred scheme in one launch, which leaves some layers of the result.
    pub fn preferred(&self, capabilities: &Capabilities, layers: Layers) -> Launch {
        self.launch(Scheme::all(self, capabilities)[0], layers)
    }

    /// Into how many parts the preferred scheme would split the sum.
    pub fn preferred_parts(&self, capabilities: &Capabilities) -> usize {
        self.parts(Scheme::all(self, capabilities)[0], capabilities)
    }

    /// Adds up the `layers` of each matrix that stand in a scratch buffer.
    pub fn add_layers(&self, scratch: usize, layers: usize) -> Launch {
        let vectors = self.rows * self.columns.div_ceil(4);
        let text = include_str!("../../shaders/product_sum.wgsl");
        let add = Launch::new("product_sum.wgsl", text).threads(self.batch * vectors, 64);
        let add = self.store(declare(add, Binding::Scratch(scratch), "partial", "vec4f"));
        add.params(self.params(Layers { of: layers, ..Layers::WHOLE }))
    }

    fn tiles(&self, scheme: Scheme) -> usize {
        let [rows, columns] = scheme.tile();
        self.batch * self.rows.div_ceil(rows) * self.columns.div_ceil(columns)
    }

    fn launch(&self, scheme: Scheme, layers: Layers) -> Launch {
        self.store(self.operands(scheme.launch(self.tiles(scheme) * layers.parts))).params(self.params(layers))
    }

    fn params(&self, Layers { parts, first, of }: Layers) -> [usize; 7] {
        [self.rows, self.terms, self.terms.div_ceil(4).div_ceil(parts), self.batch, parts, first, of]
    }

    /// Into how many parts to split the sum: enough that all of the adapter has work.
    fn parts(&self, scheme: Scheme, capabilities: &Capabilities) -> usize {
        let tiles = self.tiles(scheme);
        let wanted = match scheme {
            Scheme::Registers => 1 << 12,
            // More than there are cores.
            _ if capabilities.software => 64,
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
            return Kernel::single(scheme.name(), self.launch(scheme, Layers::WHOLE));
        }
        let partial = Product { result: Stored::Scratch(scratch), ..self.clone() };
        Kernel {
            variant: format!("{}-split", scheme.name()),
            launches: vec![
                partial.launch(scheme, Layers { parts, first: 0, of: parts }),
                self.add_layers(scratch, parts),
            ],
            scratch: vec![self.batch * parts * self.rows * self.columns.div_ceil(4) * 16],
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
