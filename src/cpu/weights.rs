use std::sync::{Arc, Mutex, MutexGuard};

use rayon::prelude::*;

use super::memory::Memory;
use crate::graph::{Layout, Update, UpdatePiece};

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
        fixed.into_iter().chain(&self.moments).map(Memory::len).sum()
    }

    /// One step of the optimizer. `decayed` elements at the front are subject to weight decay.
    pub fn update(&mut self, update: &dyn Update, scalars: &[f32], decayed: usize) {
        let gradient_scale = match update.clip_norm() {
            Some(largest) => largest / self.gradient_norm().max(largest),
            None => 1.0,
        };
        let (mut start, n) = (0, self.parameters.f32().len());
        let mut pieces: Vec<UpdatePiece<'_>> = Vec::new();
        let mut parameters = self.parameters.f32_mut();
        let mut moments: Vec<&mut [f32]> = self.moments.iter_mut().map(Memory::f32_mut).collect();
        let gradients = self.gradients.f32();
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

    /// Euclidean norm of all gradients; summed in f64, in a fixed order.
    fn gradient_norm(&self) -> f32 {
        let squares = |piece: &[f32]| piece.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
        let pieces: Vec<f64> = self.gradients.f32().par_chunks(PIECE).map(squares).collect();
        pieces.iter().sum::<f64>().sqrt() as f32
    }
}

/// Elements of the arena which one task moves.
const PIECE: usize = 1 << 14;
