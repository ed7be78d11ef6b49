//! Networks of PyTorch's answer here as there.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::RgbImage;
use ocellus::device::Device;
use ocellus::graph::{Ending, Graph, Layout};
use ocellus::ops;
use ocellus::tensor::{Meta, Tensor};
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

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn integers(value: &Value) -> Vec<i32> {
    value.as_array().unwrap().iter().map(|v| v.as_i64().unwrap() as i32).collect()
}

/// Losses, and the gradient of their weighted sum with respect to the logits.
fn ctc(device: &Device, case: &Value) -> Vec<Vec<f32>> {
    let mut graph = Graph::new();
    let shape: Vec<usize> = integers(&case["shape"]).iter().map(|&extent| extent as usize).collect();
    let rows: Vec<Vec<i32>> = case["labels"].as_array().unwrap().iter().map(integers).collect();
    let logits = graph.input("logits", Meta::f32(&shape[..]));
    let labels = graph.constant(Tensor::new([rows.len(), rows[0].len()], rows.concat()).unwrap());
    let lengths = graph.constant(Tensor::new([rows.len()], integers(&case["lengths"])).unwrap());
    let weights = graph.constant(Tensor::new([rows.len()], floats(&case["weights"])).unwrap());
    let blank = case["blank"].as_u64().unwrap() as usize;
    let losses = ops::ctc_loss(&mut graph, logits, labels, Some(lengths), blank).unwrap();
    let weighted = ops::mul(&mut graph, losses, weights).unwrap();
    let total = ops::sum(&mut graph, weighted, &[0], false).unwrap();
    let gradient = graph.differentiate(total, &[logits]).unwrap()[0];
    graph.output("losses", losses);
    graph.output("gradient", gradient);
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), 0).unwrap();
    let mut program = device.compile(&graph, &weights, Ending::Nothing).unwrap();
    let given = Tensor::new(&shape[..], floats(&case["logits"])).unwrap();
    let results = program.execute(&[("logits", given.bytes())]).unwrap();
    results.iter().map(|result| result.f32().to_vec()).collect()
}

#[test]
fn connectionist_temporal_classification_gives_pytorchs_losses_and_gradients() {
    let recorded = fs::read_to_string(fixture("ctc.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&recorded).unwrap();
    for (i, case) in cases.iter().enumerate() {
        for name in ["cpu", "gpu"] {
            let results = ctc(&Device::named(name).unwrap(), case);
            for (what, got) in ["losses", "gradient"].into_iter().zip(results) {
                let wanted = floats(&case[what]);
                assert_eq!(got.len(), wanted.len());
                let off = got.iter().zip(&wanted).map(|(g, w)| (g - w).abs() / w.abs().max(1.0)).fold(0.0, f32::max);
                assert!(off < 1e-5, "case {i} on {name}: {what} off by {off:e}: {got:?} instead of {wanted:?}");
            }
        }
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
    // Beside weights from elsewhere may stand settings of something else.
    fs::create_dir(folder.path().join("theirs")).unwrap();
    fs::write(folder.path().join("theirs/config.toml"), "hidden_size = 768\n").unwrap();
    fs::copy(&weights, folder.path().join("theirs/network.pth")).unwrap();
    let args = ["train", "photos", "--model", "network.toml", "--init", "theirs/network.pth", "--device", "cpu"];
    let more = ["--epochs", "1", "--freeze", "stem", "--freeze", "norm", "--out", "run"];
    let (done, _, error) = ocellus(folder.path(), &[&args[..], &more].concat());
    assert!(done && error.contains("\"head\" is for other classes there"), "{error}");
    let trained = ocellus::interop::safetensors::load(folder.path().join("run/last.safetensors")).unwrap();
    let given = ocellus::interop::torch::load(&weights).unwrap();
    assert_eq!(trained["norm.weight"].f32(), given["norm.weight"].f32());
    assert_ne!(trained["hidden.bias"].f32(), given["hidden.bias"].f32());
    assert_eq!(trained["stem.weight"].shape().dims(), [3, 3, 3, 8]);
    // As torchvision's networks were shown their pictures.
    let config = fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(config.contains("normalize = \"imagenet\""), "{config}");
}
