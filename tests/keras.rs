//! Started from the same weights and fed the same batches, Ocellus follows Keras: every step's loss and the final weights.
//! What Keras did is recorded in `fixtures/keras`, with the script that recorded it. Networks that Keras wrote answer here as there.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::{batch, devices};
use image::ExtendedColorType;
use ocellus::data::{Batch, Normalization, Seed};
use ocellus::device::Device;
use ocellus::interop::{safetensors, weights};
use ocellus::nn::{Model, zoo};
use ocellus::tasks::Classifier;
use ocellus::tensor::Tensor;
use ocellus::train::{Adam, Optimizer, Session, Sgd};

type Tensors = BTreeMap<String, Tensor>;

/// A file under `tests/fixtures`.
fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

/// The generator of the fixture's README.
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7FEB_352D);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

fn bits(stream: u32, i: u32) -> u32 {
    mix(mix(stream).wrapping_add(i))
}

fn kernel(shape: &[usize], stream: u32, limit: u32) -> Tensor {
    let n: usize = shape.iter().product();
    let unit = |i: usize| (bits(stream, i as u32) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let values: Vec<f32> = (0..n).map(|i| unit(i) * f32::from_bits(limit)).collect();
    Tensor::new(shape, values).unwrap()
}

fn losses(name: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(fixture(&format!("keras/{name}.json"))).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["losses"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn classifier(model: Model, classes: usize) -> Classifier {
    let unit = Normalization { mean: vec![0.0; 3], std: vec![1.0; 3] };
    Classifier::new(model, (0..classes).map(|i| format!("c{i}")).collect(), unit).unwrap()
}

/// Trains and returns the losses and the final weights.
fn follow(
    device: &Device,
    classifier: Classifier,
    optimizer: Optimizer,
    learning_rate: f64,
    initial: &Tensors,
    batches: impl Iterator<Item = Batch>,
) -> (Vec<f64>, Tensors) {
    let mut session = Session::new(classifier, device, Some(optimizer.update()), 0).unwrap();
    session.weights().set(|name| initial.get(name)).unwrap();
    let mut results = Vec::new();
    for (i, batch) in batches.enumerate() {
        results.extend(session.train(&batch, i as u64 + 1, learning_rate).unwrap());
    }
    results.extend(session.results(0).unwrap());
    let weights = session.weights().tensors().unwrap().into_iter().collect();
    (results.iter().map(|r| f64::from(r.loss)).collect(), weights)
}

fn demand_losses(device: &Device, name: &str, got: &[f64]) {
    let wanted = losses(name);
    assert_eq!(got.len(), wanted.len());
    for (step, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
        let off = (got - wanted).abs() / wanted;
        assert!(off < 1e-4, "{}: step {}: loss {got}, Keras {wanted}, off by {off:e}", device.name(), step + 1);
    }
}

/// Each element within 1e-4 of the largest of its tensor.
fn demand_equal(device: &Device, name: &str, got: impl Iterator<Item = f32>, wanted: &Tensor) {
    let largest = wanted.f32().iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    for (i, (got, wanted)) in got.zip(wanted.f32()).enumerate() {
        let off = (got - wanted).abs() / largest;
        assert!(
            off < 1e-4,
            "{}: {name}[{i}] is {got}, Keras has {wanted}, off by {off:e} of the largest",
            device.name()
        );
    }
}

fn first_initial() -> Tensors {
    [
        ("conv2d.weight", kernel(&[3, 3, 3, 32], 1, 0x3E0D_534F)),
        ("conv2d.bias", Tensor::new([32], vec![0.0_f32; 32]).unwrap()),
        ("dense.weight", kernel(&[30752, 128], 2, 0x3C64_6120)),
        ("dense.bias", Tensor::new([128], vec![0.0_f32; 128]).unwrap()),
        ("dense_1.weight", kernel(&[128, 1], 3, 0x3E5C_D76E)),
        ("dense_1.bias", Tensor::new([1], vec![0.0_f32]).unwrap()),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into()
}

fn first_batch(step: u32) -> Batch {
    let labels: Vec<i32> = (0..8).map(|n| (bits(100, 8 * step + n) >> 31) as i32).collect();
    let size = 64 * 64 * 3;
    let pixel = |i: u32| (bits(1000 + step, i) >> 24) * 3 / 4 + 64 * labels[i as usize / size] as u32;
    let images = (0..8 * size as u32).map(|i| pixel(i) as u8).collect();
    batch(images, labels)
}

#[test]
fn the_generator_is_the_fixtures() {
    assert_eq!([0, 1, 2].map(|i| bits(1, i)), [0x58F5_4975, 0xD25B_73E6, 0xCAFF_E390]);
    let batch = first_batch(0);
    assert_eq!(batch.labels, [1, 1, 1, 0, 0, 1, 0, 1]);
    assert_eq!(batch.images[..4], [148, 221, 172, 118]);
    assert_eq!(kernel(&[3], 1, 0x3E0D_534F).f32(), [-0.042_096_0, 0.088_799_82, 0.080_866_58]);
}

#[test]
fn first_network_with_adam() {
    let initial = first_initial();
    let wanted = safetensors::load(fixture("keras/first_final.safetensors")).unwrap();
    for device in devices() {
        let model = zoo::build("keras-first", [64, 64, 3], 2).unwrap();
        let adam = Optimizer::Adam(Adam::default());
        let batches = (0..24).map(first_batch);
        let (losses, weights) = follow(&device, classifier(model, 2), adam, 0.001, &initial, batches);
        demand_losses(&device, "first", &losses);
        for (name, wanted) in &wanted {
            match name.strip_suffix(".sample") {
                Some(name) => demand_equal(&device, name, weights[name].f32().iter().copied().step_by(997), wanted),
                None => demand_equal(&device, name, weights[name].f32().iter().copied(), wanted),
            }
        }
    }
}

fn second_batch(b: u32) -> Batch {
    let labels: Vec<i32> = (0..12).map(|n| (bits(200, 12 * b + n) % 10) as i32).collect();
    let size = 17 * 15 * 3;
    let pixel = |i: u32| {
        let label = labels[i as usize / size] as u32;
        (bits(2000 + b, i) >> 24) / 2 + label * (i % 3 + 1) % 10 * 12
    };
    let images = (0..12 * size as u32).map(|i| pixel(i) as u8).collect();
    batch(images, labels)
}

#[test]
fn second_network_with_nesterov_momentum() {
    let initial: Tensors = safetensors::load(fixture("keras/second_initial.safetensors")).unwrap();
    let wanted = safetensors::load(fixture("keras/second_final.safetensors")).unwrap();
    for device in devices() {
        let model = Model::open(fixture("keras/second.toml")).unwrap();
        let sgd = Optimizer::Sgd(Sgd { momentum: 0.9, nesterov: true, ..Sgd::default() });
        let batches = (0..24).map(|t| second_batch(t % 6));
        let (losses, weights) = follow(&device, classifier(model, 10), sgd, 0.05, &initial, batches);
        demand_losses(&device, "second", &losses);
        assert_eq!(weights.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (name, wanted) in &wanted {
            demand_equal(&device, name, weights[name].f32().iter().copied(), wanted);
        }
    }
}

#[test]
fn initial_weights_are_reproducible() {
    let model = zoo::build("keras-first", [64, 64, 3], 2).unwrap();
    assert_eq!(model.initialize(Seed(3)).unwrap(), model.initialize(Seed(3)).unwrap());
    assert_ne!(model.initialize(Seed(3)).unwrap(), model.initialize(Seed(4)).unwrap());
}

fn ocellus(folder: &Path, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::cargo_bin("ocellus").unwrap();
    let output =
        command.current_dir(folder).env("OCELLUS_CACHE_DIR", folder.join("cache")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// A file that Keras wrote.
fn written(name: &str) -> String {
    fixture("keras/exchange").join(name).to_str().unwrap().to_owned()
}

/// Imports a network with these arguments and has it answer the recorded pictures, whose extents are given.
fn answers_as_recorded(name: &str, import: &[&str], [h, w, c]: [u32; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let (done, _, error) = ocellus(folder.path(), &[&["import", "--out", "run"], import].concat());
    assert!(done && !error.contains("left out"), "{error}");
    let text = std::fs::read_to_string(written("answers.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows = |key: &str| -> Vec<Vec<f64>> { serde_json::from_value(recorded[name][key].clone()).unwrap() };
    let mut pictures = Vec::new();
    for (i, pixels) in rows("pixels").iter().enumerate() {
        let bytes: Vec<u8> = pixels.iter().map(|&value| value as u8).collect();
        let kind = if c == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        pictures.push(format!("{i}.png"));
        image::save_buffer(folder.path().join(&pictures[i]), &bytes, w, h, kind).unwrap();
    }
    for device in ["cpu", "gpu"] {
        let mut args = vec!["predict", "run", "--json", "--top", "5", "--device", device];
        args.extend(pictures.iter().map(String::as_str));
        let (done, answers, error) = ocellus(folder.path(), &args);
        assert!(done, "{error}");
        assert_eq!(answers.lines().count(), 2);
        for (answer, expected) in answers.lines().zip(rows("answers")) {
            // One number is the probability of the second class.
            let expected = if let [second] = expected[..] { vec![1.0 - second, second] } else { expected };
            let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
            let top = answer["top"].as_array().unwrap();
            assert_eq!(top.len(), expected.len());
            for scored in top {
                let class: usize = scored["label"].as_str().unwrap().parse().unwrap();
                let off = (scored["score"].as_f64().unwrap() - expected[class]).abs();
                assert!(off < 1e-5, "{name} on {device}: {scored} instead of {}", expected[class]);
            }
        }
    }
}

#[test]
fn a_sequential_network_answers_as_in_keras() {
    answers_as_recorded("first", &[&written("first.json"), "--weights", &written("first.weights.h5")], [12, 12, 3]);
}

#[test]
fn a_functional_network_answers_as_in_keras() {
    answers_as_recorded("functional", &[&written("functional.keras")], [16, 12, 3]);
}

#[test]
fn a_network_in_the_older_format_answers_as_in_keras() {
    answers_as_recorded("older", &[&written("older.h5")], [8, 8, 3]);
}

#[test]
fn a_network_on_lines_of_pixels_answers_as_in_keras() {
    answers_as_recorded("lines", &[&written("lines.keras")], [8, 6, 1]);
}

#[test]
fn variables_fit_layers_of_the_same_classes() {
    // As Keras does it: whatever the layers are called there, and here.
    let toml = Model::parse(
        "input = [12, 12, 3]\n\
         layer = [{ type = \"conv2d\", name = \"stem\", filters = 6, kernel = 3 }, { type = \"max_pool2d\" }, { type = \"flatten\" },\n\
         { type = \"dense\", name = \"hidden\", units = 8 }, { type = \"dense\", name = \"head\", units = 4 }]",
    );
    let loaded = weights::load(written("first.weights.h5"), &toml.unwrap()).unwrap();
    assert_eq!(loaded.tensors.keys().collect::<Vec<_>>(), ["hidden.bias", "hidden.weight", "stem.bias", "stem.weight"]);
    assert_eq!(loaded.replaced, ["head"], "it has other classes");
    let resnet = zoo::build("resnet20", [32, 32, 3], 10).unwrap();
    let error = weights::load(written("first.weights.h5"), &resnet).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("of another shape"), "{error}");
}

#[test]
fn layers_that_are_not_known_are_told_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (done, _, error) = ocellus(folder.path(), &["summary", &written("unsupported.json")]);
    assert!(!done);
    for part in ["\"code\" (Lambda): it holds code", "\"softsign\" (Conv2D)", "\"unit\" (UnitNormalization)"] {
        assert!(error.contains(part), "{error}");
    }
    let (done, table, error) = ocellus(folder.path(), &["summary", &written("functional.keras"), "--device", "cpu"]);
    assert!(done && table.contains("stem/batch_normalization") && table.contains("4,774 trained"), "{table}{error}");
    let (done, _, error) = ocellus(folder.path(), &["import", &written("first.json"), "--out", "run"]);
    assert!(!done && error.contains("--weights FILE is missing"), "{error}");
}
