use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::{Common, json, print};
use crate::error::{Error, Result};
use crate::interop::npy;
use crate::interop::onnx::{Network, Session};

/// Runs an ONNX network on arrays.
#[derive(Args)]
pub(super) struct Run {
    /// The network.
    #[arg(value_name = "MODEL.onnx")]
    network: PathBuf,
    /// An array for each input of the network, from files of numpy.
    #[arg(long, value_name = "NAME=FILE.npy", value_parser = named_file)]
    input: Vec<(String, PathBuf)>,
    /// Where results go: output_0.npy, output_1.npy, … in the network's order. It is made if it is not there.
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
}

/// A result, as JSON.
#[derive(Serialize)]
struct Written<'a> {
    name: String,
    path: String,
    r#type: &'static str,
    shape: &'a [usize],
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("give NAME=FILE.npy".into()),
    }
}

impl Run {
    pub fn run(&self, common: &Common) -> Result<()> {
        let network = Arc::new(Network::open(&self.network)?);
        let mut given = Vec::new();
        for (name, path) in &self.input {
            given.push((name.clone(), npy::read(path)?));
        }
        let device = common.open_device(&common.device)?;
        let results = Session::new(network.clone(), &device).run(&given)?;
        fs::create_dir_all(&self.output_dir).map_err(|e| Error::io("create", &self.output_dir, e))?;
        for (i, (name, values)) in network.outputs().into_iter().zip(&results).enumerate() {
            let path = self.output_dir.join(format!("output_{i}.npy"));
            npy::write(&path, values)?;
            let (kind, shape) = (values.element.name(), values.array.shape.dims());
            if common.json {
                let name = name.to_owned();
                print(json(&Written { name, path: path.display().to_string(), r#type: kind, shape })?)?;
            } else if !common.quiet {
                print(format!("{}: {name}, {kind} {shape:?}", path.display()))?;
            }
        }
        Ok(())
    }
}
