/// How a GPU computes one op: launches in order, and the scratch memory they share. Data only: nothing here needs a GPU.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which form of the family this is, for instance `tiled-64`.
    pub variant: String,
    /// Dispatches, in order.
    pub launches: Vec<Launch>,
    /// Bytes of each scratch buffer.
    pub scratch: Vec<usize>,
}

/// One dispatch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The shader file this comes from, for messages and tests.
    pub shader: &'static str,
    /// The whole WGSL text: the header of constants, generated functions, snippets, the file.
    pub source: String,
    /// Words of the uniform block at binding 0: what varies with the batch size, in the order of `struct Params`.
    pub params: Vec<u32>,
    /// What is bound at 1, 2, 3, …
    pub bindings: Vec<Binding>,
    /// Workgroups in x, y, z.
    pub workgroups: [u32; 3],
}

/// What a storage binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The op's input of that index. Declared `read` in WGSL.
    Input(usize),
    /// The op's result. Declared `read_write`.
    Output,
    /// The kernel's scratch buffer of that index. Declared `read_write` also where it is only read.
    Scratch(usize),
    /// The parameter arena. This and the following are for optimizers only. Declared `read_write`.
    Parameters,
    /// The gradient arena. Declared `read`.
    Gradients,
    /// One float by which the gradients must be multiplied. Declared `read`.
    GradientScale,
    /// A moment's arena. Declared `read_write`.
    Moment(usize),
}

/// What an adapter can do, as far as the choice of kernels depends on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capabilities {
    /// The subgroup size, where subgroup operations exist, minimum and maximum agree, and a probe confirmed lane order.
    pub subgroup: Option<u32>,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Invocations per workgroup.
    pub invocations: u32,
    /// Whether a subgroup multiplies matrices of 8×8 f32 together, and the user wants it to: an experimental feature of
    /// wgpu, off unless the environment has `OCELLUS_COOPERATIVE_MATRIX=1`.
    pub cooperative: bool,
    /// Whether the adapter runs on the CPU: loads cost more than arithmetic there, and workgroup memory gains nothing.
    pub software: bool,
}

impl Capabilities {
    /// What every WebGPU adapter has: for tests and checks without a device.
    pub fn baseline() -> Self {
        Self { subgroup: None, workgroup_memory: 16 << 10, invocations: 256, cooperative: false, software: false }
    }
}

/// Most workgroups per dimension which WebGPU guarantees.
pub const MAX_WORKGROUPS: u32 = 65_535;

impl Kernel {
    /// A kernel of one launch without scratch memory.
    pub fn single(variant: impl Into<String>, launch: Launch) -> Self {
        Self { variant: variant.into(), launches: vec![launch], scratch: Vec::new() }
    }
}

impl Launch {
    /// A launch of the shader file `shader` with text `text`. Add constants, parameters, bindings and a grid.
    pub fn new(shader: &'static str, text: &str) -> Self {
        Self { shader, source: text.to_owned(), params: Vec::new(), bindings: Vec::new(), workgroups: [1; 3] }
    }

    /// Writes `const NAME: u32 = VALUE;` in front of the text. Call it after [`Launch::prepend`].
    pub fn constants<'a>(mut self, constants: impl IntoIterator<Item = (&'a str, usize)>) -> Self {
        let header: String =
            constants.into_iter().map(|(name, value)| format!("const {name}: u32 = {value}u;\n")).collect();
        self.source.insert_str(0, &header);
        self
    }

    /// Writes `const NAME: f32 = VALUE;` in front of the text.
    pub fn float_constants<'a>(mut self, constants: impl IntoIterator<Item = (&'a str, f32)>) -> Self {
        let header: String =
            constants.into_iter().map(|(name, value)| format!("const {name}: f32 = {};\n", wgsl_f32(value))).collect();
        self.source.insert_str(0, &header);
        self
    }

    /// Joins a snippet or a generated function in front of the text.
    pub fn prepend(mut self, snippet: &str) -> Self {
        self.source.insert_str(0, snippet);
        self
    }

    /// The words of `struct Params`.
    pub fn params(mut self, params: impl IntoIterator<Item = usize>) -> Self {
        self.params = params.into_iter().map(|word| word as u32).collect();
        self
    }

    /// What is bound at 1, 2, 3, …
    pub fn bindings(mut self, bindings: impl IntoIterator<Item = Binding>) -> Self {
        self.bindings = bindings.into_iter().collect();
        self
    }

    /// A grid of workgroups. Each extent must be at most [`MAX_WORKGROUPS`]; see [`Launch::threads`] for long rows.
    pub fn workgroups(mut self, workgroups: [usize; 3]) -> Self {
        self.workgroups = workgroups.map(|w| w.max(1) as u32);
        self
    }

    /// As many workgroups of `size` invocations as cover `threads`, spread over x and y where one row is too short. The
    /// shader finds its number as `id.x + id.y * groups.x * SIZE`, with `groups` its `num_workgroups`.
    pub fn threads(self, threads: usize, size: usize) -> Self {
        let (x, y) = spread(threads.div_ceil(size));
        self.workgroups([x, y, 1])
    }
}

/// Spreads a number of workgroups over two dimensions.
pub fn spread(groups: usize) -> (usize, usize) {
    let y = groups.div_ceil(MAX_WORKGROUPS as usize).max(1);
    (groups.div_ceil(y).max(1), y)
}

/// A float as WGSL text which keeps its value exactly.
pub fn wgsl_f32(value: f32) -> String {
    if value.is_finite() { format!("{value:e}f") } else { format!("bitcast<f32>({:#x}u)", value.to_bits()) }
}
