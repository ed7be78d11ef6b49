//! Optimizers: each moves the whole parameter arena at once, in one dispatch or one parallel loop.
//!
//! Formulas and defaults are Keras's. Weight decay is decoupled from the gradient, scaled by the learning rate, and
//! applies to weights only, not to biases and the parameters of normalisation.

mod adam;
mod refined;
mod rmsprop;
mod sgd;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use adam::Adam;
pub use refined::LrScale;
pub use rmsprop::RmsProp;
pub use sgd::Sgd;

use crate::error::{Error, Result};
use crate::graph::Update;

/// An optimizer with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Gradient descent, with momentum and Nesterov's form of it.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    AdamW(Adam),
    /// RMSprop.
    RmsProp(RmsProp),
}

impl Optimizer {
    /// The optimizer of that name with its defaults: `sgd`, `adam`, `adamw`, `rmsprop`.
    ///
    /// Errors: if there is none of that name.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "sgd" => Ok(Self::Sgd(Sgd::default())),
            "adam" => Ok(Self::Adam(Adam::default())),
            "adamw" => Ok(Self::AdamW(Adam { weight_decay: 0.004, ..Adam::default() })),
            "rmsprop" => Ok(Self::RmsProp(RmsProp::default())),
            _ => Err(Error::config(format!("no optimizer \"{name}\": there are sgd, adam, adamw, rmsprop"))),
        }
    }

    /// The learning rate that is usual for it.
    pub fn default_learning_rate(&self) -> f64 {
        match self {
            Self::Sgd(_) => 0.01,
            _ => 0.001,
        }
    }

    /// What a program does with it.
    pub fn update(&self) -> Arc<dyn Update> {
        match *self {
            Self::Sgd(sgd) => Arc::new(sgd),
            Self::Adam(adam) | Self::AdamW(adam) => Arc::new(adam),
            Self::RmsProp(rmsprop) => Arc::new(rmsprop),
        }
    }

    /// The same with a factor for each parameter's learning rate, or with a moving average of the parameters, of which `ema`
    /// stays with each step.
    pub fn refined_update(&self, rates: bool, ema: Option<f32>) -> Arc<dyn Update> {
        match (rates, ema) {
            (false, None) => self.update(),
            _ => Arc::new(refined::Refined { optimizer: self.update(), rates, ema }),
        }
    }

    /// Sets momentum.
    ///
    /// Errors: for Adam, which has none to set.
    pub fn set_momentum(&mut self, value: f32) -> Result<()> {
        match self {
            Self::Sgd(sgd) => sgd.momentum = value,
            Self::RmsProp(rmsprop) => rmsprop.momentum = value,
            Self::Adam(_) | Self::AdamW(_) => {
                return Err(Error::config("momentum is for sgd and rmsprop: Adam's is beta1"));
            }
        }
        Ok(())
    }

    /// Chooses Nesterov's form of momentum.
    ///
    /// Errors: for optimizers that do not have it.
    pub fn set_nesterov(&mut self) -> Result<()> {
        let Self::Sgd(sgd) = self else { return Err(Error::config("Nesterov's form of momentum is for sgd")) };
        sgd.nesterov = true;
        Ok(())
    }

    /// Sets weight decay.
    pub fn set_weight_decay(&mut self, value: f32) {
        match self {
            Self::Sgd(sgd) => sgd.weight_decay = value,
            Self::RmsProp(rmsprop) => rmsprop.weight_decay = value,
            Self::Adam(adam) | Self::AdamW(adam) => adam.weight_decay = value,
        }
    }

    /// Sets the global norm to which gradients are clipped.
    pub fn set_clip_norm(&mut self, value: Option<f32>) {
        match self {
            Self::Sgd(sgd) => sgd.clip_norm = value,
            Self::RmsProp(rmsprop) => rmsprop.clip_norm = value,
            Self::Adam(adam) | Self::AdamW(adam) => adam.clip_norm = value,
        }
    }
}

impl From<Sgd> for Optimizer {
    fn from(sgd: Sgd) -> Self {
        Self::Sgd(sgd)
    }
}

impl From<Adam> for Optimizer {
    fn from(adam: Adam) -> Self {
        Self::Adam(adam)
    }
}

impl From<RmsProp> for Optimizer {
    fn from(rmsprop: RmsProp) -> Self {
        Self::RmsProp(rmsprop)
    }
}

/// Invocations per workgroup of every optimizer's kernel.
const WORKGROUP: usize = 64;

/// What has the last word on where parameters move, if nothing else does.
const PLAIN: &str = "fn refined(i: u32, moved: vec4f) -> vec4f {\n    return moved;\n}\n";

/// A launch over an arena of `layout`, one vector of four elements per invocation.
fn arena_launch(shader: &'static str, text: &str, layout: &crate::graph::Layout) -> crate::graph::Launch {
    let vectors = layout.len() / 4;
    crate::graph::Launch::new(shader, text)
        .prepend(PLAIN)
        .constants([("WORKGROUP", WORKGROUP)])
        .params([vectors, layout.decayed() / 4])
        .threads(vectors, WORKGROUP)
}

#[cfg(test)]
mod tests;
