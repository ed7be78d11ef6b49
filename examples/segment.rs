//! A network that finds bright discs in noise, pixel by pixel: made, trained and asked from Rust.
//!
//!     cargo run --release --example segment

use std::error::Error;
use std::fs::create_dir_all;

use ocellus::data::{MaskOptions, open_masks};
use ocellus::nn::zoo;
use ocellus::prelude::*;
use ocellus::tasks::Segmenter;
use rand::RngExt;

const SIDE: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("ocellus-discs");
    create_dir_all(folder.join("images"))?;
    create_dir_all(folder.join("masks"))?;
    for i in 0..60 {
        let (picture, mask) = scene(i);
        picture.save_png(&folder.join(format!("images/{i:02}.png")))?;
        mask.save_png(&folder.join(format!("masks/{i:02}.png")))?;
    }
    let data = open_masks(&folder, &MaskOptions::default(), None)?.split(0.2, Seed(0))?;
    let model = zoo::build_scaled("linknet", [SIDE, SIDE, 1], data.train.classes.len(), 0.25)?;
    let mut run = Trainer::new(model, &Device::auto()?)
        .learning_rate(0.01)
        .schedule(Schedule::Cosine)
        .batch_size(8)
        .epochs(20)
        .fit_task(&data, Segmenter::new)?;
    println!("mean IoU {:.1} %", 100.0 * run.evaluate(&data.val)?.metrics.mean_iou);

    let answers = run.predict(vec![scene(99).0], &PredictOptions { drawn: true, ..PredictOptions::default() })?;
    println!("a new picture: {}", answers[0].line);
    for (kind, picture) in &answers[0].pictures {
        let path = folder.join(format!("{kind}.png"));
        picture.save_png(&path)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// A noisy picture with a disc, and its mask.
fn scene(number: u64) -> (Image, Image) {
    let mut rng = Seed(0).generator("scene", &[number]);
    let [x, y] = [0; 2].map(|_| rng.random_range(8..24_usize));
    let radius = rng.random_range(4..9_usize);
    let inside = |at: usize| (at % SIDE).abs_diff(x).pow(2) + (at / SIDE).abs_diff(y).pow(2) <= radius.pow(2);
    let mask: Vec<u8> = (0..SIDE * SIDE).map(|at| 255 * u8::from(inside(at))).collect();
    let picture = mask.iter().map(|&m| rng.random_range(0..120) + m / 2).collect();
    let image = |pixels| Image { size: [SIDE, SIDE], channels: 1, pixels };
    (image(picture), image(mask))
}
