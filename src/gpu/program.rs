use std::collections::VecDeque;
use std::sync::Arc;

use super::context::{Gpu, Pipeline};
use super::pace::{Pace, SUBMIT};
use super::readback::{self, Readback};
use super::weights::{Arenas, Weights};
use crate::error::{Error, Result};
use crate::graph::{
    Binding, Ending, Footprint, Graph, Kernel, Kind, Launch, Layout, Node, Place, Plan, Update, Value,
    accumulate_launch, clip_launches, kernels,
};
use crate::tensor::{Meta, Tensor};

/// Runs that may be under way before [`Program::run`] waits for the oldest.
const IN_FLIGHT: usize = 3;

/// A planned graph as recorded kernels.
pub struct Program {
    gpu: Arc<Gpu>,
    plan: Plan,
    weights: Weights,
    buffers: Buffers,
    dispatches: Vec<Dispatch>,
    /// Those of the update, in the end.
    moving: Vec<Dispatch>,
    scalars: Option<wgpu::Buffer>,
    inputs: Vec<(String, usize)>,
    spare: Vec<wgpu::Buffer>,
    pending: VecDeque<Readback>,
    variants: Vec<(String, String)>,
    pace: Pace,
}

struct Buffers {
    pools: Vec<wgpu::Buffer>,
    inputs: Vec<wgpu::Buffer>,
    constants: wgpu::Buffer,
}

/// One dispatch, ready to be recorded.
pub(super) struct Dispatch {
    pipeline: Arc<Pipeline>,
    group: wgpu::BindGroup,
    workgroups: [u32; 3],
    /// The step of the plan that it belongs to, unless it is part of the update.
    pub step: usize,
}

impl Dispatch {
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y, z] = self.workgroups;
        pass.set_pipeline(&self.pipeline.compute);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

/// Which kernel of an op to take, out of those which suit the adapter, the preferred first.
pub type Choice<'a> = dyn Fn(&Node, &[Kernel]) -> usize + 'a;

impl Program {
    /// Plans `graph`, takes the memory it needs and compiles its kernels: those which the tuner prefers, compared with
    /// the CPU before they are first used.
    ///
    /// Errors: if something does not fit the adapter's limits or memory, its driver rejects a kernel, or no kernel of
    /// an op agrees with the CPU.
    pub fn new(gpu: &Arc<Gpu>, graph: &Graph, weights: &Weights, ending: Ending) -> Result<Self> {
        gpu.prepare(graph)?;
        gpu.prepare_ending(&ending)?;
        Self::with_kernels(gpu, graph, weights, ending, &|node, kernels| gpu.choose(node, kernels))
    }

    /// As [`Program::new`], with `choose` picking the kernel of each op, and no comparison with the CPU.
    pub fn with_kernels(
        gpu: &Arc<Gpu>,
        graph: &Graph,
        weights: &Weights,
        ending: Ending,
        choose: &Choice<'_>,
    ) -> Result<Self> {
        let (plan, kernels) = plan(gpu, graph, weights.parameters(), weights.states(), choose)?;
        let buffers = Buffers::new(gpu, &plan, weights.arenas())?;
        let inputs = plan.graph.nodes().iter().filter(|n| matches!(n.kind, Kind::Input));
        let mut program = Self {
            gpu: gpu.clone(),
            weights: weights.clone(),
            inputs: inputs.map(|n| (n.name.clone(), n.meta.bytes())).collect(),
            buffers,
            dispatches: Vec::new(),
            moving: Vec::new(),
            scalars: None,
            spare: Vec::new(),
            pending: VecDeque::new(),
            variants: Vec::new(),
            pace: Pace::new(Vec::new()),
            plan,
        };
        for (i, kernel) in kernels.into_iter().enumerate() {
            program.record(i, kernel)?;
        }
        if !weights.parameters().is_empty() {
            program.record_ending(&ending)?;
        }
        program.pace = Pace::new(program.costs());
        let bytes = program.result_bytes();
        program.spare = (0..IN_FLIGHT).map(|_| readback::staging(gpu, bytes)).collect();
        Ok(program)
    }

    fn record(&mut self, number: usize, kernel: Kernel) -> Result<()> {
        let step = self.plan.steps[number].clone();
        let node = self.plan.graph.node(step.value).clone();
        let at = label(&node);
        self.variants.push((at.clone(), kernel.variant));
        for launch in &kernel.launches {
            let resource = |binding: &Binding| match *binding {
                Binding::Input(i) => {
                    let value = node.inputs[i];
                    Ok((self.plan.place(value), self.plan.graph.meta(value).bytes()))
                }
                Binding::Output => Ok((self.plan.place(step.value), node.meta.bytes())),
                Binding::Scratch(i) => Ok((step.scratch[i], kernel.scratch[i])),
                other => Err(Error::shape(&at, format!("an op cannot bind {other:?}"))),
            };
            let places = launch.bindings.iter().map(resource).collect::<Result<Vec<_>>>()?;
            let mut bound = Vec::with_capacity(places.len());
            for (place, bytes) in places {
                let bytes = bytes.max(1).next_multiple_of(16);
                self.gpu.expect_fits(&at, bytes, true)?;
                let (buffer, offset) = self.buffers.at(place, self.weights.arenas());
                bound.push(wgpu::BufferBinding {
                    buffer,
                    offset: offset as u64,
                    size: std::num::NonZeroU64::new(bytes as u64),
                });
            }
            let params = self.gpu.params(&launch.params);
            let dispatch = dispatch(&self.gpu, &at, launch, &params, &bound)?;
            self.dispatches.push(Dispatch { step: number, ..dispatch });
        }
        Ok(())
    }

    fn record_ending(&mut self, ending: &Ending) -> Result<()> {
        match ending {
            Ending::Nothing => Ok(()),
            Ending::Update(update) => {
                let scale = self.plan.graph.gradient_scale();
                self.record_update(update.as_ref(), &self.weights.arenas().gradient.clone(), scale)
            }
            Ending::UpdateBySum(update) => {
                self.record_update(update.as_ref(), &self.weights.arenas().sum()?.clone(), 1.0)
            }
            Ending::Accumulate => {
                let arenas = self.weights.arenas();
                let bound = [&arenas.gradient, arenas.sum()?].map(wgpu::Buffer::as_entire_buffer_binding);
                let launch = accumulate_launch(&arenas.parameters);
                let scalars = self.gpu.params(&launch.params);
                self.moving.push(dispatch(&self.gpu, "sum of gradients", &launch, &scalars, &bound)?);
                self.scalars = Some(scalars);
                Ok(())
            }
        }
    }

    /// The update by gradients that are `scale` times too large.
    fn record_update(&mut self, update: &dyn Update, gradients: &wgpu::Buffer, scale: f32) -> Result<()> {
        let arenas = self.weights.arenas();
        let layout = &arenas.parameters;
        let norm = &match update.clip_norm() {
            Some(_) => arenas.norm.clone(),
            None => self.gpu.buffer("gradient scale", 4),
        };
        self.gpu.queue.write_buffer(norm, 0, bytemuck::bytes_of(&(1.0 / scale)));
        if let Some(largest) = update.clip_norm() {
            for launch in clip_launches(layout, largest, scale) {
                let bound: Vec<_> = launch
                    .bindings
                    .iter()
                    .map(|b| if *b == Binding::Gradients { gradients } else { norm })
                    .map(wgpu::Buffer::as_entire_buffer_binding)
                    .collect();
                let params = self.gpu.params(&launch.params);
                self.moving.push(dispatch(&self.gpu, "gradient norm", &launch, &params, &bound)?);
            }
        }
        let moments = (0..update.moments()).map(Binding::Moment);
        let launch = update
            .launch(layout)
            .bindings([Binding::Parameters, Binding::Gradients, Binding::GradientScale].into_iter().chain(moments));
        let buffers = [&arenas.parameter, gradients, norm].into_iter().chain(&arenas.moments);
        let bound: Vec<_> = buffers.map(wgpu::Buffer::as_entire_buffer_binding).collect();
        let words = vec![0; update.scalars(0.0, 1).len()];
        let scalars = self.gpu.params(&[words, launch.params.clone()].concat());
        self.moving.push(dispatch(&self.gpu, "optimizer", &launch, &scalars, &bound)?);
        self.scalars = Some(scalars);
        Ok(())
    }

    /// Whether the graph has an input of that name.
    pub fn takes(&self, name: &str) -> bool {
        self.inputs.iter().any(|(n, _)| n == name)
    }

    /// Sets the value of an input for the next run.
    ///
    /// Errors: if there is no such input, or the bytes are not as many as it has.
    pub fn feed(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let Some(index) = self.inputs.iter().position(|(n, _)| n == name) else {
            return Err(Error::shape("program", format!("there is no input \"{name}\"")));
        };
        let expected = self.inputs[index].1;
        if expected != bytes.len() {
            let message = format!("input \"{name}\" takes {expected} bytes, {} were given", bytes.len());
            return Err(Error::shape("program", message));
        }
        // Copies are made of whole words.
        let (whole, rest) = bytes.split_at(bytes.len() / 4 * 4);
        let buffer = &self.buffers.inputs[index];
        self.gpu.queue.write_buffer(buffer, 0, whole);
        if !rest.is_empty() {
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            self.gpu.queue.write_buffer(buffer, whole.len() as u64, &word);
        }
        Ok(())
    }

    /// Fills the memory of intermediate values with NaN, so that a test sees what a kernel leaves unwritten.
    pub fn poison(&mut self) {
        for pool in &self.buffers.pools {
            self.gpu.queue.write_buffer(pool, 0, &vec![0xff; pool.size() as usize]);
        }
    }

    /// Submits one run, with the scalars of the update if there is one. Waits only if three results have not
    /// been taken by [`Program::take_result`].
    ///
    /// Errors: if the device is lost.
    pub fn run(&mut self, scalars: &[f32]) -> Result<()> {
        self.gpu.expect_alive()?;
        if let Some(buffer) = &self.scalars {
            self.gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(scalars));
        }
        let bytes = self.result_bytes();
        let target = self.spare.pop().unwrap_or_else(|| readback::staging(&self.gpu, bytes));
        let submission = self.gpu.checked("step", || self.submit(1, Some(&target)))?;
        self.pending.push_back(Readback::request(target, bytes.max(4), submission));
        self.pace.start();
        if self.pending.len() >= IN_FLIGHT {
            readback::wait(&self.gpu, None)?;
        }
        Ok(())
    }

    /// Submits several runs together, without results, and waits for them: for measurements.
    pub fn repeat(&mut self, runs: usize, scalars: &[f32]) -> Result<()> {
        if let Some(buffer) = &self.scalars {
            self.gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(scalars));
        }
        self.submit(runs, None);
        readback::wait(&self.gpu, None)
    }

    /// Encodes runs and submits them, in pieces that do not keep the device busy for too long. `target` takes the results
    /// of the last.
    fn submit(&self, runs: usize, target: Option<&wgpu::Buffer>) -> wgpu::SubmissionIndex {
        let new = || self.gpu.device.create_command_encoder(&Default::default());
        let (mut encoder, mut load) = (new(), 0.0);
        for _ in 0..runs {
            for slice in self.pace.slices() {
                if load > 0.0 && load + slice.seconds > SUBMIT {
                    self.gpu.queue.submit([std::mem::replace(&mut encoder, new()).finish()]);
                    load = 0.0;
                }
                encode_pass(&mut encoder, &self.dispatches[slice.dispatches.clone()]);
                load += slice.seconds;
            }
            self.plan.gathered_gradients().for_each(|copy| self.encode_copy(&mut encoder, copy));
            encode_pass(&mut encoder, &self.moving);
            self.plan.renewed_states().for_each(|copy| self.encode_copy(&mut encoder, copy));
        }
        if let Some(target) = target {
            self.copy_results(&mut encoder, target);
        }
        self.gpu.queue.submit([encoder.finish()])
    }

    fn copy_results(&self, encoder: &mut wgpu::CommandEncoder, target: &wgpu::Buffer) {
        let mut start = 0;
        for (_, value) in self.plan.graph.outputs() {
            let bytes = self.plan.graph.meta(*value).bytes().next_multiple_of(4) as u64;
            let (buffer, offset) = self.buffers.at(self.plan.place(*value), self.weights.arenas());
            encoder.copy_buffer_to_buffer(buffer, offset as u64, target, start, bytes);
            start += bytes;
        }
    }

    fn encode_copy(&self, encoder: &mut wgpu::CommandEncoder, (from, to, bytes): (Place, Place, usize)) {
        let arenas = self.weights.arenas();
        let (from, source) = self.buffers.at(from, arenas);
        let (to, offset) = self.buffers.at(to, arenas);
        encoder.copy_buffer_to_buffer(from, source as u64, to, offset as u64, bytes as u64);
    }

    /// Guesses of what each dispatch costs.
    fn costs(&self) -> Vec<f64> {
        let of_dispatches = |dispatches: &[Dispatch]| {
            let step = &self.plan.steps[dispatches[0].step];
            let cost = Pace::cost(self.plan.step_flops(step), self.plan.step_bytes(step));
            vec![cost / dispatches.len() as f64; dispatches.len()]
        };
        self.dispatches.chunk_by(|a, b| a.step == b.step).flat_map(of_dispatches).collect()
    }

    pub(super) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// All dispatches, each with the step it belongs to; the update's come after the last step.
    pub(super) fn by_step(&self) -> Vec<(usize, &Dispatch)> {
        let moving = self.moving.iter().map(|dispatch| (self.plan.steps.len(), dispatch));
        self.dispatches.iter().map(|dispatch| (dispatch.step, dispatch)).chain(moving).collect()
    }

    fn result_bytes(&self) -> u64 {
        let graph = &self.plan.graph;
        graph.outputs().iter().map(|(_, v)| graph.meta(*v).bytes().next_multiple_of(4) as u64).sum()
    }

    /// The results of the oldest run not yet asked for, in the order of the graph's outputs; waits for them.
    pub fn take_result(&mut self) -> Result<Option<Vec<Tensor>>> {
        let Some(readback) = self.pending.pop_front() else { return Ok(None) };
        let (bytes, buffer) = readback.wait(&self.gpu)?;
        self.pace.finish();
        self.spare.push(buffer);
        let mut rest = bytes.as_slice();
        let mut tensors = Vec::new();
        for (_, value) in self.plan.graph.outputs() {
            let meta = self.plan.graph.meta(*value);
            tensors.push(Tensor::from_bytes(meta, &rest[..meta.bytes()])?);
            rest = &rest[meta.bytes().next_multiple_of(4)..];
        }
        Ok(Some(tensors))
    }

    /// How many runs have results that were not asked for.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The plan it executes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Dispatches of a run.
    pub fn dispatches(&self) -> usize {
        self.dispatches.len() + self.moving.len()
    }

    /// Op and kernel variant of each step.
    pub fn variants(&self) -> &[(String, String)] {
        &self.variants
    }

    /// The weights it works on.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Bytes of inputs and constants.
    pub fn own_bytes(&self) -> u64 {
        let Buffers { inputs, constants, .. } = &self.buffers;
        inputs.iter().chain([constants]).map(wgpu::Buffer::size).sum()
    }
}

/// A plan for an adapter, and the kernel of each of its steps.
fn plan(
    gpu: &Gpu,
    graph: &Graph,
    parameters: &Layout,
    states: &Layout,
    choose: &Choice<'_>,
) -> Result<(Plan, Vec<Kernel>)> {
    let kernel = |graph: &Graph, value: Value| {
        let node = graph.node(value);
        let metas: Vec<&Meta> = node.inputs.iter().map(|&v| graph.meta(v)).collect();
        let op = node.op().expect("steps are ops");
        let mut kernels = kernels(op.as_ref(), &metas, &node.meta, gpu.capabilities());
        kernels.swap_remove(choose(node, &kernels))
    };
    let plan = Plan::new(graph, parameters, states, true, |graph, value| kernel(graph, value).scratch)?;
    plan.pools.iter().try_for_each(|&bytes| gpu.expect_fits("intermediate values", bytes, false))?;
    for node in plan.graph.nodes() {
        gpu.expect_fits(&label(node), node.meta.bytes(), true)?;
    }
    let kernels = plan.steps.iter().map(|step| kernel(&plan.graph, step.value)).collect();
    Ok((plan, kernels))
}

/// How messages call a node.
fn label(node: &Node) -> String {
    let name = node.op().map_or("", |op| op.name());
    if node.name.is_empty() { name.to_owned() } else { format!("{name} \"{}\"", node.name).trim_start().to_owned() }
}

impl Gpu {
    /// How a program for `graph` will be executed, with the kernels that are preferred as far as is known: its plan, and
    /// the kernel of each step. Nothing is measured, compiled or compared.
    ///
    /// Errors: none but for faults of ops.
    pub fn plan(&self, graph: &Graph) -> Result<(Plan, Vec<Kernel>)> {
        let (parameters, states) = (Layout::parameters(graph), Layout::states(graph));
        plan(self, graph, &parameters, &states, &|node, kernels| self.choose(node, kernels))
    }

    /// The memory that a program for `graph` will take besides the weights.
    ///
    /// Errors: if a tensor is larger than the adapter allows.
    pub fn footprint(&self, graph: &Graph, weights: &Weights) -> Result<Footprint> {
        let choose = |node: &Node, kernels: &[Kernel]| self.choose(node, kernels);
        let (plan, _) = plan(self, graph, weights.parameters(), weights.states(), &choose)?;
        Ok(Footprint::of(&plan, 0, super::context::UNIT))
    }
}

fn encode_pass(encoder: &mut wgpu::CommandEncoder, dispatches: &[Dispatch]) {
    let mut pass = encoder.begin_compute_pass(&Default::default());
    dispatches.iter().for_each(|dispatch| dispatch.encode(&mut pass));
}

fn dispatch(
    gpu: &Gpu,
    at: &str,
    launch: &Launch,
    params: &wgpu::Buffer,
    bound: &[wgpu::BufferBinding<'_>],
) -> Result<Dispatch> {
    let pipeline = gpu.pipeline(at, launch)?;
    let storage = bound.iter().cloned().enumerate().map(|(i, buffer)| wgpu::BindGroupEntry {
        binding: i as u32 + 1,
        resource: wgpu::BindingResource::Buffer(buffer),
    });
    let uniform = wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() };
    let entries: Vec<_> = [uniform].into_iter().chain(storage).collect();
    let descriptor = wgpu::BindGroupDescriptor { label: Some(at), layout: &pipeline.layout, entries: &entries };
    let group = gpu.checked(at, || gpu.device.create_bind_group(&descriptor))?;
    Ok(Dispatch { pipeline, group, workgroups: launch.workgroups, step: 0 })
}

impl Buffers {
    fn new(gpu: &Gpu, plan: &Plan, arenas: &Arenas) -> Result<Self> {
        let make = |label: &str, bytes: usize| {
            gpu.expect_fits(label, bytes, false)?;
            gpu.checked(label, || gpu.buffer(label, bytes))
        };
        let inputs = plan.graph.nodes().iter().filter(|n| matches!(n.kind, Kind::Input));
        let buffers = Self {
            pools: arenas.pools(&plan.pools)?,
            inputs: inputs.map(|n| make(&n.name, n.meta.bytes())).collect::<Result<_>>()?,
            constants: make("constants", plan.constants.len())?,
        };
        if !plan.constants.is_empty() {
            gpu.queue.write_buffer(&buffers.constants, 0, &plan.constants);
        }
        Ok(buffers)
    }

    fn at<'a>(&'a self, place: Place, arenas: &'a Arenas) -> (&'a wgpu::Buffer, usize) {
        match place {
            Place::Parameter(offset) => (&arenas.parameter, offset),
            Place::Gradient(offset) => (&arenas.gradient, offset),
            Place::State(offset) => (&arenas.state, offset),
            Place::NextState(offset) => (&arenas.next_state, offset),
            Place::Input(i) => (&self.inputs[i], 0),
            Place::Constant(offset) => (&self.constants, offset),
            Place::Pool { pool, offset } => (&self.pools[pool], offset),
        }
    }
}
