//! Writes sequences that only their motion tells apart: a bright blob goes left, right, up or down through noise, and comes in
//! again on the other side. It begins anywhere, so that a single frame says nothing of the direction.
//!
//!     cargo run --release --example make_moving_blobs -- blobs 100 25
//!     ocellus train blobs --frames 8
//!
//! In `blobs`, there are so many sequences of 12 frames for each direction in `train/` and in `test/`.

use std::path::Path;

use ocellus::data::{Image, Seed};
use ocellus::error::{Error, Result};
use rand::RngExt;

const SIDE: usize = 32;
const FRAMES: usize = 12;
const DIRECTIONS: [(&str, [f64; 2]); 4] =
    [("left", [-1.0, 0.0]), ("right", [1.0, 0.0]), ("up", [0.0, -1.0]), ("down", [0.0, 1.0])];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage =
        || Error::config("make_moving_blobs OUT TRAIN TEST: a folder and two numbers of sequences for each direction");
    let [out, train, test] = arguments.as_slice() else { return Err(usage()) };
    for (part, count) in [("train", train), ("test", test)] {
        for (name, direction) in DIRECTIONS {
            for number in 0..count.parse().map_err(|_| usage())? {
                let folder = Path::new(out).join(part).join(name).join(format!("{number:03}"));
                write_sequence(&folder, part, name, direction, number)?;
            }
        }
    }
    Ok(())
}

fn write_sequence(folder: &Path, part: &str, name: &str, direction: [f64; 2], number: u64) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
    let mut rng = Seed(0).generator(&format!("{part} {name}"), &[number]);
    let side = SIDE as f64;
    let [mut x, mut y] = [0; 2].map(|_| rng.random_range(0.0..side));
    let (speed, radius) = (rng.random_range(1.0..4.0), rng.random_range(2.0..4.0));
    for frame in 0..FRAMES {
        let pixels = (0..SIDE * SIDE).map(|at| {
            // The shorter way around.
            let away = |place: usize, centre: f64| (place as f64 - centre + 1.5 * side).rem_euclid(side) - 0.5 * side;
            let [dx, dy] = [away(at % SIDE, x), away(at / SIDE, y)];
            let bright = 160.0 * (-(dx * dx + dy * dy) / (2.0 * radius * radius)).exp();
            (bright + rng.random_range(0.0..60.0)) as u8
        });
        let image = Image { size: [SIDE, SIDE], channels: 1, pixels: pixels.collect() };
        image.save_png(&folder.join(format!("{frame:02}.png")))?;
        [x, y] = [(x + speed * direction[0]).rem_euclid(side), (y + speed * direction[1]).rem_euclid(side)];
    }
    Ok(())
}
