use clap::Args;

use crate::error::Result;

/// Options that only one task knows.
#[derive(Args, Clone)]
pub(super) struct TaskOptions {}

impl TaskOptions {
    /// As the task reads them: those given, in front of those of an earlier run.
    ///
    /// Errors: if one is of another task.
    pub fn table(&self, _task: &str, earlier: toml::Table) -> Result<toml::Table> {
        Ok(earlier)
    }
}
