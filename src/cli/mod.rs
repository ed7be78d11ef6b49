//! The command: what a user types, checked once and handed to the library as plain values. One file per command.

mod augment;
mod bench;
mod check;
mod compare;
mod completions;
mod devices;
mod embed;
mod encoder;
mod evaluate;
mod explain;
mod export;
mod import;
mod index;
mod predict;
mod progress;
mod run;
mod search;
mod summary;
mod train;
mod trained;
mod verify;
mod warnings;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser, Subcommand};

use crate::device::Device;
use crate::error::{Error, Result};

/// Image recognition on any GPU.
///
/// Train, evaluate and use image classifiers on NVIDIA, AMD, Intel and Apple GPUs through WebGPU, or on the CPU alone.
#[derive(Parser)]
#[command(name = "ocellus", version, max_term_width = 100, args_override_self = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Options of every command.
#[derive(Args, Clone)]
struct Common {
    /// Where to run: auto (the best GPU, else the CPU), cpu, gpu (any adapter, a software one too), or an index or part of
    /// a name from `ocellus devices`.
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    device: String,
    /// What all random choices follow from.
    #[arg(long, global = true, value_name = "N")]
    seed: Option<u64>,
    /// Print results for machines: one JSON document, or one object a line.
    #[arg(long, global = true)]
    json: bool,
    /// Print results and errors only.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Say more about what is done.
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// Train a network; without DATA on the sample set of handwritten digits.
    Train(Box<train::Train>),
    /// Try learning rates in a short training and draw the losses.
    FindLr(Box<train::FindLr>),
    /// Search hyper-parameters.
    Tune(Box<train::Tune>),
    /// Draw images as augmentation changes them.
    Augment(augment::Augment),
    /// Look for what is wrong with a data set: unreadable files, copies, leaks between parts, imbalance.
    Check(check::Check),
    /// Take a network that was trained elsewhere.
    Import(import::Import),
    /// Show which pixels decided.
    Explain(explain::Explain),
    /// Write a trained network for other programs.
    Export(export::Export),
    /// Run an ONNX network on arrays.
    Run(run::Run),
    /// Measure a trained network on pictures whose classes are known.
    Evaluate(evaluate::Evaluate),
    /// Say what pictures show.
    Predict(predict::Predict),
    /// Write the feature vectors of pictures as an array.
    Embed(embed::Embed),
    /// Make an index of pictures, for `search`.
    Index(index::Index),
    /// Find the pictures of an index that are most like others.
    Search(search::Search),
    /// Say whether two pictures show the same person or thing.
    Verify(verify::Verify),
    /// Show runs side by side: settings that differ, and results.
    Compare(compare::Compare),
    /// Describe a network: layers, shapes, parameters, operations, memory.
    Summary(summary::Summary),
    /// List the adapters networks can run on.
    Devices(devices::Devices),
    /// Measure kernels and training steps.
    Bench(bench::Bench),
    /// Print a completion script for a shell.
    Completions(completions::Completions),
}

/// Runs the command line of this process.
///
/// Errors: whatever the command failed of; to be printed as it is.
pub fn run(cli: Cli) -> Result<()> {
    let common = cli.common;
    warnings::warn_on_stderr(common.quiet);
    match cli.command {
        Command::Train(args) => args.run(&common),
        Command::FindLr(args) => args.run(&common),
        Command::Augment(args) => args.run(&common),
        Command::Check(args) => args.run(&common),
        Command::Import(args) => args.run(&common),
        Command::Explain(args) => args.run(&common),
        Command::Export(args) => args.run(&common),
        Command::Run(args) => args.run(&common),
        Command::Tune(args) => args.run(&common),
        Command::Evaluate(args) => args.run(&common),
        Command::Predict(args) => args.run(&common),
        Command::Embed(args) => args.run(&common),
        Command::Index(args) => args.run(&common),
        Command::Search(args) => args.run(&common),
        Command::Verify(args) => args.run(&common),
        Command::Compare(args) => args.run(&common),
        Command::Summary(args) => args.run(&common),
        Command::Devices(args) => args.run(&common),
        Command::Bench(args) => args.run(&common),
        Command::Completions(args) => args.run(),
    }
}

impl Common {
    /// The device of that name, with what is remembered of its kernels.
    fn open_device(&self, name: &str) -> Result<Device> {
        let device = Device::named(name)?;
        if let Some(folder) = crate::caches::folder() {
            device.remember_in(folder);
        }
        Ok(device)
    }

    /// Prints a message for people, unless they want none.
    fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            tell(text);
        }
    }

    /// Prints a message for people who asked for more.
    fn say_more(&self, text: impl AsRef<str>) {
        if self.verbose > 0 {
            self.say(text);
        }
    }
}

/// Prints a message on stderr. That it cannot be had (a log on a full disk) is no reason to stop.
pub fn tell(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// Prints a result on stdout. A reader that has gone away ends the program quietly, as it does other tools.
fn print(text: impl AsRef<str>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|e| Error::io("write", "standard output", e)),
    }
}

/// A value as JSON text.
fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::config(format!("a result does not fit JSON: {e}")))
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Lets the first Ctrl-C ask for an orderly end, and the second one end at once.
fn catch_interrupts() -> Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
    .map_err(|e| Error::config(format!("could not catch Ctrl-C: {e}")))
}

fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
