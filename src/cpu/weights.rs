use std::sync::{Arc, Mutex, MutexGuard};

use rayon::prelude::*;

use super::memory::Memory;
use crate::graph::{Footprint, Layout, Update, UpdatePiece};

/// The arenas of a network, shared by its programs.
#[derive(Clone)]
pub struct Weights {
    arenas: Arc<Mutex<Arenas>>,
    parameters: Arc<Layout>,
    states: Arc<Layout>,
}

pub(super) struct Arenas {
    pub parameters: Memory,
    pub gradients: Memory,
    pub states: Memory,
    pub next_states: Memory,
    pub moments: Vec<Memory>,
    /// Sum of the gradients of several runs; empty until it is first needed.
    sum: Memory,
    /// Intermediate values and scratch memory, which all programs share, as they run one after the other.
    pub pools: Vec<Memory>,
    pub scratch: Memory,
}

impl Weights {
    /// Arenas of zeros.
    pub fn new(parameters: Arc<Layout>, states: Arc<Layout>, moments: usize) -> Self {
        let trained = || Memory::new(parameters.len() * 4);
        let arenas = Arenas {
            parameters: trained(),
            gradients: trained(),
            states: Memory::new(states.len() * 4),
            next_states: Memory::new(states.len() * 4),
            moments: (0..moments).map(|_| trained()).collect(),
            sum: Memory::new(0),
            pools: Vec::new(),
            scratch: Memory::new(0),
        };
        Self { arenas: Arc::new(Mutex::new(arenas)), parameters, states }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Arenas> {
        // A panic in another thread leaves numbers behind, nothing that could be unsound.
        self.arenas.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where each parameter stands.
    pub fn parameters(&self) -> &Arc<Layout> {
        &self.parameters
    }

    /// Where each state stands.
    pub fn states(&self) -> &Arc<Layout> {
        &self.states
    }

    /// Takes the memory that programs share.
    pub fn reserve(&self, footprint: &Footprint) {
        self.lock().reserve(footprint);
    }

    /// Bytes of all arenas.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes() as u64
    }

    /// Bytes of intermediate values and scratch memory.
    pub fn shared_bytes(&self) -> u64 {
        self.lock().shared_bytes() as u64
    }

    /// A copy of an arena.
    pub fn read(&self, arena: Arena) -> Vec<f32> {
        self.lock().get(arena).f32().to_vec()
    }

    /// Overwrites an arena.
    pub fn write(&self, arena: Arena, values: &[f32]) {
        self.lock().get(arena).f32_mut().copy_from_slice(values);
    }
}

/// One of the arenas of [`Weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arena {
    /// Trained values.
    Parameters,
    /// Gradients of the last run.
    Gradients,
    /// Values which are kept but not trained.
    States,
    /// A moment of the optimizer.
    Moment(usize),
}

impl Arenas {
    fn get(&mut self, arena: Arena) -> &mut Memory {
        match arena {
            Arena::Parameters => &mut self.parameters,
            Arena::Gradients => &mut self.gradients,
            Arena::States => &mut self.states,
            Arena::Moment(i) => &mut self.moments[i],
        }
    }

    pub fn bytes(&self) -> usize {
        let fixed = [&self.parameters, &self.gradients, &self.states, &self.next_states];
        fixed.into_iter().chain(&self.moments).chain([&self.sum]).map(Memory::len).sum()
    }

    fn shared_bytes(&self) -> usize {
        self.pools.iter().chain([&self.scratch]).map(Memory::len).sum()
    }

    fn reserve(&mut self, footprint: &Footprint) {
        let Footprint { pools, scratch, .. } = footprint;
        let grow = |memory: &mut Memory, bytes: usize| {
            if memory.len() < bytes {
                *memory = Memory::new(bytes);
            }
        };
        self.pools.resize_with(self.pools.len().max(pools.len()), || Memory::new(0));
        self.pools.iter_mut().zip(pools).for_each(|(pool, &bytes)| grow(pool, bytes));
        grow(&mut self.scratch, *scratch);
    }

    /// Fills intermediate memory with NaN.
    pub fn poison(&mut self) {
        self.pools.iter_mut().chain([&mut self.scratch]).for_each(|memory| memory.bytes_mut().fill(0xff));
    }

    /// Adds `share` times the gradients to their sum, or starts a new one.
    pub fn accumulate(&mut self, share: f32, keep: bool) {
        if self.sum.len() < self.gradients.len() {
            self.sum = Memory::new(self.gradients.len());
        }
        let pieces = self.sum.f32_mut().par_chunks_mut(PIECE).zip(self.gradients.f32().par_chunks(PIECE));
        pieces.for_each(|(sum, gradients)| {
            let before = |sum: f32| if keep { sum } else { 0.0 };
            sum.iter_mut().zip(gradients).for_each(|(sum, &g)| *sum = before(*sum) + share * g);
        });
    }

    /// One step of the optimizer, by the gradients of the last run or the sum of several. `decayed` elements at the front
    /// are subject to weight decay.
    pub fn update(&mut self, update: &dyn Update, scalars: &[f32], decayed: usize, by_sum: bool) {
        let gradients = if by_sum { self.sum.f32() } else { self.gradients.f32() };
        let gradient_scale = match update.clip_norm() {
            Some(largest) => largest / norm(gradients).max(largest),
            None => 1.0,
        };
        let (mut start, n) = (0, self.parameters.f32().len());
        let mut pieces: Vec<UpdatePiece<'_>> = Vec::new();
        let mut parameters = self.parameters.f32_mut();
        let mut moments: Vec<&mut [f32]> = self.moments.iter_mut().map(Memory::f32_mut).collect();
        while start < n {
            let end = if start < decayed { decayed.min(start + PIECE) } else { n.min(start + PIECE) };
            let (piece, rest) = parameters.split_at_mut(end - start);
            parameters = rest;
            let mut piece_moments = Vec::with_capacity(moments.len());
            for moment in &mut moments {
                let (piece, rest) = std::mem::take(moment).split_at_mut(end - start);
                piece_moments.push(piece);
                *moment = rest;
            }
            pieces.push(UpdatePiece {
                parameters: piece,
                gradients: &gradients[start..end],
                moments: piece_moments,
                gradient_scale,
                decayed: start < decayed,
            });
            start = end;
        }
        pieces.into_par_iter().for_each(|piece| update.cpu(scalars, piece));
    }
}

/// Euclidean norm; summed in f64, in a fixed order.
fn norm(gradients: &[f32]) -> f32 {
    let squares = |piece: &[f32]| piece.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
    let pieces: Vec<f64> = gradients.par_chunks(PIECE).map(squares).collect();
    pieces.iter().sum::<f64>().sqrt() as f32
}

/// Elements of the arena which one task moves.
const PIECE: usize = 1 << 14;
