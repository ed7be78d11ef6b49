//! One face for both executors: a [`Device`] makes [`Weights`] and [`Program`]s, whichever it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sysinfo::System;

pub use crate::cpu::Arena;
use crate::error::{Error, Result};
pub use crate::gpu::{Choices, Tuning};
use crate::graph::{Ending, Footprint, Graph, Layout, Passes, Plan, optimize};
use crate::tensor::Tensor;
use crate::{cpu, gpu};

/// Where networks run.
#[derive(Clone)]
pub enum Device {
    /// This machine's cores.
    Cpu,
    /// A GPU, or a software adapter.
    Gpu(Arc<gpu::Gpu>),
}

impl Device {
    /// The best hardware adapter; without one, the CPU.
    pub fn auto() -> Result<Self> {
        match gpu::adapters().into_iter().find(|a| !gpu::describe(a).software) {
            Some(adapter) => Ok(Self::Gpu(gpu::Gpu::from_adapter(&adapter)?)),
            None => Ok(Self::Cpu),
        }
    }

    /// The device of that name: `auto`, `cpu`, `gpu` (any adapter, the best first), an index or part of a name from
    /// `ocellus devices`.
    ///
    /// Errors: if there is no such device, listing those there are.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "auto" => Self::auto(),
            "cpu" => Ok(Self::Cpu),
            name => gpu::Gpu::open(name).map(Self::Gpu),
        }
    }

    /// Bytes of the machine's memory that are free for it; `None` for a graphics card with memory of its own, which WebGPU
    /// says nothing of.
    pub fn free_memory(&self) -> Option<u64> {
        let shares = match self {
            Self::Cpu => true,
            Self::Gpu(gpu) => gpu.summary().shares_memory(),
        };
        let mut system = System::new();
        system.refresh_memory();
        let bytes = system.cgroup_limits().map_or(u64::MAX, |limits| limits.free_memory).min(system.available_memory());
        shares.then_some(bytes)
    }

    /// Its name, for reports.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu => "cpu".into(),
            Self::Gpu(gpu) => format!("{} ({})", gpu.summary().name, gpu.summary().backend),
        }
    }

    /// Keeps in files in `folder` what is learned about a GPU's kernels, and takes over what they hold. Without it,
    /// every process starts anew.
    pub fn remember_in(&self, folder: PathBuf) {
        if let Self::Gpu(gpu) = self {
            gpu.remember_in(folder);
        }
    }

    /// What programs compiled from now on may spend on measuring a GPU's kernels.
    pub fn tune(&self, tuning: Tuning) {
        if let Self::Gpu(gpu) = self {
            gpu.tune(tuning);
        }
    }

    /// The kernels that programs have taken so far, on a GPU.
    pub fn choices(&self) -> Option<Choices> {
        match self {
            Self::Cpu => None,
            Self::Gpu(gpu) => Some(gpu.choices()),
        }
    }

    /// Takes the kernels of an earlier run, so that results are the same to the last bit. `false` if that ran on another
    /// device.
    pub fn adopt(&self, choices: &Choices) -> bool {
        match self {
            Self::Cpu => false,
            Self::Gpu(gpu) => gpu.adopt(choices),
        }
    }

    /// Arenas of zeros for a network's parameters, states, and `moments` moments of an optimizer.
    ///
    /// Errors: if they do not fit the device.
    pub fn weights(&self, parameters: Layout, states: Layout, moments: usize) -> Result<Weights> {
        let (parameters, states) = (Arc::new(parameters), Arc::new(states));
        Ok(match self {
            Self::Cpu => Weights::Cpu(cpu::Weights::new(parameters, states, moments)),
            Self::Gpu(gpu) => Weights::Gpu(gpu::Weights::new(gpu, parameters, states, moments)?),
        })
    }

    /// Optimizes a graph and makes it executable; `ending` says what a run does at its end.
    ///
    /// Errors: if it does not fit the device.
    pub fn compile(&self, graph: &Graph, weights: &Weights, ending: impl Into<Ending>) -> Result<Program> {
        self.compile_with(graph, weights, ending, self.passes())
    }

    /// The passes that suit it.
    pub fn passes(&self) -> Passes {
        match self {
            Self::Cpu => Passes::CPU,
            Self::Gpu(_) => Passes::ALL,
        }
    }

    /// As [`Device::compile`], with only some passes.
    pub fn compile_with(
        &self,
        graph: &Graph,
        weights: &Weights,
        ending: impl Into<Ending>,
        passes: Passes,
    ) -> Result<Program> {
        let (graph, ending) = (optimize(graph, passes)?, ending.into());
        match (self, weights) {
            (Self::Cpu, Weights::Cpu(w)) => Ok(Program::Cpu(Box::new(cpu::Program::new(&graph, w, ending)?))),
            (Self::Gpu(gpu), Weights::Gpu(w)) => Ok(Program::Gpu(Box::new(gpu::Program::new(gpu, &graph, w, ending)?))),
            _ => Err(Error::device("the weights are on another device than the program")),
        }
    }

    /// The memory that a program for `graph` will take besides the weights, with the kernels that are preferred as far as
    /// is known. Nothing is allocated or compiled.
    ///
    /// Errors: if a tensor is larger than the device allows.
    pub fn footprint(&self, graph: &Graph, weights: &Weights, passes: Passes) -> Result<Footprint> {
        let graph = optimize(graph, passes)?;
        match (self, weights) {
            (Self::Gpu(gpu), Weights::Gpu(weights)) => gpu.footprint(&graph, weights),
            (Self::Cpu, Weights::Cpu(weights)) => cpu::footprint(&graph, weights),
            _ => Err(Error::device("the weights are on another device than the program")),
        }
    }

    /// Decides, on a GPU, which kernels a program for `graph` takes, as far as tuning is allowed.
    ///
    /// Errors: if an op has no kernel that agrees with the CPU.
    pub fn prepare(&self, graph: &Graph, passes: Passes) -> Result<()> {
        match self {
            Self::Cpu => Ok(()),
            Self::Gpu(gpu) => gpu.prepare(&optimize(graph, passes)?),
        }
    }
}

/// The arenas of a network on its device, shared by its programs.
#[derive(Clone)]
pub enum Weights {
    /// In host memory.
    Cpu(cpu::Weights),
    /// In device memory.
    Gpu(gpu::Weights),
}

impl Weights {
    /// Where each parameter stands.
    pub fn parameters(&self) -> &Arc<Layout> {
        match self {
            Self::Cpu(w) => w.parameters(),
            Self::Gpu(w) => w.parameters(),
        }
    }

    /// Where each state stands.
    pub fn states(&self) -> &Arc<Layout> {
        match self {
            Self::Cpu(w) => w.states(),
            Self::Gpu(w) => w.states(),
        }
    }

    /// Takes the memory that programs share, all at once, so that it is not taken anew for larger ones.
    ///
    /// Errors: if the device has not so much.
    pub fn reserve(&self, footprint: &Footprint) -> Result<()> {
        match self {
            Self::Cpu(w) => {
                w.reserve(footprint);
                Ok(())
            }
            Self::Gpu(w) => w.reserve(footprint),
        }
    }

    /// Bytes of all arenas: values, gradients, moments, states.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Cpu(w) => w.bytes(),
            Self::Gpu(w) => w.bytes(),
        }
    }

    /// Bytes of what programs share: intermediate values, scratch.
    pub fn shared_bytes(&self) -> u64 {
        match self {
            Self::Cpu(w) => w.shared_bytes(),
            Self::Gpu(w) => w.shared_bytes(),
        }
    }

    /// A copy of an arena; waits for all submitted work.
    pub fn read(&self, arena: Arena) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(w) => Ok(w.read(arena)),
            Self::Gpu(w) => w.read(arena),
        }
    }

    /// Overwrites an arena.
    pub fn write(&self, arena: Arena, values: &[f32]) {
        match self {
            Self::Cpu(w) => w.write(arena, values),
            Self::Gpu(w) => w.write(arena, values),
        }
    }

    /// All parameters and states by name.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        self.tensors_from(Arena::Parameters)
    }

    /// The same with what another arena has in the place of the parameters.
    pub fn tensors_from(&self, parameters: Arena) -> Result<Vec<(String, Tensor)>> {
        let arenas = [(parameters, self.parameters()), (Arena::States, self.states())];
        let mut tensors = Vec::new();
        for (arena, layout) in arenas {
            let values = self.read(arena)?;
            for entry in layout.entries() {
                let range = entry.offset..entry.offset + entry.shape.elements();
                tensors.push((entry.name.clone(), Tensor::new(entry.shape.clone(), values[range].to_vec())?));
            }
        }
        Ok(tensors)
    }

    /// Sets every parameter and state from what `find` gives for its name; what it does not know keeps its value.
    ///
    /// Errors: if a tensor has another shape than the network's.
    pub fn set<'a>(&self, find: impl Fn(&str) -> Option<&'a Tensor>) -> Result<()> {
        let arenas = [(Arena::Parameters, self.parameters()), (Arena::States, self.states())];
        for (arena, layout) in arenas {
            let mut values = self.read(arena)?;
            for entry in layout.entries() {
                let Some(tensor) = find(&entry.name) else { continue };
                if tensor.shape() != &entry.shape {
                    let message = format!("has shape {}, the network needs {}", tensor.shape(), entry.shape);
                    return Err(Error::shape(&entry.name, message));
                }
                values[entry.offset..][..entry.shape.elements()].copy_from_slice(tensor.f32());
            }
            self.write(arena, &values);
        }
        Ok(())
    }
}

/// A graph made executable.
pub enum Program {
    /// On the cores.
    Cpu(Box<cpu::Program>),
    /// On a GPU.
    Gpu(Box<gpu::Program>),
}

impl Program {
    /// Sets the value of an input for the next run.
    ///
    /// Errors: if there is no such input, or the bytes are not as many as it has.
    pub fn feed(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Cpu(p) => p.feed(name, bytes),
            Self::Gpu(p) => p.feed(name, bytes),
        }
    }

    /// Whether the graph has an input of that name.
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Self::Cpu(p) => p.takes(name),
            Self::Gpu(p) => p.takes(name),
        }
    }

    /// Starts a run, with the scalars of the update if there is one. On a GPU it returns before the run is done.
    ///
    /// Errors: if the device is lost.
    pub fn run(&mut self, scalars: &[f32]) -> Result<()> {
        match self {
            Self::Cpu(p) => p.run(scalars),
            Self::Gpu(p) => p.run(scalars),
        }
    }

    /// The results of the oldest run not yet asked for, in the order of the graph's outputs; waits for them. `None` if
    /// every run was asked for.
    pub fn take_result(&mut self) -> Result<Option<Vec<Tensor>>> {
        match self {
            Self::Cpu(p) => Ok(p.take_result()),
            Self::Gpu(p) => p.take_result(),
        }
    }

    /// Feeds, runs and returns the results. For single runs: a loop keeps the device busy with [`Program::run`] and
    /// [`Program::take_result`].
    pub fn execute(&mut self, inputs: &[(&str, &[u8])]) -> Result<Vec<Tensor>> {
        for (name, bytes) in inputs {
            self.feed(name, bytes)?;
        }
        self.run(&[])?;
        Ok(self.take_result()?.unwrap_or_default())
    }

    /// How many runs have results that were not asked for.
    pub fn pending(&self) -> usize {
        match self {
            Self::Cpu(p) => p.pending(),
            Self::Gpu(p) => p.pending(),
        }
    }

    /// Runs several times, without results, and waits: for measurements.
    pub fn repeat(&mut self, runs: usize, scalars: &[f32]) -> Result<()> {
        match self {
            Self::Cpu(p) => {
                for _ in 0..runs {
                    p.run(scalars)?;
                    p.take_result();
                }
                Ok(())
            }
            Self::Gpu(p) => p.repeat(runs, scalars),
        }
    }

    /// The time of each step of the plan in a run, and of the update at its end: the least of `runs` runs.
    ///
    /// Errors: if the device is lost.
    pub fn profile(&mut self, runs: usize, scalars: &[f32]) -> Result<Vec<Duration>> {
        match self {
            Self::Cpu(p) => p.profile(runs, scalars),
            Self::Gpu(p) => p.profile(runs, scalars),
        }
    }

    /// Dispatches of a run, on a GPU.
    pub fn dispatches(&self) -> Option<usize> {
        match self {
            Self::Cpu(_) => None,
            Self::Gpu(p) => Some(p.dispatches()),
        }
    }

    /// Bytes of memory: intermediate values, inputs, constants, scratch, weights.
    pub fn device_bytes(&self) -> u64 {
        match self {
            Self::Cpu(p) => p.own_bytes() + p.weights().bytes() + p.weights().shared_bytes(),
            Self::Gpu(p) => p.own_bytes() + p.weights().bytes() + p.weights().shared_bytes(),
        }
    }

    /// Bytes that it has for itself: inputs and constants.
    pub fn own_bytes(&self) -> u64 {
        match self {
            Self::Cpu(p) => p.own_bytes(),
            Self::Gpu(p) => p.own_bytes(),
        }
    }

    /// Fills intermediate memory with NaN, for tests.
    pub fn poison(&mut self) {
        match self {
            Self::Cpu(p) => p.poison(),
            Self::Gpu(p) => p.poison(),
        }
    }

    /// The plan it executes.
    pub fn plan(&self) -> &Plan {
        match self {
            Self::Cpu(p) => p.plan(),
            Self::Gpu(p) => p.plan(),
        }
    }
}
