//! The executor for machines with no GPU.
//!
//! A [`Plan`] comes in; [`Program::run`] executes its steps one after the other, each op spreading its work over the
//! cores. Memory is that of the plan: nothing is allocated per tensor in a step.

mod memory;
mod weights;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::graph::{Ending, Footprint, Graph, Kind, Op, Place, Plan, Value};
use crate::tensor::{Meta, Tensor, View, ViewMut};
use memory::Memory;
use weights::Arenas;
pub use weights::{Arena, Weights};

/// A planned graph with its memory.
pub struct Program {
    plan: Plan,
    steps: Arc<[Planned]>,
    weights: Weights,
    ending: Ending,
    inputs: Vec<(String, Memory)>,
    constants: Memory,
    results: VecDeque<Vec<Tensor>>,
}

/// One step with everything looked up.
struct Planned {
    op: Arc<dyn Op>,
    output: (Meta, Place),
    inputs: Vec<(Meta, Place)>,
    scratch: usize,
}

fn plan(graph: &Graph, weights: &Weights) -> Result<(Plan, Vec<Planned>)> {
    let plan = Plan::new(graph, weights.parameters(), weights.states(), false, |_, _| Vec::new())?;
    let steps = plan.steps.iter().map(|s| Planned::new(&plan, s.value)).collect();
    Ok((plan, steps))
}

fn footprint_of(plan: &Plan, steps: &[Planned]) -> Footprint {
    let scratch = steps.iter().map(|s| s.scratch).max().unwrap_or(0);
    Footprint::of(plan, 4 * scratch, 1)
}

/// The memory that a program for `graph` will take besides the weights.
pub fn footprint(graph: &Graph, weights: &Weights) -> Result<Footprint> {
    plan(graph, weights).map(|(plan, steps)| footprint_of(&plan, &steps))
}

impl Program {
    /// Plans `graph` and takes the memory it needs.
    pub fn new(graph: &Graph, weights: &Weights, ending: Ending) -> Result<Self> {
        let (plan, steps) = plan(graph, weights)?;
        let graph = &plan.graph;
        weights.reserve(&footprint_of(&plan, &steps));
        let inputs = graph
            .nodes()
            .iter()
            .filter(|n| matches!(n.kind, Kind::Input))
            .map(|n| (n.name.clone(), Memory::new(n.meta.bytes())))
            .collect();
        let mut constants = Memory::new(plan.constants.len());
        constants.bytes_mut().copy_from_slice(&plan.constants);
        Ok(Self {
            steps: steps.into(),
            weights: weights.clone(),
            ending,
            inputs,
            constants,
            results: VecDeque::new(),
            plan,
        })
    }

    /// Whether the graph has an input of that name.
    pub fn takes(&self, name: &str) -> bool {
        self.inputs.iter().any(|(n, _)| n == name)
    }

    /// Sets the value of an input for the next run.
    ///
    /// Errors: if there is no such input, or the bytes are not as many as it has.
    pub fn feed(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let (_, memory) = self
            .inputs
            .iter_mut()
            .find(|(n, _)| n == name)
            .ok_or_else(|| Error::shape("program", format!("there is no input \"{name}\"")))?;
        if memory.len() != bytes.len() {
            let message = format!("input \"{name}\" takes {} bytes, {} were given", memory.len(), bytes.len());
            return Err(Error::shape("program", message));
        }
        memory.bytes_mut().copy_from_slice(bytes);
        Ok(())
    }

    /// Fills the memory of intermediate values with NaN, so that a test sees what an op leaves unwritten.
    pub fn poison(&mut self) {
        self.weights.lock().poison();
    }

    /// Executes every step, then the update with its scalars; the results wait for [`Program::take_result`].
    pub fn run(&mut self, scalars: &[f32]) -> Result<()> {
        // As work of the pool, not beside it: else each op would hand its own over, and wait.
        rayon::scope(|_| self.run_in_pool(scalars))
    }

    fn run_in_pool(&mut self, scalars: &[f32]) -> Result<()> {
        let weights = self.weights.clone();
        let mut arenas = weights.lock();
        let steps = self.steps.clone();
        steps.iter().for_each(|step| self.step(step, &mut arenas));
        self.gather(&mut arenas);
        self.collect(&mut arenas)?;
        self.finish(&mut arenas, scalars);
        Ok(())
    }

    /// Copies gradients and new states that are pieces of other values to their places.
    fn gather(&mut self, arenas: &mut Arenas) {
        let copies: Vec<_> = self.plan.gathered_gradients().chain(self.plan.renewed_states()).collect();
        copies.into_iter().for_each(|copy| self.copy(copy, arenas));
    }

    /// Moves the parameters, or adds the gradients up.
    fn finish(&mut self, arenas: &mut Arenas, scalars: &[f32]) {
        let decayed = self.weights.parameters().decayed();
        match &self.ending {
            Ending::Nothing => {}
            Ending::Update(update) => arenas.update(update.as_ref(), scalars, decayed, false),
            Ending::UpdateBySum(update) => arenas.update(update.as_ref(), scalars, decayed, true),
            Ending::Accumulate => arenas.accumulate(scalars[0], scalars[1] != 0.0),
        }
    }

    /// The time of each step of a run, and of the update at its end: the least of `runs` runs.
    pub fn profile(&mut self, runs: usize, scalars: &[f32]) -> Result<Vec<Duration>> {
        let steps = self.steps.clone();
        let mut least = vec![Duration::MAX; steps.len() + 1];
        for _ in 0..runs {
            let measured = rayon::scope(|_| {
                let weights = self.weights.clone();
                let mut arenas = weights.lock();
                let mut times: Vec<Duration> = Vec::with_capacity(least.len());
                times.extend(steps.iter().map(|step| timed(|| self.step(step, &mut arenas))));
                times.push(timed(|| {
                    self.gather(&mut arenas);
                    self.finish(&mut arenas, scalars);
                }));
                times
            });
            least.iter_mut().zip(measured).for_each(|(least, time)| *least = time.min(*least));
        }
        Ok(least)
    }

    fn step(&mut self, step: &Planned, arenas: &mut Arenas) {
        let views: Vec<View<'_>> = (step.inputs.iter())
            .map(|(meta, place)| {
                let pointer = self.pointer(*place, arenas);
                // SAFETY: the plan gives each value a range inside its memory, which lives as long as the program.
                View::new(meta, unsafe { std::slice::from_raw_parts(pointer, meta.bytes()) })
            })
            .collect();
        let (meta, place) = &step.output;
        let pointer = self.pointer(*place, arenas);
        // SAFETY: as above; the plan lets no value share memory with another that is alive at the same step, so that
        // this range overlaps none of the views.
        let bytes = unsafe { std::slice::from_raw_parts_mut(pointer, meta.bytes()) };
        step.op.cpu(&views, ViewMut::new(meta, bytes), &mut arenas.scratch.f32_mut()[..step.scratch]);
    }

    fn copy(&mut self, (from, to, bytes): (Place, Place, usize), arenas: &mut Arenas) {
        let (from, to) = (self.pointer(from, arenas), self.pointer(to, arenas));
        // SAFETY: the plan gives both `bytes` bytes inside their memory, and they are not the same place.
        unsafe { std::ptr::copy_nonoverlapping(from, to, bytes) };
    }

    fn pointer(&mut self, place: Place, arenas: &mut Arenas) -> *mut u8 {
        let (memory, offset) = match place {
            Place::Parameter(offset) => (&mut arenas.parameters, offset),
            Place::Gradient(offset) => (&mut arenas.gradients, offset),
            Place::State(offset) => (&mut arenas.states, offset),
            Place::NextState(offset) => (&mut arenas.next_states, offset),
            Place::Input(i) => (&mut self.inputs[i].1, 0),
            Place::Constant(offset) => (&mut self.constants, offset),
            Place::Pool { pool, offset } => (&mut arenas.pools[pool], offset),
        };
        debug_assert!(offset <= memory.len());
        // SAFETY: the plan's offsets lie inside the memory they are for.
        unsafe { memory.pointer().add(offset) }
    }

    fn collect(&mut self, arenas: &mut Arenas) -> Result<()> {
        let outputs: Vec<(Meta, Place)> = (self.plan.graph.outputs().iter())
            .map(|(_, v)| (self.plan.graph.meta(*v).clone(), self.plan.place(*v)))
            .collect();
        let mut tensors = Vec::with_capacity(outputs.len());
        for (meta, place) in outputs {
            let pointer = self.pointer(place, arenas);
            // SAFETY: as in `step`.
            let bytes = unsafe { std::slice::from_raw_parts(pointer, meta.bytes()) };
            tensors.push(Tensor::from_bytes(&meta, bytes)?);
        }
        self.results.push_back(tensors);
        Ok(())
    }

    /// The results of the oldest run not yet asked for, in the order of the graph's outputs.
    pub fn take_result(&mut self) -> Option<Vec<Tensor>> {
        self.results.pop_front()
    }

    /// How many runs have results that were not asked for.
    pub fn pending(&self) -> usize {
        self.results.len()
    }

    /// The weights it works on.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Bytes of inputs and constants.
    pub fn own_bytes(&self) -> u64 {
        let own: usize = self.inputs.iter().map(|(_, m)| m).chain([&self.constants]).map(Memory::len).sum();
        own as u64
    }

    /// The plan it executes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl Planned {
    fn new(plan: &Plan, value: Value) -> Self {
        let placed = |v: Value| (plan.graph.meta(v).clone(), plan.place(v));
        let node = plan.graph.node(value);
        let inputs: Vec<(Meta, Place)> = node.inputs.iter().map(|&v| placed(v)).collect();
        let Kind::Op(op) = &node.kind else { unreachable!("steps are ops") };
        let metas: Vec<&Meta> = inputs.iter().map(|(meta, _)| meta).collect();
        let scratch = op.cpu_scratch(&metas, &node.meta);
        Self { op: op.clone(), output: placed(value), inputs, scratch }
    }
}

fn timed(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}
