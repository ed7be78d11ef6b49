use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::error::Result;

#[derive(Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub fn run(&self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "ocellus", &mut script);
        super::print(String::from_utf8_lossy(&script).trim_end())
    }
}
