use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::encoder::{Encoded, Encoder};
use super::index::{index_of, trees_of};
use super::predict::list;
use super::{Common, json, print};
use crate::error::{Error, Result};
use crate::tasks::embed::{self, Hit, Index, Origin, Retrieval, Trees};

/// Finds the pictures of an index that are most like others, the most alike first.
#[derive(Args)]
pub(super) struct Search {
    /// A run folder with its index, or an index file.
    index: PathBuf,
    /// What to look for: images, folders, globs, or `-` for paths on standard input.
    #[arg(required_unless_present = "evaluate")]
    paths: Vec<PathBuf>,
    /// How many to find for each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..), value_name = "K")]
    top: u32,
    /// The run whose network made the index, if it is no longer where it was.
    #[arg(long, value_name = "RUN")]
    run: Option<PathBuf>,
    /// Look for each picture of the index among the others, and tell how often one of its class is found.
    #[arg(long, conflicts_with = "paths")]
    evaluate: bool,
    /// Compare with every picture, also where the index has trees for an approximate search.
    #[arg(long)]
    exact: bool,
}

/// An answer, as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    path: String,
    nearest: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    path: String,
    similarity: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

/// How well an index finds, as JSON.
#[derive(Serialize)]
struct Judged {
    pictures: usize,
    classes: usize,
    #[serde(flatten)]
    metrics: Retrieval,
}

impl Search {
    pub fn run(&self, common: &Common) -> Result<()> {
        let file = if self.index.is_dir() { index_of(&self.index) } else { self.index.clone() };
        if !file.exists() {
            return Err(Error::format(&file, "does not exist: ocellus index RUN FOLDER makes an index"));
        }
        let trees = trees_of(&file);
        if trees.exists() && !self.exact && !self.evaluate {
            return self.in_trees(&Trees::open(&trees)?, &trees, common);
        }
        let index = Index::open(&file)?;
        if self.evaluate {
            return self.evaluate(&index, common);
        }
        let (encoder, encoded) = self.encoded(&index.origin, &file, common)?;
        let mut search = embed::Search::new(encoder.session.device())?;
        let found = search.nearest(&index.embeddings, &encoded.vectors, self.top as usize)?;
        tell(&encoded, &found, |picture| Ok((index.paths[picture].clone(), index.class(picture))), common)
    }

    fn in_trees(&self, trees: &Trees, folder: &Path, common: &Common) -> Result<()> {
        let (_, encoded) = self.encoded(trees.origin(), folder, common)?;
        let found = trees.nearest(&encoded.vectors, self.top as usize)?;
        tell(&encoded, &found, |picture| trees.picture(picture), common)
    }

    /// The vectors of what is looked for, by the network that made `index`.
    fn encoded(&self, origin: &Origin, index: &Path, common: &Common) -> Result<(Encoder, Encoded)> {
        let paths = list(&self.paths)?;
        let run = match &self.run {
            Some(run) => run.clone(),
            None if self.index.is_dir() => self.index.clone(),
            None => PathBuf::from(&origin.run),
        };
        let mut encoder = Encoder::of_run(&run, common)?;
        if encoder.origin.fingerprint != origin.fingerprint {
            let message =
                format!("was made by another network than that of {}: make it anew, or name its --run", run.display());
            return Err(Error::format(index, message));
        }
        super::catch_interrupts()?;
        let encoded = encoder.encode(&paths, common)?;
        Ok((encoder, encoded))
    }

    fn evaluate(&self, index: &Index, common: &Common) -> Result<()> {
        if index.classes.len() < 2 {
            return Err(Error::format(&self.index, "knows no classes: index a folder of class folders"));
        }
        let (metrics, _) = Retrieval::of(&index.embeddings);
        let (pictures, classes) = (index.paths.len(), index.classes.len());
        if common.json {
            return print(json(&Judged { pictures, classes, metrics })?);
        }
        let percent = |x: f64| format!("{:.2} %", 100.0 * x);
        print(format!("images     {pictures} of {classes} classes, {} looked for", metrics.queries))?;
        let Retrieval { recall_at_1, recall_at_5, recall_at_10, mean_average_precision, .. } = metrics;
        print(format!(
            "recall@1   {}   @5 {}   @10 {}",
            percent(recall_at_1),
            percent(recall_at_5),
            percent(recall_at_10)
        ))?;
        print(format!("mAP        {}", percent(mean_average_precision)))
    }
}

/// Prints what was found for each picture; `describe` gives the path and the class of one in the index.
fn tell<'a>(
    encoded: &Encoded,
    found: &[Vec<Hit>],
    describe: impl Fn(usize) -> Result<(String, Option<&'a str>)>,
    common: &Common,
) -> Result<()> {
    for (path, hits) in encoded.paths.iter().zip(found) {
        let found = |hit: &Hit| {
            let (path, label) = describe(hit.picture)?;
            Ok(Found { path, similarity: hit.similarity, label })
        };
        let nearest = hits.iter().map(found).collect::<Result<Vec<_>>>()?;
        let path = path.display().to_string();
        if common.json {
            print(json(&Answer { path, nearest })?)?;
            continue;
        }
        print(path)?;
        for Found { path, similarity, label } in nearest {
            print(format!("  {similarity:.4}  {path}{}", label.map_or(String::new(), |label| format!("  ({label})"))))?;
        }
    }
    encoded.expect_all()
}
