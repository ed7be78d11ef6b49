//! The `ocellus` command: parse, run, print the error, exit.

use std::process::ExitCode;

use clap::Parser;
use ocellus::cli::{self, Cli};
use ocellus::error::Error;

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
