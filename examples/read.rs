//! Reads strings of digits that it has made of the sample set: a convolutional and recurrent network, trained by CTC.
//!
//!     cargo run --release --example read

use std::error::Error;

use ocellus::data::{Dataset, TextFrom, open, open_texts};
use ocellus::nn::zoo;
use ocellus::prelude::*;
use ocellus::tasks::Reader;
use rand::RngExt;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/mnist");
const SIDE: usize = 28;
/// Most digits of a string.
const MOST: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let digits = open(SAMPLES)?.train;
    for number in 0..1200 {
        let (picture, text) = string(&digits, number)?;
        picture.save_png(&folder.path().join(format!("{text}_{number}.png")))?;
    }
    let data = open_texts(folder.path(), Some(TextFrom::Names))?.split(0.1, Seed(0))?;
    // An output for each symbol, and one for the blank.
    let model = zoo::build("crnn-small", [32, 32 * MOST, 1], data.train.classes.len() + 1)?;
    let mut run = Trainer::new(model, &Device::auto()?)
        .learning_rate(0.003)
        .schedule(Schedule::Cosine)
        .epochs(8)
        .fit_task(&data, Reader::new)?;
    let metrics = run.evaluate(&data.val)?.metrics;
    println!("character error rate {:.1} %", 100.0 * metrics.character_error_rate);
    for number in 2000..2004 {
        let (picture, text) = string(&digits, number)?;
        println!("{text} is read as {}", run.predict(vec![picture], &PredictOptions::default())?[0].line);
    }
    Ok(())
}

/// Two to four digits beside one another, and what they say.
fn string(digits: &Dataset, number: u64) -> Result<(Image, String)> {
    let mut rng = Seed(0).generator("string", &[number]);
    let count = rng.random_range(2..=MOST);
    let mut pixels = vec![0; SIDE * SIDE * count];
    let mut text = String::new();
    for place in 0..count {
        let sample = &digits.samples[rng.random_range(0..digits.len())];
        let digit = sample.source.image()?;
        for (row, line) in digit.pixels.chunks(SIDE).enumerate() {
            pixels[(row * count + place) * SIDE..][..SIDE].copy_from_slice(line);
        }
        text += &digits.classes[sample.label];
    }
    Ok((Image { size: [SIDE, SIDE * count], channels: 1, pixels }, text))
}
