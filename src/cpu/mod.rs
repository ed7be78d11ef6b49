//! The executor for machines with no GPU.
//!
//! A [`Plan`] comes in; [`Program::run`] executes its steps one after the other, each op spreading its work over the
//! cores. Memory is that of the plan: nothing is allocated per tensor in a step.

mod memory;
mod weights;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::graph::{Graph, Kind, Op, Place, Plan, Update, Value};
use crate::tensor::{Meta, Tensor, View, ViewMut};
use memory::Memory;
use weights::Arenas;
pub use weights::{Arena, Weights};

/// A planned graph with its memory.
pub struct Program {
    plan: Plan,
    steps: Arc<[Planned]>,
    weights: Weights,
    update: Option<Arc<dyn Update>>,
    pools: Vec<Memory>,
    inputs: Vec<(String, Memory)>,
    constants: Memory,
    scratch: Vec<f32>,
    results: VecDeque<Vec<Tensor>>,
}

/// One step with everything looked up.
struct Planned {
    op: Arc<dyn Op>,
    output: (Meta, Place),
    inputs: Vec<(Meta, Place)>,
    scratch: usize,
}

impl Program {
    /// Plans `graph` and takes the memory it needs. With an update, a run ends by moving the parameters.
    pub fn new(graph: &Graph, weights: &Weights, update: Option<Arc<dyn Update>>) -> Result<Self> {
        let plan = Plan::new(graph, weights.parameters(), weights.states(), false, |_, _| Vec::new())?;
        let graph = &plan.graph;
        let steps: Arc<[Planned]> = plan.steps.iter().map(|s| Planned::new(&plan, s.value)).collect();
        let scratch = steps.iter().map(|s| s.scratch).max().unwrap_or(0);
        let inputs = graph
            .nodes()
            .iter()
            .filter(|n| matches!(n.kind, Kind::Input))
            .map(|n| (n.name.clone(), Memory::new(n.meta.bytes())))
            .collect();
        let mut constants = Memory::new(plan.constants.len());
        constants.bytes_mut().copy_from_slice(&plan.constants);
        let pools = plan.pools.iter().map(|&bytes| Memory::new(bytes)).collect();
        Ok(Self {
            steps,
            weights: weights.clone(),
            update,
            pools,
            inputs,
            constants,
            scratch: vec![0.0; scratch],
            results: VecDeque::new(),
            plan,
        })
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
        self.pools.iter_mut().for_each(|p| p.bytes_mut().fill(0xff));
        self.scratch.fill(f32::NAN);
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
        let copies: Vec<_> = self.plan.gathered_gradients().chain(self.plan.renewed_states()).collect();
        copies.into_iter().for_each(|copy| self.copy(copy, &mut arenas));
        self.collect(&mut arenas)?;
        if let Some(update) = &self.update {
            arenas.update(update.as_ref(), scalars, weights.parameters().decayed());
        }
        Ok(())
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
        step.op.cpu(&views, ViewMut::new(meta, bytes), &mut self.scratch[..step.scratch]);
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
            Place::Pool { pool, offset } => (&mut self.pools[pool], offset),
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

    /// Bytes of memory: intermediate values, inputs, constants, scratch, and the arenas.
    pub fn device_bytes(&self) -> u64 {
        let own = self.pools.iter().chain(self.inputs.iter().map(|(_, m)| m)).chain([&self.constants]);
        let own: usize = own.map(Memory::len).sum();
        (own + self.scratch.len() * 4 + self.weights.lock().bytes()) as u64
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
