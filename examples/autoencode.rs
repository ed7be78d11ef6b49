//! Which pictures are unlike those it knows? An autoencoder that was only ever shown the digit 3 makes others badly.
//!
//!     cargo run --release --example autoencode

use std::path::Path;

use ocellus::nn::zoo;
use ocellus::prelude::*;
use ocellus::tasks::autoencode::Options;
use ocellus::tasks::{Autoencoder, RunTask};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/mnist");

fn main() -> Result<()> {
    let options = toml::Table::from_iter([("normal".to_owned(), "3".into())]);
    let data = Autoencoder::open(Path::new(SAMPLES), &options)?;
    println!("{} pictures of a 3; {} of all digits to judge", data.train.len(), data.test.len());
    let model = zoo::build_scaled("vae", [28, 28, 1], 1, 0.5)?;
    let mut run = Trainer::new(model, &Device::auto()?)
        .normalize(Normalize::Unit)
        .schedule(Schedule::Cosine)
        .epochs(20)
        .fit_task(&data, |model, _, normalization| Autoencoder::new(model, normalization, Options::default()))?;
    let metrics = run.evaluate(&data.test)?.metrics;
    println!("of 3s, it makes {:.1} % of the variance again", 100.0 * metrics.explained_variance);
    if let Some(area) = metrics.anomaly_auc {
        println!("another digit has a larger error than a 3 in {:.1} % of pairs", 100.0 * area);
    }
    Ok(())
}
