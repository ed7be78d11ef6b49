//! A network learns which way something moves, which no frame alone tells, as a user would train it, on both backends.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{GrayImage, Luma};
use serde_json::Value;

/// Sequences of six frames of 12x12 noisy pixels, in which a bright square of 4 goes on by 2 pixels a frame from anywhere, and
/// comes in again on the other side.
fn sequences(folder: &Path, count: u32) {
    let mut state = count;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    for (name, [dx, dy]) in [("down", [0, 2]), ("left", [10, 0]), ("right", [2, 0])] {
        for number in 0..count {
            let clip = folder.join(format!("{name}/clip-{number}"));
            fs::create_dir_all(&clip).unwrap();
            let [x0, y0] = [next(12), next(12)];
            for frame in 0..6 {
                let [left, top] = [(x0 + dx * frame) % 12, (y0 + dy * frame) % 12];
                let inside = |at: u32, from: u32| (at + 12 - from) % 12 < 4;
                let bright = |x, y| if inside(x, left) && inside(y, top) { 180 } else { 0 };
                let picture = GrayImage::from_fn(12, 12, |x, y| Luma([(bright(x, y) + next(50)) as u8]));
                picture.save(clip.join(format!("{frame}.png"))).unwrap();
            }
        }
    }
}

/// For one frame; its last layer is replaced.
const NETWORK: &str = r#"input = [12, 12, 1]
[[layer]]
type = "conv2d"
filters = 8
kernel = 3
padding = "same"
activation = "relu"
[[layer]]
type = "max_pool2d"
size = 2
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 24
activation = "relu"
[[layer]]
type = "dense"
units = 3
activation = "softmax"
"#;

fn ocellus(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::cargo_bin("ocellus").unwrap();
    let output =
        command.current_dir(folder).env("OCELLUS_CACHE_DIR", folder.join("cache")).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let (success, stdout, stderr) = ocellus(folder, arguments);
    assert!(success, "{arguments:?}: {stderr}");
    stdout
}

fn fails(folder: &Path, arguments: &[&str], part: &str) {
    let (success, _, stderr) = ocellus(folder, arguments);
    assert!(!success && stderr.contains("error: ") && stderr.contains(part), "{arguments:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

fn accuracy(folder: &Path, run: &str, device: &str) -> f64 {
    let told = succeeds(folder, &["evaluate", run, "--json", "--quiet", "--device", device]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["samples"], 30);
    told["metrics"]["accuracy"].as_f64().unwrap()
}

#[test]
fn directions_are_learned_judged_and_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    sequences(&at.join("clips/train"), 60);
    sequences(&at.join("clips/test"), 10);
    fs::write(at.join("frame.toml"), NETWORK).unwrap();
    for device in ["cpu", "gpu"] {
        let train = [
            "train",
            "clips",
            "--frames",
            "4",
            "--model",
            "frame.toml",
            "--epochs",
            "12",
            "--lr",
            "0.005",
            "--val",
            "0",
        ];
        succeeds(at, &[&train[..], &["--batch-size", "8", "--device", device, "--out", device, "--quiet"]].concat());
        let found = accuracy(at, device, device);
        assert!(found >= 0.9, "{device}: {found}");

        let answers = succeeds(at, &["predict", device, "clips/test/left", "--json", "--device", device]);
        let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), 10);
        assert!(answers[0]["path"].as_str().unwrap().ends_with("clip-0"), "{}", answers[0]);
        assert!(answers.iter().filter(|a| a["label"] == "left").count() >= 8, "{answers:?}");
    }
    let model = fs::read_to_string(at.join("cpu/model.toml")).unwrap();
    assert!(model.contains("input = [48, 12, 1]") && model.contains("split_frames"), "{model}");
    fails(at, &["predict", "cpu", "clips/test/left/clip-0/0.png"], "a sequence is a folder of frames");
    fails(at, &["explain", "cpu", "clips/test/left/clip-0/0.png"], "a sequence is a folder of frames");
    let report = fs::read_to_string(at.join("cpu/report.html")).unwrap();
    assert!(report.contains("What decided") && report.contains("pictures strips"));
    what_decided_is_what_moves(at);
}

/// The square counts more than the noise, in each frame that is looked at.
fn what_decided_is_what_moves(at: &Path) {
    let explain = ["explain", "cpu", "clips/test/left", "--npy", "--json", "--device", "cpu", "--method"];
    for method in ["integrated-gradients", "occlusion", "grad-cam"] {
        let told = succeeds(at, &[&explain[..], &[method]].concat());
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for line in told.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let map = ocellus::interop::npy::read(at.join(line["heatmap"].as_str().unwrap())).unwrap().array;
            assert_eq!(map.shape.dims(), [48, 12], "four frames, one below another");
            let overlay = image::open(at.join(line["overlay"].as_str().unwrap())).unwrap();
            assert_eq!((overlay.width(), overlay.height()), (48, 12));
            for (values, frame) in map.data.chunks(144).zip([0, 2, 3, 5]) {
                let path = at.join(line["path"].as_str().unwrap()).join(format!("{frame}.png"));
                let pixels = image::open(path).unwrap().into_luma8().into_raw();
                for (value, pixel) in values.iter().zip(pixels) {
                    if pixel >= 180 { &mut inside } else { &mut outside }.push(value.abs());
                }
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert!(mean(&inside) > 1.5 * mean(&outside), "{method}: {} inside, {} outside", mean(&inside), mean(&outside));
    }
}

#[test]
fn what_is_no_set_of_sequences_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    sequences(&at.join("clips"), 2);
    fs::write(at.join("broken.png"), "no picture").unwrap();
    let train = |data, more: &[&'static str]| [&["train", data, "--device", "cpu", "--frames", "3"][..], more].concat();
    fails(at, &train("clips/left", &[]), "clip-0/clip/1.png");
    fails(at, &train("broken.png", &[]), "this is a file");
    fails(at, &train("clips", &["--model", "squeezenet"]), "must end in a dense layer");
    fails(at, &train("clips", &["--cutmix", "1"]), "--cutmix is not for sequences");
    fails(at, &train("clips", &["--task", "read"]), "--frames is for --task classify");
    assert!(!ocellus(at, &["train", "clips", "--frames", "1"]).0);
}
