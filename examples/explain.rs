//! Why is this a seven? Every method's answer, and what each is worth.
//!
//!     cargo run --release --example explain

use ocellus::data::open;
use ocellus::explain::{Method, Score, Watched, explain, faithfulness};
use ocellus::nn::zoo;
use ocellus::prelude::*;
use ocellus::tasks::RunTask;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/mnist");

fn main() -> Result<()> {
    let data = open(SAMPLES)?.split(0.1, Seed(0))?;
    let model = zoo::build_scaled("vgg-small", [28, 28, 1], data.train.classes.len(), 0.5)?;
    let device = Device::auto()?;
    let mut run = Trainer::new(model.clone(), &device).epochs(2).fit(&data)?;
    println!("accuracy {:.1} %", 100.0 * run.evaluate(&data.val)?.accuracy());

    let seven = data.val.classes.iter().position(|class| class == "7").unwrap_or(0);
    let sample = data.val.samples.iter().find(|sample| sample.label == seven);
    let picture = sample.ok_or_else(|| Error::config("the sample set has no seven"))?.source.image()?;
    let session = run.session();
    let pixels = session.task().normalization().apply(&picture.pixels);
    let mut watched = Watched::new(&model, &device, session.weights(), 8, None)?;
    let score = Score::class(seven, data.val.classes.len());

    // The same network before it has learned anything: what it is drawn from must not explain the same.
    let drawn = model.initialize(Seed(1))?;
    let layouts = [session.weights().parameters(), session.weights().states()].map(|layout| (**layout).clone());
    let [parameters, states] = layouts;
    let weights = device.weights(parameters, states, 0)?;
    weights.set(|name| drawn.get(name))?;
    let mut random = Watched::new(&model, &device, &weights, 8, None)?;

    for method in Method::ALL {
        let map = explain(&mut watched, method, &pixels, &score, Seed(0))?;
        let [deletion, insertion] = [
            faithfulness::deletion(&mut watched, &map, &pixels, &score)?.area(),
            faithfulness::insertion(&mut watched, &map, &pixels, &score)?.area(),
        ];
        let alike = map.rank_correlation(&explain(&mut random, method, &pixels, &score, Seed(0))?);
        let path = std::env::temp_dir().join(format!("ocellus-seven-{method}.png"));
        map.over(&picture).save_png(&path)?;
        println!(
            "{method:<22} deletion {deletion:.3}   insertion {insertion:.3}   with random weights {alike:.2}   {}",
            path.display()
        );
    }
    Ok(())
}
