//! A network learns to say of each pixel what it is part of, as a user would train it, on both backends.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;

/// Scenes of 32x32 noisy pixels with a bright disc (class 1), a coloured square (class 2), or both; masks beside them.
fn scenes(folder: &Path, count: u32, seed: u32) {
    for kind in ["images", "masks"] {
        fs::create_dir_all(folder.join(kind)).unwrap();
    }
    let mut state = seed;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    for i in 0..count {
        let (disc, square) = (i % 3 != 0, i % 3 != 1);
        let [cx, cy, r] = [8 + next(16), 8 + next(16), 4 + next(4)];
        let [left, top, side] = [next(20), next(20), 7 + next(5)];
        let class = |x: u32, y: u32| {
            let in_disc = disc && (x.abs_diff(cx)).pow(2) + (y.abs_diff(cy)).pow(2) <= r * r;
            let in_square = square && (left..left + side).contains(&x) && (top..top + side).contains(&y);
            if in_square { 2 } else { u8::from(in_disc) }
        };
        let mask = GrayImage::from_fn(32, 32, |x, y| Luma([class(x, y)]));
        let picture = RgbImage::from_fn(32, 32, |x, y| {
            let base = [[60, 60, 60], [200, 190, 180], [40, 150, 60]][usize::from(class(x, y))];
            Rgb(base.map(|v| (v + next(40)) as u8))
        });
        mask.save(folder.join(format!("masks/{i:03}.png"))).unwrap();
        picture.save(folder.join(format!("images/{i:03}.png"))).unwrap();
    }
}

fn ocellus(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::cargo_bin("ocellus").unwrap().current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let (success, stdout, stderr) = ocellus(folder, arguments);
    assert!(success, "{arguments:?}: {stderr}");
    stdout
}

#[test]
fn scenes_are_trained_on_judged_predicted_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    scenes(&at.join("data/train"), 48, 1);
    scenes(&at.join("data/val"), 12, 2);
    assert!(succeeds(at, &["check", "data"]).contains("60 images, 3 classes"));
    assert!(succeeds(at, &["summary", "data"]).contains("height   32 to 32 pixels"));
    for device in ["cpu", "gpu"] {
        let run = format!("run-{device}");
        let common = ["--device", device, "--json", "--quiet"];
        let train = ["train", "data", "--width", "0.25", "--epochs", "24", "--batch-size", "6", "--lr", "0.01"];
        let out = ["--out", run.as_str(), "--augment", "none"];
        let lines = succeeds(at, &[&train[..], &out, &common].concat());
        let done: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
        let iou = done["evaluation"]["metrics"]["mean_iou"].as_f64().unwrap();
        assert!(iou > 0.75, "{device}: mean IoU {iou}");
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert!(first["val_mean_iou"].as_f64().unwrap() < iou && first["train_mean_iou"].is_null());

        let evaluated: Value =
            serde_json::from_str(&succeeds(at, &[&["evaluate", &run, "data/val"][..], &common].concat())).unwrap();
        assert_eq!(evaluated["metrics"], done["evaluation"]["metrics"]);
        let per_class = &evaluated["per_class"];
        assert!(["0", "1", "2"].iter().all(|class| per_class[class]["iou"].as_f64().unwrap() > 0.6), "{per_class}");

        let predict = ["predict", &run, "data/val/images/002.png", "--out", "drawn"];
        let said: Value = serde_json::from_str(&succeeds(at, &[&predict[..], &common].concat())).unwrap();
        let truth = image::open(at.join("data/val/masks/002.png")).unwrap().into_luma8();
        let mask = image::open(at.join(said["mask"].as_str().unwrap())).unwrap().into_luma8();
        let right = mask.pixels().zip(truth.pixels()).filter(|(a, b)| a == b).count();
        assert!(right > 900, "{device}: {right} of 1024 pixels");
        assert_eq!(image::open(at.join(said["overlay"].as_str().unwrap())).unwrap().width(), 32);
        let of_square = mask.pixels().filter(|p| p[0] == 2).count() as f64 / 1024.0;
        assert!((said["classes"]["2"].as_f64().unwrap() - of_square).abs() < 1e-9);

        let explain = ["explain", &run, "data/val/images/002.png", "--class", "2", "--curves", "--out", "why"];
        let why: Value = serde_json::from_str(&succeeds(at, &[&explain[..], &common].concat())).unwrap();
        assert!(why["score"].as_f64().unwrap() > 0.5 && at.join(why["overlay"].as_str().unwrap()).exists(), "{why}");
        assert!(why["insertion"].as_f64().unwrap() > why["deletion"].as_f64().unwrap(), "{why}");

        let export = ["export", &run, "--output", "model.onnx", "--data", "data/val"];
        let checked: Value = serde_json::from_str(&succeeds(at, &[&export[..], &common].concat())).unwrap();
        assert!(checked["largest_difference"].as_f64().unwrap() < 1e-4, "{checked}");
        let page = fs::read_to_string(at.join(&run).join("report.html")).unwrap();
        assert!(page.contains("Segmentation") && page.contains("Worst masks") && page.contains("data:image"));
    }
}

#[test]
fn a_large_picture_is_looked_at_in_tiles() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    scenes(&at.join("data"), 24, 3);
    let train = ["train", "data", "--tiles", "--image-size", "16", "--width", "0.25", "--epochs", "8", "--lr", "0.01"];
    let more = ["--device", "cpu", "--quiet", "--json", "--out", "run", "--augment", "none"];
    let lines = succeeds(at, &[&train[..], &more].concat());
    let done: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(done["evaluation"]["samples"].as_u64().unwrap() % 2, 0, "four tiles a scene, some held out");
    let wide = image::open(at.join("data/images/001.png")).unwrap().into_rgb8();
    let wide = RgbImage::from_fn(57, 41, |x, y| *wide.get_pixel(x % 32, y % 32));
    wide.save(at.join("wide.png")).unwrap();
    let predict = ["predict", "run", "wide.png", "--out", "drawn", "--json", "--quiet", "--device", "cpu"];
    let said: Value = serde_json::from_str(&succeeds(at, &predict)).unwrap();
    assert_eq!(said["size"], serde_json::json!([41, 57]));
    assert_eq!(image::open(at.join("drawn/wide-mask.png")).unwrap().width(), 57);
}

#[test]
fn what_does_not_fit_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    scenes(&at.join("data"), 6, 4);
    let fails = |arguments: &[&str]| {
        let (success, _, error) = ocellus(at, arguments);
        assert!(!success && !at.join("run").exists(), "{arguments:?}");
        error
    };
    let train = |more: &[&str]| fails(&[&["train", "data", "--device", "cpu", "--out", "run"][..], more].concat());
    assert!(train(&["--model", "lenet"]).contains("take unet or linknet"));
    assert!(train(&["--mixup", "0.2"]).contains("--mixup and --cutmix are not for --task segment"));
    assert!(train(&["--task", "classify"]).contains("masks"));
    assert!(train(&["--task", "classify", "--mask-loss", "dice"]).contains("--mask-loss is for --task segment"));
    assert!(train(&["--ignore-class", "sky"]).contains("the classes are 0, 1, 2"));
    fs::write(at.join("data/masks/003.png"), b"\x89PNG\r\n\x1a\nnot a picture").unwrap();
    assert!(train(&[]).contains("003.png"));
}
