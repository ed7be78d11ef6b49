//! The command as a user meets it: runs on small pictures, results on stdout, one clear error otherwise.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;
use tempfile::TempDir;

/// A file under `tests/fixtures`.
fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)
}

fn ocellus(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("ocellus").unwrap();
    command.current_dir(folder).env("NO_COLOR", "1").env("OCELLUS_CACHE_DIR", folder.join("cache"));
    command
}

/// Two classes that differ in colour, `n` pictures each, of slightly different sizes.
fn pictures(n: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (class, color) in [("blue", [30, 60, 200]), ("red", [210, 50, 40])] {
        fs::create_dir_all(folder.path().join("photos").join(class)).unwrap();
        for i in 0..n {
            let noise = |x: u32, y: u32, c: usize| (color[c] as u32 + (x * 7 + y * 13 + i * 29) % 40) as u8;
            let picture = RgbImage::from_fn(20 + i % 3, 18, |x, y| Rgb([0, 1, 2].map(|c| noise(x, y, c))));
            picture.save(folder.path().join(format!("photos/{class}/{i:02}.png"))).unwrap();
        }
    }
    folder
}

const SMALL: &str = r#"input = [16, 16, 3]
[[layer]]
type = "conv2d"
filters = 4
kernel = 3
activation = "relu"
[[layer]]
type = "max_pool2d"
size = 2
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 2
activation = "softmax"
"#;

fn small_model(folder: &Path) {
    fs::write(folder.join("small.toml"), SMALL).unwrap();
}

fn train<'a>(folder: &Path, more: impl IntoIterator<Item = &'a str>) -> Command {
    small_model(folder);
    let mut command = ocellus(folder);
    command.args(["train", "photos", "--model", "small.toml", "--device", "cpu", "--epochs", "3", "--batch-size", "4"]);
    command.args(more);
    command
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Exit code 1, one line that says `error:` and each of `parts`, no panic.
fn demand_error(command: &mut Command, parts: &[&str]) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let error = text.lines().find(|l| l.starts_with("error: ")).unwrap_or_else(|| panic!("no error line in: {text}"));
    for part in parts {
        assert!(text.contains(part), "\"{part}\" is missing in: {error}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_run_from_training_to_prediction() {
    let folder = pictures(12);
    let events =
        json_lines(&stdout(train(folder.path(), ["--json", "--out", "run", "--log-steps"]).env_remove("RUST_LOG")));
    assert_eq!(events.len(), 4);
    assert_eq!(events[0]["event"], "epoch");
    assert_eq!(events[3]["event"], "done");
    assert_eq!(events[3]["evaluation"]["metrics"]["accuracy"], 1.0);

    let run = folder.path().join("run");
    for file in
        ["config.toml", "model.toml", "labels.txt", "metrics.csv", "steps.csv", "best.safetensors", "last.safetensors"]
    {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    assert_eq!(fs::read_to_string(run.join("labels.txt")).unwrap(), "blue\nred\n");
    let metrics = fs::read_to_string(run.join("metrics.csv")).unwrap();
    let header = "epoch,step,seconds,lr,train_loss,train_accuracy,val_loss,val_accuracy,images_per_s";
    assert_eq!(metrics.lines().next(), Some(header));
    assert_eq!(metrics.lines().count(), 4);
    assert!(fs::read_to_string(run.join("steps.csv")).unwrap().starts_with("step,loss,lr\n1,"));

    let evaluation = stdout(ocellus(folder.path()).args(["evaluate", "run", "photos", "--json", "--device", "cpu"]));
    let evaluation: Value = serde_json::from_str(&evaluation).unwrap();
    assert_eq!(evaluation["task"], "classify");
    assert_eq!(evaluation["samples"], 24);
    assert_eq!(evaluation["confusion"], serde_json::json!([[12, 0], [0, 12]]));
    assert_eq!(evaluation["per_class"]["red"]["support"], 12);

    let answers = stdout(ocellus(folder.path()).args([
        "predict",
        "run",
        "photos/red",
        "photos/blue/03.png",
        "--json",
        "--device",
        "cpu",
    ]));
    let answers = json_lines(&answers);
    assert_eq!(answers.len(), 13);
    assert!(answers[..12].iter().all(|a| a["label"] == "red"));
    assert_eq!(answers[12]["label"], "blue");
    assert_eq!(answers[12]["top"].as_array().unwrap().len(), 2);
}

#[test]
fn a_software_adapter_learns_the_same() {
    let folder = pictures(12);
    let run = |device: &str| {
        let mut command = train(folder.path(), ["--json", "--no-shuffle", "--out", device]);
        let text = stdout(command.args(["--device", device]));
        json_lines(&text)[2]["train_loss"].as_f64().unwrap()
    };
    let (cpu, gpu) = (run("cpu"), run("gpu"));
    assert!((cpu - gpu).abs() < 1e-4 * cpu.abs(), "cpu {cpu}, gpu {gpu}");
}

#[test]
fn the_command_line_follows_keras() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| fixture(&format!("keras/{name}")).display().to_string();
    let (data, model, init) = (file("second/labels.csv"), file("second.toml"), file("second_initial.safetensors"));
    let text = fs::read_to_string(fixture("keras/second.json")).unwrap();
    let keras: Value = serde_json::from_str(&text).unwrap();
    for device in ["cpu", "gpu"] {
        let mut command = ocellus(folder.path());
        command.args(["train", &data, "--model", &model, "--init", &init, "--out", device, "--device", device]);
        command.args(["--no-shuffle", "--augment", "none", "--normalize", "unit", "--val", "0", "--log-steps"]);
        command.args(["--optimizer", "sgd", "--lr", "0.05", "--momentum", "0.9", "--nesterov"]);
        stdout(command.args(["--batch-size", "12", "--epochs", "4"]));
        let steps = fs::read_to_string(folder.path().join(device).join("steps.csv")).unwrap();
        let losses: Vec<f64> = steps.lines().skip(1).map(|l| l.split(',').nth(1).unwrap().parse().unwrap()).collect();
        let wanted = keras["losses"].as_array().unwrap();
        assert_eq!(losses.len(), wanted.len());
        for (got, wanted) in losses.iter().zip(wanted) {
            let wanted = wanted.as_f64().unwrap();
            assert!((got - wanted).abs() < 1e-4 * wanted, "{device}: {got}, Keras {wanted}");
        }
    }
}

#[test]
fn config_repeats_a_run_bit_for_bit() {
    let folder = pictures(8);
    stdout(&mut train(folder.path(), ["--out", "first", "--augment", "standard", "--seed", "5"]));
    stdout(ocellus(folder.path()).args(["train", "--config", "first/config.toml", "--out", "second"]));
    let read = |run: &str| fs::read(folder.path().join(run).join("last.safetensors")).unwrap();
    assert!(read("first") == read("second"));
}

#[test]
fn a_resumed_run_ends_like_an_unbroken_one() {
    let folder = pictures(8);
    stdout(&mut train(folder.path(), ["--out", "whole", "--augment", "light"]));
    stdout(train(folder.path(), ["--out", "broken", "--augment", "light"]).args(["--epochs", "1"]));
    stdout(ocellus(folder.path()).args(["train", "--resume", "broken", "--epochs", "3"]));
    let read = |run: &str| fs::read(folder.path().join(run).join("last.safetensors")).unwrap();
    assert!(read("whole") == read("broken"));
    let rows = fs::read_to_string(folder.path().join("broken/metrics.csv")).unwrap();
    assert_eq!(rows.lines().count(), 4);
}

#[test]
fn pictures_are_changed_mixed_and_looked_at_from_several_sides() {
    let folder = pictures(8);
    let sheet = folder.path().join("sheet.png");
    let drawn = stdout(
        ocellus(folder.path())
            .args(["augment", "photos", "--augment", "strong", "--cutmix", "1"])
            .args(["--preview", sheet.to_str().unwrap()]),
    );
    assert!(drawn.contains("sheet.png"));
    let changed = image::open(&sheet).unwrap().into_rgb8();
    stdout(ocellus(folder.path()).args(["augment", "photos", "--augment", "none"]));
    let plain = image::open(folder.path().join("augment.png")).unwrap().into_rgb8();
    assert_eq!(plain.dimensions(), changed.dimensions());
    let column = |sheet: &RgbImage, i: u32| {
        let width = (sheet.width() - 6) / 8;
        image::imageops::crop_imm(sheet, 6 + i * width, 6, width - 6, 60).to_image()
    };
    assert!((1..8).all(|i| column(&plain, i) == column(&plain, 0)), "without changes all are alike");
    assert_eq!(column(&changed, 0), column(&plain, 0));
    assert!((1..8).all(|i| column(&changed, i) != column(&changed, 0)));

    stdout(
        train(folder.path(), ["--augment", "strong", "--mixup", "0.2", "--cutmix", "1", "--out", "mixed"]).arg("-q"),
    );
    let config = fs::read_to_string(folder.path().join("mixed/config.toml")).unwrap();
    assert!(config.contains("mixup = 0.2") && config.contains("cutmix = 1.0"), "{config}");
    let evaluate = |more: &[&str]| {
        let text = stdout(ocellus(folder.path()).args(["evaluate", "mixed", "photos", "--json"]).args(more));
        json_lines(&text)[0]["loss"].as_f64().unwrap()
    };
    assert_ne!(evaluate(&[]), evaluate(&["--tta"]));
    let predict = |more: &[&str]| {
        let text = stdout(ocellus(folder.path()).args(["predict", "mixed", "photos/red", "--json"]).args(more));
        json_lines(&text).iter().map(|line| line["score"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_ne!(predict(&[]), predict(&["--tta"]));
    demand_error(&mut train(folder.path(), ["--mixup=-1", "--out", "none"]), &["mixup must be from 0"]);
}

#[test]
fn parts_learn_at_other_rates_and_weights_are_averaged() {
    let folder = pictures(12);
    let weights =
        |run: &str, file: &str| ocellus::interop::safetensors::load(folder.path().join(run).join(file)).unwrap();
    let fixed = ["--lr", "0.01", "--out"];
    stdout(train(folder.path(), fixed).arg("plain"));
    stdout(train(folder.path(), fixed).args(["still", "--lr-scale", "*=0", "--lr-scale", "dense.bias=1"]));
    let initial = {
        stdout(train(folder.path(), fixed).args(["initial", "--lr-scale", "*=0"]));
        weights("initial", "last.safetensors")
    };
    let (plain, still) = (weights("plain", "last.safetensors"), weights("still", "last.safetensors"));
    for (name, tensor) in &still {
        assert_eq!(tensor == &initial[name], name != "dense.bias", "{name}");
        assert_ne!(tensor, &plain[name], "{name}");
    }
    let config = fs::read_to_string(folder.path().join("still/config.toml")).unwrap();
    assert!(config.contains(r#"lr_scale = ["*=0", "dense.bias=1"]"#), "{config}");

    stdout(train(folder.path(), fixed).args(["averaged", "--ema", "0.99"]));
    let averaged = weights("averaged", "last.safetensors");
    let checkpoint = ocellus::interop::safetensors::load(folder.path().join("averaged/checkpoint/state.safetensors"));
    let trained = &checkpoint.unwrap()["parameters"];
    let bias = plain["dense.bias"].f32();
    assert!(trained.f32().windows(2).any(|pair| pair == bias), "an average does not change what is trained");
    assert_ne!(averaged["dense.bias"], plain["dense.bias"]);
    demand_error(train(folder.path(), fixed).args(["none", "--ema", "1"]), &["--ema is 1, but must be"]);
    demand_error(train(folder.path(), fixed).args(["none", "--lr-scale", "lstm=2"]), &["matches no layer"]);
    assert!(!folder.path().join("none").exists());
}

#[test]
fn a_run_ends_when_its_time_is_up_and_takes_more() {
    let folder = pictures(12);
    let epochs = |run: &str| {
        let table = fs::read_to_string(folder.path().join(run).join("metrics.csv")).unwrap();
        table.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse::<u64>().unwrap()).collect::<Vec<_>>()
    };
    let rates = |run: &str| {
        let table = fs::read_to_string(folder.path().join(run).join("metrics.csv")).unwrap();
        table.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().parse::<f64>().unwrap()).collect::<Vec<_>>()
    };
    let short =
        ["--epochs", "100000", "--max-time", "300ms", "--schedule", "cosine", "--lr", "0.001", "--out", "short"];
    let output = train(folder.path(), short).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("the time is up"), "{text}");
    assert!(folder.path().join("short/report.html").is_file());
    let steps = epochs("short");
    assert!((1..100_000).contains(&steps.len()), "{steps:?}");
    // By the steps alone, hardly any of 100,000 epochs has gone by.
    assert!(*rates("short").last().unwrap() < 0.00099, "{:?}", rates("short"));
    // The last epoch may have been cut short; the next begins anew.
    let last = *steps.last().unwrap();
    stdout(ocellus(folder.path()).args(["train", "--resume", "short", "--max-time", "1h", "--epochs"]).args([
        (steps.len() + 2).to_string(),
        "--device".into(),
        "cpu".into(),
    ]));
    let whole = epochs("short");
    assert_eq!(whole.len(), steps.len() + 2);
    assert_eq!(whole[steps.len()..], [last + 6, last + 12], "of 22 images in fours");
    stdout(&mut train(folder.path(), ["--max-time", "0s", "--out", "least"]));
    assert_eq!(epochs("least"), [1]);
}

#[test]
fn a_run_that_diverges_is_explained_and_goes_on() {
    for device in ["cpu", "gpu"] {
        let folder = pictures(12);
        let options = ["--optimizer", "sgd", "--lr", "1e25", "--device", device, "--out", "run"];
        let parts = ["diverged in epoch 1, at step 2", "in \"dense\"", "matmul", "weights of step 0 are kept"];
        demand_error(&mut train(folder.path(), options), &parts);
        let evaluate = ["evaluate", "run", "photos", "--json", "--device", device];
        let before = json_lines(&stdout(ocellus(folder.path()).args(evaluate)));
        assert!(before[0]["loss"].as_f64().unwrap().is_finite());
        stdout(ocellus(folder.path()).args(["train", "--resume", "run", "--lr", "0.05", "--device", device]));
        let after = json_lines(&stdout(ocellus(folder.path()).args(evaluate)));
        assert_eq!(after[0]["metrics"]["accuracy"], 1.0);
    }
}

/// The update that spoils the weights may be the last before they are saved: within an epoch, or at its end.
#[test]
fn spoilt_weights_are_not_what_a_diverged_run_keeps() {
    let often = ["--batch-size", "4", "--checkpoint-every", "1ms"].as_slice();
    let one_step_an_epoch = ["--batch-size", "64"].as_slice();
    for (more, rate, epoch) in [(often, "1e25", 1), (one_step_an_epoch, "1e25", 2), (one_step_an_epoch, "3e38", 2)] {
        let folder = pictures(12);
        small_model(folder.path());
        let mut diverging = ocellus(folder.path());
        diverging.args(["train", "photos", "--model", "small.toml", "--device", "cpu", "--out", "run"]);
        diverging.args(["--optimizer", "sgd", "--lr", rate, "--epochs", "40"]).args(more);
        demand_error(&mut diverging, &[&format!("epoch {epoch}, at step 2"), "weights of step 0 are kept"]);
        let evaluate = ["evaluate", "run", "photos", "--json", "--device", "cpu"];
        let before = json_lines(&stdout(ocellus(folder.path()).args(evaluate)));
        assert!(before[0]["loss"].as_f64().unwrap() < 10.0, "{:?}", before[0]["loss"]);
        stdout(ocellus(folder.path()).args(["train", "--resume", "run", "--lr", "0.05", "--device", "cpu"]));
        let after = json_lines(&stdout(ocellus(folder.path()).args(evaluate)));
        assert_eq!(after[0]["metrics"]["accuracy"], 1.0);
        demand_error(ocellus(folder.path()).args(["train", "--resume", "run", "--lr", "0"]), &["--lr is 0"]);
    }
}

#[test]
fn unreadable_pictures_are_reported_counted_and_skipped() {
    let folder = pictures(8);
    fs::write(folder.path().join("photos/red/empty.png"), b"").unwrap();
    let whole = fs::read(folder.path().join("photos/red/00.png")).unwrap();
    fs::write(folder.path().join("photos/red/cut.png"), &whole[..whole.len() / 2]).unwrap();
    fs::write(folder.path().join("photos/red/text.jpg"), b"<html>not found</html>").unwrap();
    let output = train(folder.path(), ["--out", "run"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for name in ["empty.png", "cut.png", "text.jpg", "3 images could not be read"] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    let mut predict = ocellus(folder.path());
    let output = predict.args(["predict", "run", "photos/red", "--json", "--device", "cpu"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let answers = json_lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(answers.len(), 11);
    assert_eq!(answers.iter().filter(|a| a["error"].is_string()).count(), 3);
}

#[test]
fn bad_data_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    small_model(folder.path());
    let train = |data: &str| {
        let mut command = ocellus(folder.path());
        command.args(["train", data, "--model", "small.toml", "--device", "cpu", "--out", "run"]);
        command
    };
    demand_error(&mut train("nowhere"), &["nowhere"]);
    fs::create_dir_all(folder.path().join("empty")).unwrap();
    demand_error(&mut train("empty"), &["empty"]);
    let one = pictures(3);
    fs::remove_dir_all(one.path().join("photos/red")).unwrap();
    demand_error(&mut train(&one.path().join("photos").display().to_string()), &["blue"]);
    fs::write(folder.path().join("labels.csv"), "path,label\na.png,x\nb.png,\n").unwrap();
    demand_error(&mut train("labels.csv"), &["labels.csv", "3"]);
    let broken = pictures(2);
    for class in ["red", "blue"] {
        for i in 0..2 {
            fs::write(broken.path().join(format!("photos/{class}/{i:02}.png")), b"").unwrap();
        }
    }
    demand_error(&mut train(&broken.path().join("photos").display().to_string()), &["the file is empty"]);
    assert!(!folder.path().join("run").exists(), "an error left a run folder behind");
}

#[test]
fn bad_models_are_one_clear_error() {
    let folder = pictures(4);
    let with = |text: &str, parts: &[&str]| {
        fs::write(folder.path().join("bad.toml"), text).unwrap();
        let mut command = ocellus(folder.path());
        command.args(["train", "photos", "--model", "bad.toml", "--device", "cpu", "--out", "run"]);
        demand_error(&mut command, parts);
        assert!(!folder.path().join("run").exists());
    };
    with(&SMALL.replace("\"conv2d\"", "\"conv9d\""), &["conv9d"]);
    with(&SMALL.replace("filters = 4", "filters = 4\nfliters = 4"), &["fliters"]);
    with(&SMALL.replace("units = 2", "units = 3"), &["3", "2 classes"]);
    with(&SMALL.replace("size = 2", "size = 20"), &["max_pool2d", "20"]);
    with(&SMALL.replace("kernel = 3", "kernel = 31"), &["conv2d", "31"]);
    let unknown = ["train", "photos", "--model", "resnet9000", "--device", "cpu", "--out", "run"];
    demand_error(ocellus(folder.path()).args(unknown), &["resnet9000"]);
}

#[test]
fn bad_weights_are_one_clear_error() {
    let folder = pictures(4);
    let init = fixture("keras/second_initial.safetensors").display().to_string();
    demand_error(
        &mut train(folder.path(), ["--init", &init, "--out", "run"]),
        &["second_initial.safetensors", "conv2d.weight"],
    );
    fs::write(folder.path().join("junk.safetensors"), b"junk").unwrap();
    demand_error(&mut train(folder.path(), ["--init", "junk.safetensors", "--out", "run"]), &["junk.safetensors"]);
    assert!(!folder.path().join("run").exists());
}

#[test]
fn an_output_folder_that_exists_is_not_touched() {
    let folder = pictures(4);
    fs::create_dir(folder.path().join("run")).unwrap();
    fs::write(folder.path().join("run/precious"), b"mine").unwrap();
    demand_error(&mut train(folder.path(), ["--out", "run"]), &["run", "exists"]);
    assert_eq!(fs::read(folder.path().join("run/precious")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(folder.path().join("run")).unwrap().count(), 1);
}

#[test]
fn a_missing_device_is_an_error_that_lists_those_there_are() {
    let folder = pictures(4);
    demand_error(&mut train(folder.path(), ["--device", "teapot", "--out", "run"]), &["teapot", "cpu"]);
    let mut command = ocellus(folder.path());
    command.env("VK_ICD_FILENAMES", "/nonexistent.json").env("VK_DRIVER_FILES", "/nonexistent.json");
    command.env("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent.json").env("LIBGL_DRIVERS_PATH", "/nonexistent");
    small_model(folder.path());
    let args = ["train", "photos", "--model", "small.toml", "--device", "gpu", "--out", "run"];
    demand_error(command.args(args), &["no GPU adapter", "--device cpu"]);
}

#[test]
fn wrong_usage_exits_2() {
    let folder = tempfile::tempdir().unwrap();
    ocellus(folder.path()).args(["train", "--no-such-option"]).assert().code(2);
    ocellus(folder.path()).args(["frobnicate"]).assert().code(2);
    ocellus(folder.path()).args(["predict", "run"]).assert().code(2);
}

#[test]
fn settings_out_of_range_are_refused() {
    let folder = pictures(4);
    demand_error(&mut train(folder.path(), ["--lr", "0", "--out", "run"]), &["--lr"]);
    demand_error(&mut train(folder.path(), ["--label-smoothing", "1.5", "--out", "run"]), &["--label-smoothing"]);
    demand_error(&mut train(folder.path(), ["--val", "1.5", "--out", "run"]), &["1.5"]);
    demand_error(&mut train(folder.path(), ["--image-size", "0x3", "--out", "run"]), &["--image-size"]);
    demand_error(&mut train(folder.path(), ["--optimizer", "magic", "--out", "run"]), &["magic", "adamw"]);
    demand_error(&mut train(folder.path(), ["--schedule", "magic", "--out", "run"]), &["magic", "cosine"]);
}

#[test]
fn devices_lists_adapters_and_checks_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let listed: Value = serde_json::from_str(&stdout(ocellus(folder.path()).args(["devices", "--json"]))).unwrap();
    assert!(!listed["adapters"].as_array().unwrap().is_empty());
    assert!(listed["adapters"][0]["max_binding_bytes"].as_u64().unwrap() > 0);
    let table = stdout(ocellus(folder.path()).args(["devices", "--check", "cpu"]));
    assert!(table.contains("conv2d") && table.contains("passed"), "{table}");
}

#[test]
fn summaries_of_networks() {
    let folder = tempfile::tempdir().unwrap();
    let text = stdout(ocellus(folder.path()).args(["summary", "keras-first"]));
    assert!(text.contains("3,937,409") || text.contains("3937409"), "{text}");
    small_model(folder.path());
    let text = stdout(ocellus(folder.path()).args(["summary", "small.toml"]));
    assert!(text.contains("max_pool2d"), "{text}");
}

#[test]
fn a_learning_rate_is_suggested_and_drawn() {
    let folder = pictures(12);
    small_model(folder.path());
    let find = |more: &[&str]| {
        let mut command = ocellus(folder.path());
        command.args(["find-lr", "photos", "--model", "small.toml", "--device", "cpu", "--steps", "40"]).args(more);
        command
    };
    let found: Value = serde_json::from_str(&stdout(&mut find(&["--json"]))).unwrap();
    let tried = found["tried"].as_array().unwrap();
    let (first, suggestion) = (tried[0]["lr"].as_f64().unwrap(), found["suggestion"].as_f64().unwrap());
    assert!((first / 1e-6 - 1.0).abs() < 1e-9 && (1e-6..10.0).contains(&suggestion), "{first} {suggestion}");
    assert!(fs::read_to_string(folder.path().join("lr.svg")).unwrap().contains("suggestion"));
    assert!(!folder.path().join("runs").exists());
    demand_error(&mut find(&["--from", "1", "--to", "0.1"]), &["from 1 to 0.1"]);
    demand_error(&mut find(&["--output", "no/where.svg"]), &["no/where.svg"]);
}

#[test]
fn probabilities_are_calibrated_and_doubtful_answers_withheld() {
    let folder = pictures(12);
    stdout(train(folder.path(), ["--out", "run", "--val", "0.25", "--calibrate"]).arg("--json"));
    let calibration = fs::read_to_string(folder.path().join("run/calibration.toml")).unwrap();
    assert!(calibration.contains("images = 6"), "{calibration}");
    let score = |more: &[&str]| {
        let mut command = ocellus(folder.path());
        command.args(["predict", "run", "photos/red/00.png", "--json", "--device", "cpu"]).args(more);
        json_lines(&stdout(&mut command)).remove(0)
    };
    let calibrated = score(&["--reject-below", "1"]);
    assert!(calibrated["label"].is_null() && calibrated["top"][0]["label"].is_string(), "{calibrated}");
    assert!(score(&["--reject-below", "0"])["label"].is_string());
    fs::write(folder.path().join("run/calibration.toml"), "temperature = 20.0\nimages = 6\n").unwrap();
    let cooled = score(&[]);
    assert!(cooled["score"].as_f64().unwrap() < calibrated["score"].as_f64().unwrap(), "{cooled} {calibrated}");
    demand_error(
        &mut train(folder.path(), ["--out", "other", "--val", "0", "--calibrate"]),
        &["--calibrate", "--val 0"],
    );
}

#[test]
fn a_data_set_is_checked_and_described() {
    let folder = pictures(12);
    let check = |more: &[&str]| {
        let mut command = ocellus(folder.path());
        command.args(["check", "photos"]).args(more);
        command
    };
    assert!(stdout(&mut check(&[])).contains("24 images, 2 classes"));
    let text = stdout(ocellus(folder.path()).args(["summary", "photos"]));
    assert!(text.contains("width    20 to 22 pixels") && text.contains("24 images in colour"), "{text}");

    fs::copy(folder.path().join("photos/red/03.png"), folder.path().join("photos/blue/wrong.png")).unwrap();
    fs::write(folder.path().join("photos/red/broken.png"), "no picture").unwrap();
    demand_error(&mut check(&[]), &["photos", "2 serious findings"]);
    let output = check(&["--json"]).output().unwrap();
    let audit: Value = serde_json::from_slice(&output.stdout).unwrap();
    let titles: Vec<&str> =
        audit["findings"].as_array().unwrap().iter().map(|f| f["title"].as_str().unwrap()).collect();
    assert!(titles.contains(&"1 image cannot be read") && titles.contains(&"1 image stands in more than one class"));
    let output = train(folder.path(), ["--out", "run"]).output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(
        notes.contains("1 image stands in more than one class") && notes.contains("ocellus check photos"),
        "{notes}"
    );
    let report = fs::read_to_string(folder.path().join("run/report.html")).unwrap();
    assert!(report.contains("stands in more than one class") && report.contains("wrong.png"));
}

#[test]
fn a_search_finds_settings_and_is_taken_up() {
    let folder = pictures(12);
    small_model(folder.path());
    fs::write(
        folder.path().join("space.toml"),
        "lr = { from = 1e-4, to = 0.1 }\nbatch-size = [4, 8]\nnesterov = [true]\n",
    )
    .unwrap();
    let tune = |arguments: &[&str]| {
        let mut command = ocellus(folder.path());
        command.args(["tune"]).args(arguments);
        command
    };
    let search =
        ["photos", "--model", "small.toml", "--device", "cpu", "--epochs", "3", "--trials", "4", "--seed", "1"];
    let options = ["--space", "space.toml", "--optimizer", "sgd", "--val", "0.25", "--json"];
    let lines = json_lines(&stdout(tune(&search).args(options).args(["--out", "whole"])));
    let trials = |name: &str| fs::read_to_string(folder.path().join(name).join("trials.csv")).unwrap();
    assert_eq!(trials("whole").lines().count(), 5);
    assert!(lines.len() > 5 && lines[0]["options"]["nesterov"] == "true", "{lines:?}");
    assert_eq!(lines.last().unwrap()["event"], "done");
    assert!(fs::read_to_string(folder.path().join("whole/trials.svg")).unwrap().contains("batch-size"));
    stdout(ocellus(folder.path()).args(["predict", "whole/best", "photos/red/00.png", "--device", "cpu"]));

    // No time at all: nothing is begun. Taken up, it ends as the other.
    demand_error(tune(&search).args(options).args(["--out", "part", "--max-time", "0s"]), &["no trial"]);
    let path = folder.path().join("part/tune.txt");
    let text = fs::read_to_string(&path).unwrap().replace("--max-time\n0s\n", "");
    fs::write(&path, text).unwrap();
    stdout(&mut tune(&["--resume", "part"]));
    assert_eq!(trials("part"), trials("whole"));
    demand_error(&mut tune(&["photos", "--val", "0"]), &["validation"]);
    demand_error(tune(&["photos", "--space", "space.toml"]).args(["--method", "grid"]), &["grid", "lr"]);
}

#[test]
fn networks_of_the_zoo_have_a_width_to_set() {
    let folder = pictures(6);
    let at = folder.path();
    let summary = |arguments: &[&str]| {
        let mut command = ocellus(at);
        command.args(["summary", "--device", "cpu"]).args(arguments);
        command
    };
    let lines = json_lines(&stdout(&mut summary(&["mobilenet_v2", "--classes", "1000", "--width", "0.5", "--json"])));
    assert_eq!(lines[0]["trained"], 1_968_680);
    assert!(stdout(&mut summary(&["unet", "--image-size", "32", "--width", "0.25"])).contains("MiB to train"));

    let short = ["--image-size", "16", "--epochs", "1", "--batch-size", "4", "--device", "cpu"];
    let usual = ["train", "photos", "--model", "resnet20"];
    stdout(ocellus(at).args(usual).args(short).args(["--width", "0.5", "--out", "narrow"]));
    let config = fs::read_to_string(at.join("narrow/config.toml")).unwrap();
    assert!(config.contains("width = 0.5"), "{config}");
    let narrow = fs::read_to_string(at.join("narrow/model.toml")).unwrap();
    assert!(narrow.contains("filters = 8"), "{narrow}");
    stdout(ocellus(at).args(["train", "--config", "narrow/config.toml", "--out", "again"]));
    assert_eq!(fs::read_to_string(at.join("again/model.toml")).unwrap(), narrow);

    fs::write(at.join("space.toml"), "width = [0.25, 0.5]\n").unwrap();
    let search =
        ["tune", "photos", "--model", "vgg-small", "--space", "space.toml", "--method", "grid", "--val", "0.25"];
    let lines = json_lines(&stdout(ocellus(at).args(search).args(short).args(["--json", "--out", "search"])));
    assert_eq!((&lines[0]["options"]["width"], &lines[1]["options"]["width"]), (&"0.25".into(), &"0.5".into()));

    demand_error(&mut summary(&["lenet", "--width", "2"]), &["lenet is of one width", "mobilenet_v2"]);
    demand_error(&mut summary(&["narrow", "--width", "2"]), &["--width is for networks of the zoo"]);
    demand_error(&mut train(at, ["--width", "2"]), &["--width is for networks of the zoo"]);
    demand_error(ocellus(at).args(usual).args(["--width", "0"]), &["above 0"]);
}

#[test]
fn completions_for_shells() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(ocellus(folder.path()).args(["completions", shell])).contains("ocellus"));
    }
}

#[test]
fn predictions_read_paths_from_stdin() {
    let folder = pictures(6);
    stdout(&mut train(folder.path(), ["--out", "run"]));
    let mut command = ocellus(folder.path());
    command
        .args(["predict", "run", "-", "--json", "--device", "cpu"])
        .write_stdin("photos/red/00.png\nphotos/blue/01.png\n");
    let answers = json_lines(&stdout(&mut command));
    assert_eq!(
        answers.iter().map(|a| a["path"].as_str().unwrap()).collect::<Vec<_>>(),
        ["photos/red/00.png", "photos/blue/01.png"]
    );
}

#[cfg(unix)]
#[test]
fn a_non_utf8_file_name_works() {
    use std::os::unix::ffi::OsStrExt;
    let folder = pictures(6);
    let name: PathBuf = std::ffi::OsStr::from_bytes(b"caf\xe9.png").into();
    fs::copy(folder.path().join("photos/red/00.png"), folder.path().join("photos/red").join(name)).unwrap();
    stdout(&mut train(folder.path(), ["--out", "run"]));
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_exits_130() {
    let folder = pictures(12);
    small_model(folder.path());
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("ocellus"))
        .current_dir(folder.path())
        .env("OCELLUS_CACHE_DIR", folder.path().join(".cache"))
        .args(["train", "photos", "--model", "small.toml", "--device", "cpu", "--epochs", "1000000", "--out", "run"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let checkpoint = folder.path().join("run/checkpoint/state.safetensors");
    let start = std::time::Instant::now();
    while !checkpoint.exists() {
        assert!(start.elapsed().as_secs() < 60, "no checkpoint after a minute");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(folder.path().join("run/last.safetensors").is_file());
    assert!(checkpoint.is_file());
}

#[cfg(unix)]
#[test]
fn a_second_ctrl_c_does_not_wait_for_the_step() {
    let folder = pictures(12);
    // A step of seconds.
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("ocellus"))
        .current_dir(folder.path())
        .env("OCELLUS_CACHE_DIR", folder.path().join(".cache"))
        .args(["train", "photos", "--model", "resnet18", "--image-size", "288", "--val", "0", "--batch-size", "24"])
        .args(["--epochs", "1000", "--device", "cpu", "--out", "run"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    while !folder.path().join("run/train_batch.png").exists() {
        assert!(start.elapsed().as_secs() < 60, "no training after a minute");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    for _ in 0..2 {
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!folder.path().join("run/last.safetensors").exists(), "the step was ended and saved");
    assert!(folder.path().join("run/checkpoint/state.safetensors").is_file());
}

/// A training that does not end by itself, once it has a checkpoint.
#[cfg(unix)]
fn endless(folder: &Path) -> std::process::Child {
    small_model(folder);
    let child = std::process::Command::new(assert_cmd::cargo::cargo_bin("ocellus"))
        .current_dir(folder)
        .env("OCELLUS_CACHE_DIR", folder.join(".cache"))
        .args(["train", "photos", "--model", "small.toml", "--device", "cpu", "--epochs", "1000000", "--out", "run"])
        .args(["--cache", "none"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    while !fs::read_to_string(folder.join("run/metrics.csv")).is_ok_and(|table| table.lines().count() > 1) {
        assert!(start.elapsed().as_secs() < 60, "no epoch after a minute");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child
}

#[cfg(unix)]
#[test]
fn a_run_belongs_to_one_process() {
    let folder = pictures(12);
    let child = endless(folder.path());
    demand_error(ocellus(folder.path()).args(["train", "--resume", "run"]), &["run", "another process"]);
    for _ in 0..2 {
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    }
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    stdout(ocellus(folder.path()).args(["train", "--resume", "run", "--epochs", "1"]));
}

#[cfg(unix)]
#[test]
fn a_picture_that_vanishes_costs_nothing_but_time() {
    let folder = pictures(12);
    let child = endless(folder.path());
    let (picture, elsewhere) = (folder.path().join("photos/red/05.png"), folder.path().join("05.png"));
    fs::rename(&picture, &elsewhere).unwrap();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && message.contains("05.png"), "{message}");
    fs::rename(&elsewhere, &picture).unwrap();
    stdout(ocellus(folder.path()).args(["train", "--resume", "run", "--epochs", "1"]));
}

#[test]
fn a_plan_is_shown_with_its_costs() {
    let folder = tempfile::tempdir().unwrap();
    small_model(folder.path());
    for device in ["cpu", "gpu"] {
        let mut command = ocellus(folder.path());
        let text = stdout(command.args(["summary", "small.toml", "--plan", "--json", "--device", device]));
        let plan = &json_lines(&text)[0];
        let number = |key: &str| plan[key].as_u64().unwrap();
        assert_eq!(plan.get("dispatches").is_some(), device == "gpu");
        // The CPU merges more than pointwise ops, which is what the least is counted with.
        assert!(device == "cpu" || number("bytes_moved") >= number("bytes_least"));
        assert!(number("peak_device_bytes") >= number("live_bytes"));
        let steps: u64 = plan["steps"].as_array().unwrap().iter().map(|s| s["bytes"].as_u64().unwrap()).sum();
        assert!(steps > 0 && steps < number("bytes_moved"), "the update moves bytes too");
    }
}

#[test]
fn memory_is_announced_and_a_limit_is_kept() {
    let folder = pictures(6);
    let announced = |more: &[&str]| {
        let mut command =
            train(folder.path(), ["--val", "0", "--max-steps", "2"].into_iter().chain(more.iter().copied()));
        let said = String::from_utf8(command.assert().success().get_output().stderr.clone()).unwrap();
        let line = said.lines().find(|l| l.starts_with("memory")).unwrap_or_else(|| panic!("{said}")).to_owned();
        let mib = line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap();
        (mib, said)
    };
    let (whole, _) = announced(&["--out", "whole", "--batch-size", "12"]);
    let limit = format!("{}k", (whole * 1024.0 * 0.7) as u64);
    let (parts, said) = announced(&["--out", "parts", "--batch-size", "12", "--memory-limit", &limit]);
    assert!(parts < whole && said.contains("batch 12 in parts of 6"), "{said}");
    let (_, said) = announced(&["--out", "sum", "--accumulate", "3", "--batch-size", "4"]);
    assert!(said.contains("batch 12 in parts of 4"), "{said}");
    let (less, _) = announced(&["--out", "again", "--batch-size", "12", "--remat"]);
    assert!(less <= whole);
    // No part of a step fits: nothing is begun.
    demand_error(&mut train(folder.path(), ["--memory-limit", "1k", "--out", "none"]), &["batches of 1 need", "limit"]);
    assert!(!folder.path().join("none").exists());
    train(folder.path(), ["--memory-limit", "much"]).assert().code(2);
}

#[test]
fn the_largest_batch_that_fits_is_found() {
    let folder = pictures(24);
    let batch = |limit: &str, name: &str| {
        let options = ["--val", "0", "--batch-size", "auto", "--memory-limit", limit, "--out", name];
        stdout(&mut train(folder.path(), options));
        let config = fs::read_to_string(folder.path().join(name).join("config.toml")).unwrap();
        let line = config.lines().find(|line| line.starts_with("batch_size")).unwrap().to_owned();
        line.trim_start_matches("batch_size = ").parse::<usize>().unwrap()
    };
    // 48 images: a tenth of them, as a power of two.
    assert_eq!(batch("1G", "large"), 4);
    assert!(batch("50k", "small") < 4);
    let options = ["--batch-size", "auto", "--memory-limit", "1k", "--out", "none"];
    demand_error(&mut train(folder.path(), options), &["a step of 1 needs", "use a smaller network"]);
    assert!(!folder.path().join("none").exists());
}

#[test]
fn a_run_on_a_gpu_keeps_its_kernels() {
    let folder = pictures(6);
    let small = ["--device", "gpu", "--epochs", "1", "--out", "first", "--val", "0"];
    train(folder.path(), small).assert().success();
    let kernels = fs::read_to_string(folder.path().join("first/kernels.toml")).unwrap();
    assert!(kernels.contains("[kernels.conv2d-") && kernels.contains("certified"));
    let mut again = ocellus(folder.path());
    again.args(["train", "--config", "first/config.toml", "--out", "second"]).env("OCELLUS_CACHE_DIR", "other-cache");
    again.assert().success();
    let weights = |run: &str| fs::read(folder.path().join(run).join("last.safetensors")).unwrap();
    assert!(weights("first") == weights("second"));
}
