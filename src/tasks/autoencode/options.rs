use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What only autoencoders know of their settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What is minimised.
    pub loss: ReconstructionLoss,
    /// The class that is trained on; the others are anomalies.
    pub normal: Option<String>,
    /// Standard deviation of the noise that is added to pictures and should be taken away; 1 is the way from black to white.
    pub denoise: f32,
}

/// How far a picture made again is from what it should be, as a mean over its pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReconstructionLoss {
    /// Squared difference.
    Mse,
    /// Difference.
    Mae,
    /// Cross-entropy, each value taken for a probability of white. Its gradient does not fade where a sigmoid has gone to black too
    /// soon, as those of the others do.
    #[default]
    Bce,
}

impl ReconstructionLoss {
    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mse => "mse",
            Self::Mae => "mae",
            Self::Bce => "bce",
        }
    }
}

impl FromStr for ReconstructionLoss {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Mse, Self::Mae, Self::Bce];
        all.into_iter().find(|loss| loss.name() == text).ok_or("give mse, mae or bce")
    }
}

impl Options {
    /// From the task's part of a run's settings.
    ///
    /// Errors: if there is an unknown one, or a value that cannot be.
    pub fn read(table: &toml::Table) -> Result<Self> {
        let options: Self =
            table.clone().try_into().map_err(|e| Error::config(format!("options of autoencoders: {e}")))?;
        if !(0.0..=1.0).contains(&options.denoise) {
            return Err(Error::config(format!("--denoise is {}, but must be from 0 to 1", options.denoise)));
        }
        Ok(options)
    }
}
