//! Which pictures show the same? A network learns it of seven digits, and tells three apart that it has never seen.
//!
//!     cargo run --release --example embed

use std::path::Path;

use ocellus::data::open;
use ocellus::nn::zoo;
use ocellus::prelude::*;
use ocellus::tasks::Embedder;
use ocellus::tasks::embed::{Options, Search, network};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/mnist");

fn main() -> Result<()> {
    let Splits { train, .. } = open(Path::new(SAMPLES))?;
    let data = Splits { train, ..Splits::default() }.hold_out_classes(3)?;
    let classes = data.train.classes.len();
    let model = network(&zoo::build("vgg-small", [28, 28, 1], classes)?, classes, &Options::default())?;
    let device = Device::auto()?;
    let mut run = Trainer::new(model, &device)
        .schedule(Schedule::Cosine)
        .epochs(3)
        .fit_task(&data, |model, classes, normalization| {
            Ok(Embedder { classes, ..Embedder::new(model, normalization)? })
        })?;
    let evaluation = run.evaluate(&data.val)?;
    println!("digits never seen: {}", data.val.classes.join(", "));
    println!("recall@1 {:.1} %", 100.0 * evaluation.metrics.recall_at_1);
    if let Some(pairs) = &evaluation.verification {
        println!("the same or not: equal error rate {:.1} %", 100.0 * pairs.equal_error_rate);
    }

    let vectors = &evaluation.embeddings;
    let wanted = &vectors.vectors[..vectors.dimensions];
    let hits = Search::new(&device)?.nearest(vectors, wanted, 6)?;
    let name = |picture: usize| data.val.classes[vectors.labels[picture]].as_str();
    let nearest: Vec<String> =
        hits[0].iter().skip(1).map(|hit| format!("{} ({:.2})", name(hit.picture), hit.similarity)).collect();
    println!("nearest to the first, a {}: {}", name(0), nearest.join(", "));
    Ok(())
}
