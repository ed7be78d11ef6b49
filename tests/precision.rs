//! Training with intermediate values in 16 bits: nearly the same gradients, half the memory, and a clear error where there are
//! no such floats.

mod common;

use common::{batch, devices};
use ocellus::data::{Batch, Normalization, Seed};
use ocellus::device::{Arena, Device};
use ocellus::nn::{Model, zoo};
use ocellus::tasks::Classifier;
use ocellus::train::{Adam, MemoryOptions, Optimizer, Precision, Session, Sgd, StepResult};

const N: usize = 16;

fn images(seed: u32) -> Batch {
    let hash = |i: u32| (i ^ seed).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519) >> 24;
    let labels: Vec<i32> = (0..N as u32).map(|i| ((i * 7 + seed) % 10) as i32).collect();
    // Brighter for higher labels, so that there is something to learn.
    let pixel = |i: usize| hash(i as u32) / 2 + 12 * labels[i / (16 * 16 * 3)] as u32;
    batch((0..N * 16 * 16 * 3).map(|i| pixel(i) as u8).collect(), labels.clone())
}

fn resnet() -> Model {
    zoo::build("resnet20", [16, 16, 3], 10).unwrap()
}

/// Shallow: deep networks amplify any rounding.
fn lenet() -> Model {
    zoo::build("lenet", [16, 16, 3], 10).unwrap()
}

fn session(device: &Device, model: Model, optimizer: Optimizer, memory: MemoryOptions) -> Session<Classifier> {
    let initial = model.initialize(Seed(9)).unwrap();
    let normalization = Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] };
    let classes = (0..10).map(|i| i.to_string()).collect();
    let classifier = Classifier::new(model, classes, normalization).unwrap();
    let session = Session::new(classifier, device, Some(optimizer.update()), 9).unwrap().with_memory(memory).unwrap();
    session.weights().set(|name| initial.get(name)).unwrap();
    session
}

fn train(session: &mut Session<Classifier>, steps: u32, rate: f64) -> Vec<StepResult> {
    let mut results = Vec::new();
    for step in 1..=steps {
        results.extend(session.train(&images(step), u64::from(step), rate).unwrap());
    }
    results.extend(session.results(0).unwrap());
    results
}

fn half() -> MemoryOptions {
    MemoryOptions { precision: Precision::F16, ..MemoryOptions::default() }
}

/// Devices with 16-bit floats.
fn with_half() -> Vec<Device> {
    let found: Vec<Device> = devices().into_iter().filter(|device| Precision::F16.passes(device).is_ok()).collect();
    assert!(!found.is_empty(), "no adapter has 16-bit floats: install Mesa's software adapter");
    found
}

/// A step of plain gradient descent moves the weights by the gradients alone.
#[test]
fn gradients_are_nearly_those_of_32_bits() {
    for device in with_half() {
        for clip in [None, Some(0.5)] {
            let moved = |memory: MemoryOptions| {
                let mut optimizer = Optimizer::Sgd(Sgd::default());
                optimizer.set_clip_norm(clip);
                let mut session = session(&device, lenet(), optimizer, memory);
                let before = session.weights().read(Arena::Parameters).unwrap();
                let loss = train(&mut session, 1, 0.1)[0].loss;
                let after = session.weights().read(Arena::Parameters).unwrap();
                (loss, before.iter().zip(&after).map(|(b, a)| f64::from(a - b)).collect::<Vec<f64>>())
            };
            let (loss, expected) = moved(MemoryOptions::default());
            for memory in [half(), MemoryOptions { remat: true, ..half() }] {
                let (loss_in_half, steps) = moved(memory);
                assert!((loss_in_half - loss).abs() < 2e-3 * loss, "{loss_in_half} and {loss}");
                let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
                let off = norm(&mut expected.iter().zip(&steps).map(|(a, b)| a - b));
                let size = norm(&mut expected.iter().copied());
                println!("{}: gradients off by {:.2e}", device.name(), off / size);
                assert!(off < 2e-3 * size, "{}: off by {off} of {size}", device.name());
            }
        }
    }
}

#[test]
fn it_learns_as_in_32_bits() {
    for device in with_half() {
        let adam = || Optimizer::Adam(Adam::default());
        let losses = |memory| train(&mut session(&device, resnet(), adam(), memory), 30, 0.003);
        let (whole, half) = (losses(MemoryOptions::default()), losses(half()));
        let last = |results: &[StepResult]| results[20..].iter().map(|r| r.loss).sum::<f32>() / 10.0;
        println!("{}: from {} to {} in 32 bits, {} in 16", device.name(), whole[0].loss, last(&whole), last(&half));
        assert!(last(&half) < 0.75 * half[0].loss);
        assert!((last(&half) - last(&whole)).abs() < 0.15 * last(&whole));
    }
}

#[test]
fn accumulated_parts_are_scaled_back_too() {
    for device in with_half() {
        let moved = |precision| {
            let memory = MemoryOptions { part: Some(4), precision, ..MemoryOptions::default() };
            let mut session = session(&device, lenet(), Optimizer::Sgd(Sgd::default()), memory);
            train(&mut session, 1, 0.1);
            session.weights().read(Arena::Parameters).unwrap()
        };
        let (whole, half) = (moved(Precision::F32), moved(Precision::F16));
        let off = whole.iter().zip(&half).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-3, "{}: off by {off}", device.name());
    }
}

#[test]
fn intermediate_values_take_half_the_memory() {
    for device in with_half() {
        let bytes = |memory| {
            let session = session(&device, resnet(), Optimizer::Sgd(Sgd::default()), memory);
            session.needed_bytes(64).unwrap() - session.weights().bytes()
        };
        let (whole, half) = (bytes(MemoryOptions::default()), bytes(half()));
        assert!(half * 10 < whole * 7, "{}: {half} of {whole} bytes", device.name());
    }
}

#[test]
fn where_there_are_no_such_floats_it_says_so() {
    let error = Precision::F16.passes(&Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("--precision f16") && error.contains("cpu"), "{error}");
}
