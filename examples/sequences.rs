//! Which way does it go? A network looks at eight frames of each sequence, an LSTM at what it has found in them.
//!
//!     cargo run --release --example make_moving_blobs -- blobs 100 25
//!     cargo run --release --example sequences -- blobs

use ocellus::data::open_sequences;
use ocellus::nn::{over_frames, zoo};
use ocellus::prelude::*;
use ocellus::tasks::Classifier;

const FRAMES: usize = 8;

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| Error::config("sequences FOLDER: class / sequence / frames"))?;
    let data = open_sequences(folder, FRAMES)?.split(0.1, Seed(0))?;
    let classes = data.train.classes.len();
    let frame = zoo::build("frame-cnn", [32, 32, 1], classes)?;
    let mut run = Trainer::new(over_frames(&frame, FRAMES, 64, classes)?, &Device::auto()?)
        .schedule(Schedule::Cosine)
        .epochs(30)
        .fit_task(&data, Classifier::new)?;
    let held_out = if data.test.is_empty() { &data.val } else { &data.test };
    let evaluation = run.evaluate(held_out)?;
    println!("{} sequences never seen: {:.1} % right", evaluation.samples, 100.0 * evaluation.accuracy());
    Ok(())
}
