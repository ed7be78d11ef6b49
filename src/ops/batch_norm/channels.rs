use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::graph::{Binding, Capabilities, Kernel, Launch};
use crate::ops::product::declare;
use crate::simd::vectorized;
use crate::tensor::{DType, Meta, Shape};

/// Elements one task of the CPU reduces: they stay in the second-level cache.
const TASK: usize = 16 << 10;
/// Sums which the CPU keeps side by side, at least: enough to fill its vector registers several times.
const LANES: usize = 64;
/// Elements up to which an adapter in software reduces in one launch.
const SMALL: usize = 1 << 20;
/// Channels which are finished together on the CPU.
const GROUP: usize = 16;

/// A tensor seen as `[rows, channels]`, reduced to two numbers for each channel.
#[derive(Clone, Copy)]
pub(super) struct Channels {
    pub rows: usize,
    pub channels: usize,
}

impl Channels {
    pub fn of(shape: &Shape) -> Self {
        let channels = shape.last();
        Self { rows: shape.elements() / channels.max(1), channels }
    }

    /// The shape of a result of `rows` numbers for each channel.
    ///
    /// Errors, in the name of the op `at`: if the tensor is not f32, has no rows, or no elements.
    pub fn result(at: &str, input: &Meta, rows: usize) -> Result<Meta> {
        if input.dtype != DType::F32 {
            return Err(Error::shape(at, format!("takes floats, not {input}")));
        }
        if input.shape.rank() < 2 || input.elements() == 0 {
            return Err(Error::shape(at, format!("takes [n, …, channels] with elements, not {input}")));
        }
        Ok(Meta::f32([rows, input.shape.last()]))
    }

    fn rows_per_task(self) -> usize {
        (TASK / self.channels).max(1)
    }

    /// Sums kept side by side: whole rows, so that each belongs to one channel.
    fn lanes(self) -> usize {
        self.channels * LANES.div_ceil(self.channels)
    }

    pub fn cpu_scratch(self) -> usize {
        self.rows.div_ceil(self.rows_per_task()) * 2 * self.lanes()
    }

    /// Reduces on the CPU: `part` fills two rows of lanes from some rows of each tensor, of which the first `channels`
    /// lanes count; `finish` makes a group of channels of the result from all parts. The order of each sum depends on
    /// shapes only.
    pub fn cpu<const N: usize>(
        self,
        inputs: [&[f32]; N],
        output: &mut [f32],
        scratch: &mut [f32],
        part: impl Fn([&[f32]; N], [&mut [f32]; 2]) + Sync,
        finish: impl Fn(Parts<'_>, [&mut [f32]; 2]),
    ) {
        let (lanes, task) = (self.lanes(), self.rows_per_task() * self.channels);
        scratch.par_chunks_exact_mut(2 * lanes).enumerate().for_each(|(i, sums)| {
            let rows = inputs.map(|x| &x[i * task..][..task.min(x.len() - i * task)]);
            vectorized(
                #[inline(always)]
                || part(rows, sums.split_at_mut(lanes).into()),
            );
        });
        let (first, second) = output.split_at_mut(self.channels);
        let groups = first.chunks_mut(GROUP).zip(second.chunks_mut(GROUP)).enumerate();
        for (i, (first, second)) in groups {
            let parts = Parts { channels: self, scratch, from: i * GROUP, n: first.len() };
            vectorized(
                #[inline(always)]
                || finish(parts, [first, second]),
            );
        }
    }
}

/// What the tasks of the CPU left, for a group of channels.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    channels: Channels,
    scratch: &'a [f32],
    from: usize,
    n: usize,
}

impl Parts<'_> {
    /// For each channel of the group, the sum over all parts of `f` of the channel's number in the group, the rows of
    /// the part and its two numbers.
    #[inline(always)]
    pub fn sum(self, f: impl Fn(usize, f64, f64, f64) -> f64) -> [f64; GROUP] {
        let Channels { rows, .. } = self.channels;
        let (lanes, task) = (self.channels.lanes(), self.channels.rows_per_task());
        let mut total = [0.0; GROUP];
        for (i, part) in self.scratch.chunks_exact(2 * lanes).enumerate() {
            let n = task.min(rows - i * task) as f64;
            let (first, second) = part.split_at(lanes);
            let pairs = first[self.from..][..self.n].iter().zip(&second[self.from..][..self.n]);
            for (j, (total, (&a, &b))) in total.iter_mut().zip(pairs).enumerate() {
                *total += f(j, n, f64::from(a), f64::from(b));
            }
        }
        total
    }
}

/// Sums up, for each lane, `f` of its constant and its elements of `rows`.
#[inline(always)]
pub(super) fn accumulate<const N: usize>(
    sums: &mut [f32],
    constants: &[f32],
    rows: [&[f32]; N],
    f: impl Fn(f32, [f32; N]) -> f32,
) {
    let (lanes, n) = (sums.len(), rows[0].len());
    let whole = n / lanes * lanes;
    sums.fill(0.0);
    // Some lanes at a time, whose sums stay in registers.
    let (groups, rest) = sums.as_chunks_mut::<LANES>();
    for (i, (group, constants)) in groups.iter_mut().zip(constants.as_chunks::<LANES>().0).enumerate() {
        let mut total = [0.0; LANES];
        for start in (i * LANES..whole).step_by(lanes) {
            let block = rows.map(|r| r[start..].first_chunk::<LANES>().expect("a whole row of lanes"));
            for lane in 0..LANES {
                total[lane] += f(constants[lane], block.map(|b| b[lane]));
            }
        }
        *group = total;
    }
    let first = lanes - rest.len();
    for start in (first..whole).step_by(lanes) {
        add(rest, &constants[first..], rows.map(|r| &r[start..]), &f);
    }
    add(&mut sums[..n - whole], constants, rows.map(|r| &r[whole..]), &f);
}

/// Adds `f` of each lane's constant and its elements of one row of lanes.
#[inline(always)]
fn add<const N: usize>(sums: &mut [f32], constants: &[f32], rows: [&[f32]; N], f: impl Fn(f32, [f32; N]) -> f32) {
    let (constants, rows) = (&constants[..sums.len()], rows.map(|r| &r[..sums.len()]));
    for (lane, sum) in sums.iter_mut().enumerate() {
        *sum += f(constants[lane], rows.map(|r| r[lane]));
    }
}

/// Adds up the lanes of each channel in the first ones.
#[inline(always)]
pub(super) fn fold(sums: &mut [f32], channels: usize) {
    let (total, rest) = sums.split_at_mut(channels);
    for row in rest.chunks_exact(channels) {
        total.iter_mut().zip(row).for_each(|(t, &x)| *t += x);
    }
}

/// What the kernels compute, in WGSL.
pub(super) struct Source<'a> {
    pub constants: &'a [(&'a str, f32)],
    /// `struct Part` and `fn combine`.
    pub part: &'a str,
    /// `fn gather` from rows of the tensors.
    pub rows: Text<'a>,
    /// `fn gather` from `parts` that earlier invocations left.
    pub parts: &'a str,
    /// `fn store` of the result.
    pub finish: Text<'a>,
}

/// A text, with numbers and names of the op's inputs that it reads.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub text: &'a str,
    pub inputs: &'a [(usize, &'a str)],
}

/// Where a launch takes its items from, and where its result goes.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// From rows to the result.
    Only,
    /// From rows to parts.
    First,
    /// From parts to the result.
    Second,
}

impl Channels {
    /// The kernels which compute `source`.
    pub fn kernels(self, source: &Source<'_>, capabilities: &Capabilities) -> Vec<Kernel> {
        if capabilities.software {
            // A second launch costs more than a few cores without work.
            let registers = self.staged(&Form::registers(self), 1 << 10, source);
            let tree = self.staged(&Form::small_tree(self), 1, source);
            return if self.rows * self.channels <= SMALL { vec![tree, registers] } else { vec![registers, tree] };
        }
        let registers = self.staged(&Form::registers(self), 1 << 14, source);
        let tree = self.staged(&Form::tree(self), 1 << 17, source);
        if self.rows < 32 { vec![registers, tree] } else { vec![tree, registers] }
    }

    /// One launch, or two if that keeps about `threads` invocations busy with at least 16 rows each.
    fn staged(self, form: &Form, threads: usize, source: &Source<'_>) -> Kernel {
        let wanted = threads.div_ceil(form.columns * form.rows).min(1024);
        let length = self.rows.div_ceil(wanted).max(16 * form.rows);
        let count = self.rows.div_ceil(length);
        if count == 1 {
            let params = [self.rows, self.rows, 1, self.rows, 1];
            return Kernel::single(form.name, form.launch(self, source, Stage::Only, params));
        }
        let first = form.launch(self, source, Stage::First, [self.rows, length, count, self.rows, 1]);
        let second = form.launch(self, source, Stage::Second, [count, count, 1, self.rows, length]);
        Kernel {
            variant: format!("{}, two stages", form.name),
            launches: vec![first, second],
            scratch: vec![count * 2 * self.channels * 4],
        }
    }
}

/// How invocations share the work.
struct Form {
    name: &'static str,
    /// Rows which invocations of a workgroup take side by side.
    rows: usize,
    /// Invocations which take a row together.
    columns: usize,
    /// Channels an invocation takes.
    width: usize,
    /// Neighbouring columns in a workgroup of the tree.
    lanes: usize,
}

impl Form {
    fn registers(channels: Channels) -> Self {
        let width = if channels.channels.is_multiple_of(4) { 4 } else { 1 };
        Self { name: "registers", rows: 1, columns: channels.channels / width, width, lanes: 1 }
    }

    fn tree(channels: Channels) -> Self {
        Self::tree_of(channels, 1, 32)
    }

    /// Of few vectors of four channels: work for two cores even where there are few channels.
    fn small_tree(channels: Channels) -> Self {
        let width = if channels.channels.is_multiple_of(4) { 4 } else { 1 };
        Self::tree_of(channels, width, (channels.channels / width / 2).clamp(1, 4))
    }

    fn tree_of(channels: Channels, width: usize, most_lanes: usize) -> Self {
        let columns = channels.channels / width;
        let lanes = columns.next_power_of_two().min(most_lanes.next_power_of_two());
        Self { name: "tree", rows: 256 / lanes, columns: columns.next_multiple_of(lanes), width, lanes }
    }

    fn launch(&self, channels: Channels, source: &Source<'_>, stage: Stage, params: [usize; 5]) -> Launch {
        let (shader, text) = match self.rows {
            1 => ("channels.wgsl", include_str!("../../../shaders/channels.wgsl")),
            _ => ("channels_tree.wgsl", include_str!("../../../shaders/channels_tree.wgsl")),
        };
        let threads = params[2] * self.columns;
        let launch = self.declared(Launch::new(shader, text), source, stage);
        let launch = launch
            .prepend(source.part)
            .prepend(if self.width == 4 { "alias V = vec4f;\n" } else { "alias V = f32;\n" })
            .float_constants(source.constants.iter().copied())
            .constants([("C", channels.channels / self.width)])
            .params(params);
        match self.rows {
            1 => launch.threads(threads, 64),
            rows => launch.constants([("LANES", self.lanes), ("ROWS", rows)]).threads(threads / self.lanes, 1),
        }
    }

    /// Adds `gather` and `store` of a stage, and what they read and write.
    fn declared(&self, launch: Launch, source: &Source<'_>, stage: Stage) -> Launch {
        let parts = Text { text: source.parts, inputs: &[] };
        let store = Text { text: include_str!("../../../shaders/common/channels_store_part.wgsl"), inputs: &[] };
        let (gather, store) = match stage {
            Stage::Only => (source.rows, source.finish),
            Stage::First => (source.rows, store),
            Stage::Second => (parts, source.finish),
        };
        let mut launch = launch.prepend(store.text).prepend(gather.text);
        let others = store.inputs.iter().filter(|input| !gather.inputs.contains(input));
        for &(i, name) in gather.inputs.iter().chain(others) {
            launch = declare(launch, Binding::Input(i), name, "V");
        }
        if stage == Stage::Second {
            launch = declare(launch, Binding::Scratch(0), "parts", "V");
        }
        let output = if stage == Stage::First { Binding::Scratch(0) } else { Binding::Output };
        declare(launch, output, "output", "V")
    }
}
