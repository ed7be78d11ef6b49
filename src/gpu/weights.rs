use std::sync::Arc;

use super::context::Gpu;
use super::readback;
use crate::cpu::Arena;
use crate::error::Result;
use crate::graph::Layout;

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
            moments: (0..moments).map(|_| make("moments", &parameters)).collect::<Result<_>>()?,
            parameters,
            states,
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
