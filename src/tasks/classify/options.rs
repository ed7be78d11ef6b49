use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What only classification knows of its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How many frames of a sequence the network looks at, two or more; otherwise pictures are single.
    pub frames: Option<usize>,
}

impl Options {
    /// Those of a run.
    ///
    /// Errors: if there is an unknown one, or a value that cannot be.
    pub fn read(table: &toml::Table) -> Result<Self> {
        let options: Self = table.clone().try_into().map_err(|e| Error::config(format!("options to classify: {e}")))?;
        match options.frames {
            Some(frames @ 0..=1) => {
                Err(Error::config(format!("a sequence has two frames or more, but --frames is {frames}")))
            }
            _ => Ok(options),
        }
    }
}
