use serde::{Deserialize, Serialize};

use crate::data::TextFrom;
use crate::error::{Error, Result};

/// What only reading knows of its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where texts stand, if not in a table; found out where it is not said.
    pub text_from: Option<TextFrom>,
}

impl Options {
    /// Those of a run.
    ///
    /// Errors: if there is an unknown one, or a value that cannot be.
    pub fn read(table: &toml::Table) -> Result<Self> {
        table.clone().try_into().map_err(|e| Error::config(format!("options to read: {e}")))
    }
}
