use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Common, json, print};
use crate::error::Result;
use crate::report::{About, write_card};
use crate::train::RunFolder;

/// Writes a run's model card anew: what the network is for, what it was made of, how good it was found to be.
#[derive(Args)]
pub(super) struct Card {
    /// A run folder.
    run: PathBuf,
    /// What only people know, kept with the run: a TOML file of purpose, users, out_of_scope, factors, data, labels, ethics,
    /// limitations, licence and contact.
    #[arg(long, value_name = "FILE")]
    about: Option<PathBuf>,
}

#[derive(Serialize)]
struct Written {
    card: PathBuf,
}

impl Card {
    pub fn run(&self, common: &Common) -> Result<()> {
        let folder = RunFolder::open(&self.run)?;
        if let Some(path) = &self.about {
            About::read(path)?.save(&folder)?;
        }
        write_card(&folder)?;
        let card = self.run.join("model_card.md");
        print(if common.json { json(&Written { card })? } else { card.display().to_string() })
    }
}
