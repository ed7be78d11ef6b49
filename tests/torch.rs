//! Networks of PyTorch's answer here as there.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::RgbImage;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
}

fn ocellus(folder: &Path, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::cargo_bin("ocellus").unwrap();
    let output =
        command.current_dir(folder).env("OCELLUS_CACHE_DIR", folder.join("cache")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

fn import(folder: &Path, name: &str, more: &[&str]) -> (bool, String, String) {
    let (model, weights) = (fixture(&format!("{name}.toml")), fixture(&format!("{name}.pth")));
    let fixed = ["import", model.to_str().unwrap(), "--weights", weights.to_str().unwrap(), "--normalize", "unit"];
    ocellus(folder, &[&fixed, more].concat())
}

#[test]
fn a_convolutional_network_answers_as_in_pytorch() {
    answers_as_recorded("network");
}

#[test]
fn a_vision_transformer_answers_as_in_pytorch() {
    answers_as_recorded("vit");
}

#[test]
fn recurrent_layers_answer_as_in_pytorch() {
    answers_as_recorded("recurrent");
}

fn answers_as_recorded(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (done, _, error) = import(folder.path(), name, &["--classes", "5", "--out", "run"]);
    assert!(done, "{error}");
    let recorded = fs::read_to_string(fixture(&format!("{name}.json"))).unwrap();
    let recorded: Value = serde_json::from_str(&recorded).unwrap();
    let rows = |key: &str| recorded[key].as_array().unwrap().clone();
    let numbers = |row: &Value| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>();
    let mut pictures = Vec::new();
    for (i, pixels) in rows("pixels").iter().enumerate() {
        let bytes = numbers(pixels).iter().map(|&v| v as u8).collect();
        let name = format!("{i}.png");
        RgbImage::from_raw(8, 8, bytes).unwrap().save(folder.path().join(&name)).unwrap();
        pictures.push(name);
    }
    for device in ["cpu", "gpu"] {
        let mut args = vec!["predict", "run", "--json", "--top", "5", "--device", device];
        args.extend(pictures.iter().map(String::as_str));
        let (done, answers, error) = ocellus(folder.path(), &args);
        assert!(done, "{error}");
        for (answer, expected) in answers.lines().zip(rows("probabilities")) {
            let answer: Value = serde_json::from_str(answer).unwrap();
            let expected = numbers(&expected);
            for scored in answer["top"].as_array().unwrap() {
                let class: usize = scored["label"].as_str().unwrap().parse().unwrap();
                let score = scored["score"].as_f64().unwrap();
                assert!((score - expected[class]).abs() < 1e-5, "{device}: {score} instead of {}", expected[class]);
            }
        }
        assert_eq!(answers.lines().count(), 3);
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (done, _, error) = import(folder.path(), "network", &["--classes", "4", "--out", "run"]);
    assert!(!done && error.contains("gives 5 values") && error.contains("4 classes"), "{error}");
    let (done, _, error) =
        import(folder.path(), "network", &["--classes", "5", "--normalize", "dataset", "--out", "run"]);
    assert!(!done && error.contains("needs a data set"), "{error}");
    let weights = fixture("network.pth");
    let args = ["import", "resnet18", "--weights", weights.to_str().unwrap(), "--out", "run"];
    let (done, _, error) = ocellus(folder.path(), &args);
    assert!(!done && error.contains("missing: \"conv1.weight\""), "{error}");
    assert!(!folder.path().join("run").exists());
}

#[test]
fn training_goes_on_from_pytorchs_weights_with_a_new_head() {
    let folder = tempfile::tempdir().unwrap();
    for (class, value) in [("dark", 40_u8), ("light", 200)] {
        fs::create_dir_all(folder.path().join("photos").join(class)).unwrap();
        for i in 0..8 {
            let picture = RgbImage::from_pixel(8, 8, image::Rgb([value + i, value, value]));
            picture.save(folder.path().join(format!("photos/{class}/{i}.png"))).unwrap();
        }
    }
    let model = fs::read_to_string(fixture("network.toml")).unwrap().replace("units = 5", "units = 2");
    fs::write(folder.path().join("network.toml"), model).unwrap();
    let weights = fixture("network.pth");
    let args = ["train", "photos", "--model", "network.toml", "--init", weights.to_str().unwrap(), "--device", "cpu"];
    let more = ["--epochs", "1", "--freeze", "stem", "--freeze", "norm", "--out", "run"];
    let (done, _, error) = ocellus(folder.path(), &[&args[..], &more].concat());
    assert!(done && error.contains("\"head\" is for other classes there"), "{error}");
    let trained = ocellus::interop::safetensors::load(folder.path().join("run/last.safetensors")).unwrap();
    let given = ocellus::interop::torch::load(&weights).unwrap();
    assert_eq!(trained["norm.weight"].f32(), given["norm.weight"].f32());
    assert_ne!(trained["hidden.bias"].f32(), given["hidden.bias"].f32());
    assert_eq!(trained["stem.weight"].shape().dims(), [3, 3, 3, 8]);
}
