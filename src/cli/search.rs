use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::encoder::Encoder;
use super::index::index_of;
use super::predict::list;
use super::{Common, json, print};
use crate::error::{Error, Result};
use crate::tasks::embed::{self, Hit, Index, Retrieval};

/// Finds the pictures of an index that are most like others, the most alike first. The search is exact.
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
}

/// An answer, as JSON.
#[derive(Serialize)]
struct Answer<'a> {
    path: String,
    nearest: Vec<Found<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    path: &'a str,
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
        let index = Index::open(&file)?;
        if self.evaluate {
            return self.evaluate(&index, common);
        }
        let paths = list(&self.paths)?;
        let run = match &self.run {
            Some(run) => run.clone(),
            None if self.index.is_dir() => self.index.clone(),
            None => PathBuf::from(&index.origin.run),
        };
        let mut encoder = Encoder::of_run(&run, common)?;
        if encoder.origin.fingerprint != index.origin.fingerprint {
            let message =
                format!("was made by another network than that of {}: make it anew, or name its --run", run.display());
            return Err(Error::format(&file, message));
        }
        super::catch_interrupts()?;
        let encoded = encoder.encode(&paths, common)?;
        let mut search = embed::Search::new(encoder.session.device())?;
        let found = search.nearest(&index.embeddings, &encoded.vectors, self.top as usize)?;
        for (path, hits) in encoded.paths.iter().zip(&found) {
            self.tell(path.display().to_string(), hits, &index, common)?;
        }
        encoded.expect_all()
    }

    fn tell(&self, path: String, hits: &[Hit], index: &Index, common: &Common) -> Result<()> {
        let found = |hit: &Hit| Found {
            path: &index.paths[hit.picture],
            similarity: hit.similarity,
            label: index.class(hit.picture),
        };
        let nearest: Vec<Found<'_>> = hits.iter().map(found).collect();
        if common.json {
            return print(json(&Answer { path, nearest })?);
        }
        print(path)?;
        for Found { path, similarity, label } in nearest {
            print(format!("  {similarity:.4}  {path}{}", label.map_or(String::new(), |label| format!("  ({label})"))))?;
        }
        Ok(())
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
