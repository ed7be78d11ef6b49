use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Passes;

/// How a training step keeps large intermediate values. It computes in f32 in any case, and weights, gradients and moments
/// are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// In 32 bits.
    #[default]
    F32,
    /// In 16 bits, with the loss scaled up so that small gradients survive: half the memory and traffic, on GPUs that can.
    F16,
}

impl Precision {
    /// The passes that bring it about on a device.
    ///
    /// Errors: if the device has no 16-bit floats.
    pub fn passes(self, device: &Device) -> Result<Passes> {
        let has_half = matches!(device, Device::Gpu(gpu) if gpu.has_half());
        match self {
            Self::F16 if !has_half => Err(Error::config(format!(
                "--precision f16 needs a GPU with 16-bit floats (shader-f16 in ocellus devices), which {} is not: leave it out, or choose another --device",
                device.name()
            ))),
            _ => Ok(Passes { half: self == Self::F16, ..device.passes() }),
        }
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            _ => Err(Error::config(format!("precision \"{text}\" is not known: there are f32 and f16"))),
        }
    }
}
