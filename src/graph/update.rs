use std::fmt;
use std::sync::Arc;

use super::{Binding, Launch, Layout};

/// What a training program does to the parameters after each run: an optimizer. It sees the arenas, not the tensors, so
/// that one dispatch moves them all.
pub trait Update: fmt::Debug + Send + Sync {
    /// How many moments it keeps for each parameter.
    fn moments(&self) -> usize;

    /// Which of these are the factors of each parameter's learning rate, constants of the run, if it has some.
    fn rates(&self) -> Option<usize> {
        None
    }

    /// Which is a moving average of the parameters, if it keeps one.
    fn average(&self) -> Option<usize> {
        None
    }

    /// The numbers which change from step to step, computed once on the host: the order is the optimizer's own, and is
    /// that of `struct Params` in its shader. `step` counts from 1.
    fn scalars(&self, learning_rate: f64, step: u64) -> Vec<f32>;

    /// Moves a piece of the arena on the CPU.
    fn cpu(&self, scalars: &[f32], piece: UpdatePiece<'_>);

    /// Moves the whole arena on a GPU. Binding 0 holds the scalars and then the words of the launch, where all that belongs to
    /// the layout stands; the storage bindings are, in this order, parameters
    /// (`read_write`), gradients (`read`), gradient scale (`read`), and each moment (`read_write`).
    fn launch(&self, layout: &Layout) -> Launch;

    /// The largest global norm of the gradients; longer ones are scaled down to it.
    fn clip_norm(&self) -> Option<f32>;
}

/// What a program does when its steps are done.
#[derive(Clone, Debug)]
pub enum Ending {
    /// Nothing.
    Nothing,
    /// Moves the parameters by the gradients.
    Update(Arc<dyn Update>),
    /// Adds the gradients to the sum of those of earlier runs. The scalars are what they are multiplied by, and what the
    /// sum so far is: 0 to start a new one, else 1.
    Accumulate,
    /// Moves the parameters by that sum.
    UpdateBySum(Arc<dyn Update>),
}

impl Ending {
    /// The optimizer, if there is one.
    pub fn update(&self) -> Option<&Arc<dyn Update>> {
        match self {
            Self::Nothing | Self::Accumulate => None,
            Self::Update(update) | Self::UpdateBySum(update) => Some(update),
        }
    }
}

impl From<Option<Arc<dyn Update>>> for Ending {
    fn from(update: Option<Arc<dyn Update>>) -> Self {
        update.map_or(Self::Nothing, Self::Update)
    }
}

/// The dispatch of [`Ending::Accumulate`]: a vector of four elements per invocation.
pub fn accumulate_launch(layout: &Layout) -> Launch {
    let vectors = layout.len() / 4;
    Launch::new("accumulate.wgsl", include_str!("../../shaders/accumulate.wgsl"))
        .params([0, 0, vectors])
        .bindings([Binding::Gradients, Binding::Scratch(0)])
        .threads(vectors, 64)
}

/// A piece of the parameter arena with everything that belongs to it.
pub struct UpdatePiece<'a> {
    /// Values, to be moved.
    pub parameters: &'a mut [f32],
    /// Their gradients.
    pub gradients: &'a [f32],
    /// Their moments.
    pub moments: Vec<&'a mut [f32]>,
    /// What the gradients must be multiplied by.
    pub gradient_scale: f32,
    /// Whether weight decay applies.
    pub decayed: bool,
}

/// Partial sums of squared gradients; in the norm's buffer they follow the scale.
pub const NORM_PARTIALS: usize = 256;

/// Two dispatches which sum the squared gradients in a fixed order and leave `min(1, largest / norm) / scale` in element 0,
/// where the gradients are `scale` times too large.
pub fn clip_launches(layout: &Layout, largest: f32, scale: f32) -> [Launch; 2] {
    let text = include_str!("../../shaders/gradient_norm.wgsl");
    let stage = |finish: usize| {
        Launch::new("gradient_norm.wgsl", text)
            .constants([("PARTIALS", NORM_PARTIALS), ("FINISH", finish)])
            .float_constants([("LARGEST", largest), ("SCALE", scale)])
            .params([layout.len()])
            .bindings([Binding::Gradients, Binding::Scratch(0)])
    };
    [stage(0).workgroups([NORM_PARTIALS / 64, 1, 1]), stage(1)]
}
