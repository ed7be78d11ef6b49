//! A network that finds blocks and discs in noise: made, trained and asked from Rust.
//!
//!     cargo run --release --example detect

use std::error::Error;
use std::fs::{create_dir_all, write};

use ocellus::data::open_boxes;
use ocellus::nn::zoo;
use ocellus::prelude::*;
use ocellus::tasks::Detector;
use rand::RngExt;

const SIDE: usize = 64;
const CLASSES: [&str; 2] = ["block", "disc"];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join("ocellus-things");
    create_dir_all(folder.join("images"))?;
    create_dir_all(folder.join("labels"))?;
    write(folder.join("classes.txt"), CLASSES.join("\n"))?;
    for i in 0..120 {
        let (picture, boxes) = scene(i);
        picture.save_png(&folder.join(format!("images/{i:03}.png")))?;
        write(folder.join(format!("labels/{i:03}.txt")), boxes)?;
    }
    let data = open_boxes(&folder)?.split(0.2, Seed(0))?;
    let backbone = zoo::build_scaled("resnet18", [SIDE, SIDE, 1], CLASSES.len(), 0.25)?;
    let mut run = Trainer::new(zoo::detector(&backbone, CLASSES.len())?, &Device::auto()?)
        .learning_rate(0.003)
        .schedule(Schedule::Cosine)
        .batch_size(8)
        .epochs(40)
        .fit_task(&data, Detector::new)?;
    let metrics = run.evaluate(&data.val)?.metrics;
    println!("mAP@0.5 {:.1} %   mAP {:.1} %", 100.0 * metrics.map50, 100.0 * metrics.map);

    let (picture, truth) = scene(999);
    let options =
        PredictOptions { drawn: true, threshold: Some(metrics.threshold as f32), ..PredictOptions::default() };
    let answers = run.predict(vec![picture], &options)?;
    println!("a new picture, of {}: {}", truth.lines().count(), answers[0].line);
    let path = folder.join("overlay.png");
    answers[0].pictures[0].1.save_png(&path)?;
    println!("{}", path.display());
    Ok(())
}

/// A noisy picture with a thing in two of its quarters, and their boxes as YOLO writes them: class, centre and extents as shares.
fn scene(number: u64) -> (Image, String) {
    let mut rng = Seed(0).generator("scene", &[number]);
    let mut pixels: Vec<u8> = (0..SIDE * SIDE).map(|_| rng.random_range(30..90)).collect();
    let mut boxes = String::new();
    for quarter in [rng.random_range(0..2_usize), rng.random_range(2..4)] {
        let (class, extent) = (rng.random_range(0..2_usize), rng.random_range(14..28_usize));
        let [left, top] = [quarter % 2, quarter / 2].map(|at| SIDE / 2 * at + rng.random_range(0..SIDE / 2 - extent));
        let off = |at: usize| (2.0 * at as f64 + 1.0) / extent as f64 - 1.0;
        for (x, y) in (0..extent).flat_map(|y| (0..extent).map(move |x| (x, y))) {
            if CLASSES[class] == "block" || off(x).hypot(off(y)) <= 1.0 {
                pixels[(top + y) * SIDE + left + x] = rng.random_range(170..230);
            }
        }
        let share = |pixels: f64| pixels / SIDE as f64;
        let [x, y] = [left, top].map(|near| share(near as f64 + extent as f64 / 2.0));
        boxes += &format!("{class} {x} {y} {0} {0}\n", share(extent as f64));
    }
    (Image { size: [SIDE, SIDE], channels: 1, pixels }, boxes)
}
