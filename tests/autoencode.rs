//! Networks learn to make pictures again, take noise away, and know what they have not seen, on both backends.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{GrayImage, Luma};
use serde_json::Value;

/// Pictures of 16x16 pixels: bright discs, or crosses, somewhere on dark ground.
fn pictures(folder: &Path, crosses: bool, count: u32, seed: u32) {
    fs::create_dir_all(folder).unwrap();
    let mut state = seed;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    for i in 0..count {
        let [cx, cy, r] = [5 + next(6), 5 + next(6), 3 + next(3)];
        let inside = |x: u32, y: u32| match crosses {
            true => (x.abs_diff(cx) < 1 || y.abs_diff(cy) < 1) && x.abs_diff(cx).max(y.abs_diff(cy)) <= r + 1,
            false => x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2) <= r * r,
        };
        let picture = GrayImage::from_fn(16, 16, |x, y| Luma([if inside(x, y) { 220 } else { 20 }]));
        picture.save(folder.join(format!("{i:03}.png"))).unwrap();
    }
}

fn json(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let more = ["--json", "--quiet"];
    let output =
        Command::cargo_bin("ocellus").unwrap().current_dir(folder).args(arguments).args(more).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn metric(of: &Value, name: &str) -> f64 {
    of["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {of}"))
}

#[test]
fn what_was_not_trained_on_is_an_anomaly() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for (part, count, seed) in [("train", 120, 1), ("test", 30, 2)] {
        pictures(&at.join(format!("data/{part}/disc")), false, count, seed);
    }
    pictures(&at.join("data/test/cross"), true, 30, 3);
    for (device, model) in [("cpu", "autoencoder"), ("gpu", "autoencoder"), ("cpu", "vae")] {
        let run = format!("run-{device}-{model}");
        let train = ["train", "data", "--task", "autoencode", "--model", model, "--epochs", "40", "--lr", "0.003"];
        let small = ["--batch-size", "8"];
        let lines = json(at, &[&train[..], &small, &["--width", "0.25", "--device", device, "--out", &run]].concat());
        let done = &lines.last().unwrap()["evaluation"];
        assert_eq!((done["samples"].as_u64(), done["anomalies"].as_u64()), (Some(60), Some(30)));
        let (explained, area) = (metric(done, "explained_variance"), metric(done, "anomaly_auc"));
        // A variational one draws its code, and blurs.
        let least = if model == "vae" { 0.4 } else { 0.75 };
        assert!(explained > least && area > 0.9, "{device} {model}: {explained}, {area}");

        let paths = ["data/test/cross", "data/test/disc", "--out", "drawn", "--device", device];
        let said = json(at, &[&["predict", &run][..], &paths].concat());
        let called = |name: &str| {
            let own = said.iter().filter(|s| s["path"].as_str().unwrap().contains(name));
            own.filter(|s| s["anomaly"].as_bool().unwrap()).count()
        };
        assert!(called("cross") > 20 && called("disc") < 10, "{} and {}", called("cross"), called("disc"));
        let made = at.join(said[0]["reconstruction"].as_str().unwrap());
        assert_eq!(image::open(made).unwrap().width(), 16);
        let page = fs::read_to_string(at.join(&run).join("report.html")).unwrap();
        assert!(page.contains("Anomaly ROC-AUC") && page.contains("Largest errors"));
    }
    let export = ["export", "run-cpu-autoencoder", "--output", "model.onnx", "--data", "data/test"];
    assert!(json(at, &export)[0]["largest_difference"].as_f64().unwrap() < 1e-4);
}

#[test]
fn noise_is_taken_away_and_a_classifier_starts_from_what_was_learned() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    for (name, crosses) in [("disc", false), ("cross", true)] {
        pictures(&at.join("data").join(name), crosses, 60, 5);
    }
    let train = ["train", "data", "--task", "autoencode", "--denoise", "0.2", "--epochs", "60", "--lr", "0.003"];
    let lines = json(at, &[&train[..], &["--batch-size", "8", "--device", "cpu", "--out", "denoiser"]].concat());
    // Noise of deviation 0.2 alone is an error of 0.04.
    let error = metric(&lines.last().unwrap()["evaluation"], "mse");
    assert!(error < 0.02, "{error}");
    let weights = ["--init", "denoiser/best.safetensors", "--model", "encoder", "--epochs", "6"];
    let lines = json(at, &[&["train", "data", "--device", "cpu", "--out", "run"][..], &weights].concat());
    assert!(metric(&lines.last().unwrap()["evaluation"], "accuracy") > 0.8);
    let config = fs::read_to_string(at.join("run/config.toml")).unwrap();
    assert!(config.contains("normalize = \"unit\""), "as for the autoencoder: {config}");
}

#[test]
fn what_does_not_fit_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    pictures(&at.join("data/disc"), false, 6, 1);
    let fails = |more: &[&str]| {
        let train = ["train", "data", "--task", "autoencode", "--device", "cpu", "--out", "run"];
        let output = Command::cargo_bin("ocellus").unwrap().current_dir(at).args(train).args(more).output().unwrap();
        assert!(!output.status.success() && !at.join("run").exists(), "{more:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(
        fails(&["--normal", "square"]).contains("no training images of the normal class \"square\"; there are disc")
    );
    assert!(fails(&["--model", "lenet"]).contains("take autoencoder or vae"));
    assert!(fails(&["--denoise", "2"]).contains("must be from 0 to 1"));
    assert!(fails(&["--mask-loss", "dice"]).contains("--mask-loss is for --task segment"));
}
