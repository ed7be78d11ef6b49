//! Scans of 16 bits, several of each patient: no patient is on both sides of the split, and results have intervals.
//!
//!     cargo run --release --example medical
//!
//! The scans are made up: an ill patient's have a bright spot.

use std::error::Error;
use std::fs::create_dir_all;

use image::{ImageBuffer, Luma};
use ocellus::data::{GroupBy, Window, open};
use ocellus::nn::zoo;
use ocellus::prelude::*;
use rand::RngExt;

const SIDE: u32 = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for patient in 0..60_u64 {
        let class = ["ill", "healthy"][patient as usize % 2];
        create_dir_all(folder.path().join(class))?;
        for number in 0..6 {
            let path = folder.path().join(format!("{class}/patient{patient:02}_{number}.png"));
            scan(patient, number, class == "ill").save(path)?;
        }
    }
    let mut data = open(folder.path())?;
    // Values from 0 to 3,000 become bytes; of patients there are several scans each.
    data.prepare(Window::Range([0.0, 3000.0]), Some(&r"(patient\d+)_".parse::<GroupBy>()?))?;
    let data = data.split(0.4, Seed(0))?;

    let model = zoo::build_scaled("vgg-small", [SIDE as usize, SIDE as usize, 1], 2, 0.5)?;
    let mut run = Trainer::new(model, &Device::auto()?).schedule(Schedule::Cosine).epochs(20).fit(&data)?;
    let evaluation = run.evaluate(&data.val)?.with_intervals(500, Seed(0));
    println!("{} scans of patients never seen", evaluation.samples);
    for trade_off in &evaluation.trade_offs {
        let (sensitivity, specificity) = (100.0 * trade_off.sensitivity, 100.0 * trade_off.specificity);
        let interval =
            trade_off.interval.map_or(String::new(), |[a, b]| format!(" ({:.1} to {:.1})", 100.0 * a, 100.0 * b));
        println!(
            "{:?} of {} at least {:.0} %: sensitivity {sensitivity:.1} %, specificity {specificity:.1} %{interval}",
            trade_off.held,
            trade_off.class,
            100.0 * trade_off.at_least
        );
    }
    Ok(())
}

/// Noise around a value of the patient's own; of the ill with a spot that is no brighter than the noise at its highest.
fn scan(patient: u64, number: u64, ill: bool) -> ImageBuffer<Luma<u16>, Vec<u16>> {
    let mut rng = Seed(0).generator("scan", &[patient, number]);
    let base = 800 + 10 * (patient as u16 % 20);
    let [x, y] = [0; 2].map(|_| rng.random_range(6..SIDE - 6));
    ImageBuffer::from_fn(SIDE, SIDE, |column, row| {
        let near = column.abs_diff(x).pow(2) + row.abs_diff(y).pow(2) <= 9;
        Luma([base + rng.random_range(0..700) + if ill && near { 330 } else { 0 }])
    })
}
