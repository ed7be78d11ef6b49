//! A network that finds bright discs in noise, pixel by pixel: made, trained and asked from Rust.
//!
//!     cargo run --release --example segment

use std::num::NonZero;
use std::sync::Arc;

use ocellus::data::{Batch, Cache, Image, Images, Loader, LoaderOptions, MaskOptions, Normalize, Seed, open_masks};
use ocellus::device::Device;
use ocellus::error::Result;
use ocellus::nn::zoo;
use ocellus::tasks::{RunTask, Segmenter};
use ocellus::train::{Optimizer, Plan, Progress, Quiet, Schedule, Session, fit};

fn main() -> Result<()> {
    let folder = std::env::temp_dir().join("ocellus-discs");
    for i in 0..60 {
        let (picture, mask) = scene(i);
        picture.save_png(&in_folder(&folder, "images", i)?)?;
        mask.save_png(&in_folder(&folder, "masks", i)?)?;
    }
    let device = Device::auto()?;
    let data = open_masks(&folder, &MaskOptions::default(), None)?.split(0.2, Seed(0))?;
    let shape = [32, 32, 1];
    let classes = data.train.classes.clone();
    let [train, val, _] = Images::load_splits(data, shape, Cache::Ram, &|| Ok(()))?.map(|part| part.map(Arc::new));
    let (train, val) = (train.expect("there are training pictures"), val.expect("a fifth is held out"));

    let model = zoo::build_scaled("linknet", shape, classes.len(), 0.25)?;
    let task = Segmenter::new(model.clone(), classes, train.normalization(Normalize::Dataset))?;
    let optimizer = Optimizer::named("adam")?;
    let mut session = Session::new(task, &device, Some(optimizer.update()), 0)?;
    let initial = model.initialize(Seed(0))?;
    session.weights().set(|name| initial.get(name))?;

    let batch_size = NonZero::new(8).expect("8 is not 0");
    let loader = |images: &Arc<Images>, shuffle: bool| {
        let targets = session.task().targets(images)?;
        let options = LoaderOptions { batch_size, shuffle, targets, ..LoaderOptions::default() };
        Ok(Loader::new(images.clone(), options))
    };
    let (train, val) = (loader(&train, true)?, loader(&val, false)?);
    let plan = Plan {
        epochs: 20,
        learning_rate: 0.01,
        schedule: Schedule::Cosine,
        warmup: 0,
        patience: None,
        max_steps: None,
        max_time: None,
        until: None,
    };
    let history = fit(&mut session, &train, Some(&val), &plan, &mut Progress::default(), &mut Quiet)?;
    let best = history.iter().filter_map(|epoch| epoch.val).map(|val| val.metric).fold(0.0, f64::max);
    println!("mean IoU {:.1} %", 100.0 * best);

    let outputs = session.infer(&Batch::of_images(&[scene(99).0]))?;
    let disc = outputs[1].f32().iter().filter(|&&p| p > 0.5).count();
    println!("a new picture: {disc} pixels are disc");
    Ok(())
}

fn in_folder(folder: &std::path::Path, kind: &str, i: u32) -> Result<std::path::PathBuf> {
    let folder = folder.join(kind);
    std::fs::create_dir_all(&folder).map_err(|e| ocellus::error::Error::config(e.to_string()))?;
    Ok(folder.join(format!("{i:02}.png")))
}

/// A noisy picture of 32x32 pixels with a disc, and its mask.
fn scene(seed: u32) -> (Image, Image) {
    let mut state = seed.wrapping_mul(747_796_405) + 1;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let [x, y, r] = [8 + next(16), 8 + next(16), 4 + next(5)];
    let inside = |i: u32| (i % 32).abs_diff(x).pow(2) + (i / 32).abs_diff(y).pow(2) <= r * r;
    let mask: Vec<u8> = (0..1024).map(|i| 255 * u8::from(inside(i))).collect();
    let picture = mask.iter().map(|&m| (next(120) + u32::from(m) / 2) as u8).collect();
    let image = |pixels| Image { size: [32, 32], channels: 1, pixels };
    (image(picture), image(mask))
}
