//! The `ocellus` command: parse, run, print the error, exit.

use std::process::ExitCode;

use clap::Parser;
use ocellus::cli::{self, Cli};
use ocellus::error::Error;

fn main() -> ExitCode {
    // Mesa's layer that picks a default GPU looks for a display, and complains on stderr where there is none. Adapters are
    // chosen by `--device` anyway.
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Interrupted) => ExitCode::from(130),
        Err(error) => {
            cli::tell(format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
