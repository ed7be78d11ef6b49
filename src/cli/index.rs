use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::encoder::{Encoded, Encoder};
use super::trained::run_files;
use super::{Common, json, print};
use crate::data::{Seed, list_images};
use crate::error::Result;
use crate::tasks::embed::{self, Trees};

/// Makes an index of the pictures in a folder, to be searched; where they are in class folders, it knows their classes.
#[derive(Args)]
pub(super) struct Index {
    /// A run folder, or a weights file in one.
    run: PathBuf,
    /// The pictures.
    folder: PathBuf,
    /// The file to write; by default index.safetensors in the run folder.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also make trees, for searches that do not read the whole index and may miss a few of the nearest; for 1,000,000 pictures
    /// and more they are made anyway.
    #[arg(long)]
    approximate: bool,
}

/// What was written, as JSON.
#[derive(Serialize)]
struct Written {
    path: String,
    pictures: usize,
    dimensions: usize,
    classes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    trees: Option<String>,
}

/// Where a run's index is, if nobody says otherwise.
pub(super) fn index_of(run: &Path) -> PathBuf {
    run_files(run).0.join("index.safetensors")
}

/// Where the trees of an index are, if it has any.
pub(super) fn trees_of(index: &Path) -> PathBuf {
    index.with_extension("trees")
}

impl Index {
    pub fn run(&self, common: &Common) -> Result<()> {
        let paths = list_images(&self.folder)?;
        let mut encoder = Encoder::of_run(&self.run, common)?;
        super::catch_interrupts()?;
        let encoded = encoder.encode(&paths, common)?;
        let (failed, Encoded { paths, vectors, dimensions, .. }) = (encoded.expect_all(), encoded);
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let index = embed::Index::new(&self.folder, &paths, vectors, dimensions, encoder.origin);
        let output = self.output.clone().unwrap_or_else(|| index_of(&self.run));
        let trees = self.save(&index, &output, common)?.map(|folder| folder.display().to_string());
        let (path, pictures, classes) = (output.display().to_string(), index.paths.len(), index.classes.len());
        match common.json {
            true => print(json(&Written { path, pictures, dimensions, classes, trees })?)?,
            false => {
                let of = if classes > 0 { format!(" of {classes} classes") } else { String::new() };
                print(format!("{path}: {pictures} images{of}, {dimensions} numbers each"))?;
                if let Some(trees) = trees {
                    print(format!("{trees}: trees for an approximate search"))?;
                }
            }
        }
        failed
    }

    /// Writes the index, and its trees where they are wanted. Those of an older index go first: they never stand beside another.
    fn save(&self, index: &embed::Index, output: &Path, common: &Common) -> Result<Option<PathBuf>> {
        let folder = trees_of(output);
        embed::trees::remove(&folder)?;
        index.save(output)?;
        if !self.approximate && index.paths.len() < Trees::WORTHWHILE {
            return Ok(None);
        }
        common.say("making trees …");
        Trees::build(&folder, index, Seed(0), super::interrupted)?;
        Ok(Some(folder))
    }
}
