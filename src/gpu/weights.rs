use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::context::Gpu;
use super::readback;
use crate::cpu::Arena;
use crate::error::Result;
use crate::graph::{Footprint, Layout, NORM_PARTIALS};

/// The arenas of a network on a GPU, shared by its programs.
#[derive(Clone)]
pub struct Weights(Arc<Arenas>);

pub(super) struct Arenas {
    pub gpu: Arc<Gpu>,
    pub parameters: Arc<Layout>,
    pub states: Arc<Layout>,
    pub parameter: wgpu::Buffer,
    pub gradient: wgpu::Buffer,
    pub state: wgpu::Buffer,
    pub next_state: wgpu::Buffer,
    pub moments: Vec<wgpu::Buffer>,
    /// What the gradients are multiplied by, and the partial sums from which it follows.
    pub norm: wgpu::Buffer,
    sum: OnceLock<wgpu::Buffer>,
    pools: Mutex<Vec<wgpu::Buffer>>,
}

impl Arenas {
    /// The sum of the gradients of several runs; made when it is first asked for.
    pub fn sum(&self) -> Result<&wgpu::Buffer> {
        if self.sum.get().is_none() {
            let made = self.gpu.checked("gradients", || self.gpu.buffer("gradients", self.parameters.len() * 4))?;
            self.sum.get_or_init(|| made);
        }
        Ok(self.sum.get().expect("it was just made"))
    }

    /// Buffers for intermediate values of at least these sizes. All programs of a network share them, as they run one
    /// after the other.
    pub fn pools(&self, bytes: &[usize]) -> Result<Vec<wgpu::Buffer>> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        for (i, &bytes) in bytes.iter().enumerate() {
            if pools.get(i).is_some_and(|pool| pool.size() >= bytes as u64) {
                continue;
            }
            let label = "intermediate values";
            self.gpu.expect_fits(label, bytes, false)?;
            let made = self.gpu.checked(label, || self.gpu.buffer(label, bytes))?;
            if i < pools.len() {
                pools[i] = made;
            } else {
                pools.push(made);
            }
        }
        Ok(pools[..bytes.len()].to_vec())
    }

    /// Bytes of all arenas.
    pub fn bytes(&self) -> u64 {
        let fixed = [&self.parameter, &self.gradient, &self.state, &self.next_state, &self.norm];
        fixed.into_iter().chain(&self.moments).chain(self.sum.get()).map(wgpu::Buffer::size).sum()
    }
}

impl Weights {
    /// Arenas of zeros.
    ///
    /// Errors: if one is larger than the adapter allows.
    pub fn new(gpu: &Arc<Gpu>, parameters: Arc<Layout>, states: Arc<Layout>, moments: usize) -> Result<Self> {
        gpu.expect_fits("the parameter arena", parameters.len() * 4, true)?;
        gpu.expect_fits("the state arena", states.len() * 4, true)?;
        let make = |label: &str, layout: &Layout| gpu.checked(label, || gpu.buffer(label, layout.len() * 4));
        Ok(Self(Arc::new(Arenas {
            gpu: gpu.clone(),
            parameter: make("parameters", &parameters)?,
            gradient: make("gradients", &parameters)?,
            state: make("states", &states)?,
            next_state: make("next states", &states)?,
            norm: gpu.buffer("gradient norm", (1 + NORM_PARTIALS) * 4),
            moments: (0..moments).map(|_| make("moments", &parameters)).collect::<Result<_>>()?,
            parameters,
            states,
            sum: OnceLock::new(),
            pools: Mutex::default(),
        })))
    }

    pub(super) fn arenas(&self) -> &Arenas {
        &self.0
    }

    /// Where each parameter stands.
    pub fn parameters(&self) -> &Arc<Layout> {
        &self.0.parameters
    }

    /// Where each state stands.
    pub fn states(&self) -> &Arc<Layout> {
        &self.0.states
    }

    fn get(&self, arena: Arena) -> (&wgpu::Buffer, usize) {
        let (trained, kept) = (self.0.parameters.len(), self.0.states.len());
        match arena {
            Arena::Parameters => (&self.0.parameter, trained),
            Arena::Gradients => (&self.0.gradient, trained),
            Arena::States => (&self.0.state, kept),
            Arena::Moment(i) => (&self.0.moments[i], trained),
        }
    }

    /// Takes the memory that programs share.
    pub fn reserve(&self, footprint: &Footprint) -> Result<()> {
        self.0.pools(&footprint.pools).map(|_| ())
    }

    /// Bytes of all arenas.
    pub fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    /// Bytes of intermediate values.
    pub fn shared_bytes(&self) -> u64 {
        let pools = self.0.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().map(wgpu::Buffer::size).sum()
    }

    /// A copy of an arena; waits for all submitted work.
    pub fn read(&self, arena: Arena) -> Result<Vec<f32>> {
        let (buffer, len) = self.get(arena);
        if len == 0 {
            return Ok(Vec::new());
        }
        Ok(bytemuck::pod_collect_to_vec(&readback::read(&self.0.gpu, buffer, 0, len * 4)?))
    }

    /// Overwrites an arena.
    pub fn write(&self, arena: Arena, values: &[f32]) {
        let (buffer, len) = self.get(arena);
        assert_eq!(values.len(), len, "an arena is written whole");
        self.0.gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(values));
    }
}
