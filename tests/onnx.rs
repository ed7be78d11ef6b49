//! ONNX graphs give here what onnxruntime gives, and our networks there what they give here.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use assert_cmd::Command;
use base64::Engine;
use image::RgbImage;
use ocellus::data::Normalize;
use ocellus::device::{Device, Program};
use ocellus::graph::{Ending, Graph, Layout};
use ocellus::interop::onnx::{Element, Network, Session, Values, export};
use ocellus::nn::{Mode, Model, zoo};
use ocellus::seed::Seed;
use ocellus::tensor::{Array, Meta, Tensor};
use serde_json::Value;

const OPERATORS: &str = include_str!("fixtures/onnx/operators.json");
const CLASSIFIER: &[u8] = include_bytes!("fixtures/onnx/classifier.onnx");
const ANSWERS: &str = include_str!("fixtures/onnx/classifier.json");

/// Both backends. Without an adapter the tests fail: a software one is enough.
fn devices() -> [Device; 2] {
    let gpu = Device::named("gpu")
        .expect("a GPU adapter, if only a software one (Debian: apt-get install mesa-vulkan-drivers)");
    [Device::Cpu, gpu]
}

fn values(recorded: &Value) -> Values {
    let number = |v: &Value| v.as_f64().or(v.as_bool().map(|b| f64::from(u8::from(b)))).unwrap_or(f64::NAN);
    let list = |key: &str| recorded[key].as_array().unwrap();
    let shape: Vec<usize> = list("shape").iter().map(|d| d.as_u64().unwrap() as usize).collect();
    let kind = recorded["type"].as_str().unwrap();
    let element = (1..=16).filter_map(Element::from_code).find(|e| e.name() == kind).unwrap();
    Values { element, array: Array { shape: shape.into(), data: list("data").iter().map(number).collect() } }
}

#[test]
fn operators_give_what_onnxruntime_gives() {
    let cases: Vec<Value> = serde_json::from_str(OPERATORS).unwrap();
    for device in devices() {
        for case in &cases {
            let name = case["name"].as_str().unwrap();
            let bytes = base64::engine::general_purpose::STANDARD.decode(case["model"].as_str().unwrap()).unwrap();
            let network = Network::parse(&bytes, None).unwrap_or_else(|e| panic!("{name}: {e}"));
            let given: Vec<(String, Values)> =
                case["inputs"].as_object().unwrap().iter().map(|(n, v)| (n.clone(), values(v))).collect();
            let mut session = Session::new(Arc::new(network), &device);
            // The second run takes what was compiled for the first.
            for run in 1..=2 {
                let found = session.run(&given).unwrap_or_else(|e| panic!("{name}: {e}"));
                let wanted: Vec<Values> = case["outputs"].as_array().unwrap().iter().map(values).collect();
                assert_eq!(found.len(), wanted.len(), "{name}");
                for (found, wanted) in found.iter().zip(&wanted) {
                    let at = format!("{name} on {}, run {run}", device.name());
                    assert_eq!((found.element, &found.array.shape), (wanted.element, &wanted.array.shape), "{at}");
                    for (i, (a, b)) in found.array.data.iter().zip(&wanted.array.data).enumerate() {
                        assert!((a - b).abs() <= 1e-5 + 1e-4 * b.abs(), "{at}, element {i}: {a}, not {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_batch_size_is_bound_when_the_network_runs() {
    let mut session = Session::new(Arc::new(Network::parse(CLASSIFIER, None).unwrap()), &Device::Cpu);
    let answers = |session: &mut Session, n: usize| {
        let array = Array::from_fn(&[n, 3, 8, 8].into(), |i| (i % 192) as f64 / 192.0);
        let given = [("pixels".to_owned(), Values { element: Element::Float, array })];
        session.run(&given).unwrap().remove(0).array
    };
    let one = answers(&mut session, 1);
    let three = answers(&mut session, 3);
    assert_eq!(three.shape.dims(), [3, 5]);
    for row in three.data.chunks(5) {
        assert!(row.iter().zip(&one.data).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let mut session = Session::new(Arc::new(Network::parse(CLASSIFIER, None).unwrap()), &Device::Cpu);
    let give = |name: &str, element: Element, shape: &[usize]| {
        vec![(name.to_owned(), Values { element, array: Array::zeros(&shape.into()) })]
    };
    let error = |session: &mut Session, given: Vec<_>| session.run(&given).unwrap_err().to_string();
    let missing = error(&mut session, Vec::new());
    assert_eq!(missing, "input \"pixels\" is missing; the network has pixels");
    assert!(error(&mut session, give("image", Element::Float, &[1])).contains("has no input \"image\""));
    let wrong = error(&mut session, give("pixels", Element::Double, &[1, 3, 8, 8]));
    assert_eq!(wrong, "input \"pixels\" must be float32, but is float64");
    let wrong = error(&mut session, give("pixels", Element::Float, &[1, 3, 8, 9]));
    assert_eq!(wrong, "input \"pixels\" has shape [1, 3, 8, 9], the network needs [?, 3, 8, 8]");
}

#[test]
fn every_operator_that_is_not_supported_is_listed() {
    // Names of the same length, so that the file stays whole.
    let mut bytes = CLASSIFIER.to_vec();
    for (from, to) in [("MaxPool", "MaxFool"), ("Softmax", "Saftmix")] {
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    }
    let message = Network::parse(&bytes, None).unwrap_err();
    let expected = "has 2 operators that are not supported:\n  MaxFool \"p\" (kernel_shape=[2, 2], strides=[2, 2])\n  \
                    Saftmix \"probabilities\" (axis=-1)";
    assert_eq!(message, expected);
}

fn ocellus(folder: &Path, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::cargo_bin("ocellus").unwrap();
    let output =
        command.current_dir(folder).env("OCELLUS_CACHE_DIR", folder.join("cache")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Pictures of the recorded answers as files, and those answers.
fn pictures(folder: &Path) -> (Vec<String>, Vec<Vec<f64>>) {
    let recorded: Value = serde_json::from_str(ANSWERS).unwrap();
    let rows = |key: &str| recorded[key].as_array().unwrap().clone();
    let numbers = |row: &Value| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>();
    let mut names = Vec::new();
    for (i, pixels) in rows("pixels").iter().enumerate() {
        let bytes = numbers(pixels).iter().map(|&v| v as u8).collect();
        names.push(format!("{i}.png"));
        RgbImage::from_raw(8, 8, bytes).unwrap().save(folder.join(&names[i])).unwrap();
    }
    (names, rows("probabilities").iter().map(numbers).collect())
}

#[test]
fn an_imported_classifier_predicts_as_in_onnxruntime_and_goes_out_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("net.onnx"), CLASSIFIER).unwrap();
    let (done, _, error) =
        ocellus(at, &["import", "net.onnx", "--classes", "5", "--normalize", "unit", "--out", "run"]);
    assert!(done, "{error}");
    // The run has a copy of its own.
    std::fs::remove_file(at.join("net.onnx")).unwrap();
    let (names, expected) = pictures(at);
    for device in ["cpu", "gpu"] {
        let mut args = vec!["predict", "run", "--json", "--top", "5", "--device", device];
        args.extend(names.iter().map(String::as_str));
        let (done, answers, error) = ocellus(at, &args);
        assert!(done, "{error}");
        assert_eq!(answers.lines().count(), expected.len());
        for (answer, expected) in answers.lines().zip(&expected) {
            let answer: Value = serde_json::from_str(answer).unwrap();
            for top in answer["top"].as_array().unwrap() {
                let class: usize = top["label"].as_str().unwrap().parse().unwrap();
                let score = top["score"].as_f64().unwrap();
                assert!((score - expected[class]).abs() < 1e-5, "{device}, class {class}: {score}");
            }
        }
    }
    let (done, said, error) = ocellus(at, &["export", "run", "--output", "again.onnx"]);
    assert!(done, "{error}");
    assert!(said.contains("largest difference"), "{said}");
    let network = Network::open(at.join("again.onnx")).unwrap();
    assert!(network.metadata().contains(&("labels".into(), r#"["0","1","2","3","4"]"#.into())));
}

#[test]
fn an_imported_network_is_fine_tuned() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("net.onnx"), CLASSIFIER).unwrap();
    for (class, colour) in [("dark", [30, 20, 40]), ("light", [220, 200, 230])] {
        std::fs::create_dir_all(at.join("data").join(class)).unwrap();
        for i in 0..20 {
            let picture =
                RgbImage::from_fn(8, 8, |x, y| image::Rgb(colour.map(|c: u8| c ^ ((x * 3 + y * 5 + i) % 16) as u8)));
            picture.save(at.join(format!("data/{class}/{i}.png"))).unwrap();
        }
    }
    for device in ["cpu", "gpu"] {
        let out = format!("run-{device}");
        let train =
            ["train", "data", "--model", "net.onnx", "--image-size", "8", "--epochs", "12", "--batch-size", "8"];
        let (done, _, error) =
            ocellus(at, &[&train[..], &["--lr", "0.01", "--device", device, "--out", &out]].concat());
        assert!(done, "{error}");
        let (done, answer, error) = ocellus(at, &["evaluate", &out, "--json", "--device", device]);
        assert!(done, "{error}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["metrics"]["accuracy"], 1.0, "{device}: {answer}");
        let start = Network::parse(CLASSIFIER, None).unwrap();
        assert_eq!(start.head().unwrap().features.as_deref(), Some("features"));
        let weights = ocellus::interop::safetensors::load(at.join(&out).join("best.safetensors")).unwrap();
        assert!(
            weights.contains_key("onnx.conv.weight") && weights.contains_key("dense.weight"),
            "{:?}",
            weights.keys()
        );
    }
}

/// The network's own answers, on the CPU.
fn own_answers(model: &Model, weights: &HashMap<String, Tensor>, pixels: &[f32], n: usize) -> Vec<f32> {
    let mut graph = Graph::new();
    let [h, w, c] = model.input;
    let input = graph.input("x", Meta::f32([n, h, w, c]));
    let built = model.build(&mut graph, input, Mode::Inference).unwrap();
    graph.output("y", built.output);
    let arenas = Device::Cpu.weights(Layout::parameters(&graph), Layout::states(&graph), 0).unwrap();
    arenas.set(|name| weights.get(name)).unwrap();
    let mut program: Program = Device::Cpu.compile(&graph, &arenas, Ending::Nothing).unwrap();
    program.execute(&[("x", bytemuck::cast_slice(pixels))]).unwrap().remove(0).f32().to_vec()
}

/// An exported network of the zoo, read again, gives what the network itself gives, for two batch sizes.
fn comes_back(name: &str, size: usize) {
    let classes: Vec<String> = (0..4).map(|c| c.to_string()).collect();
    let model = zoo::build(name, [size, size, 3], classes.len()).unwrap();
    let weights: HashMap<String, Tensor> = model.initialize(Seed(3)).unwrap().into_iter().collect();
    let normalization = Normalize::Symmetric.fixed(3).unwrap();
    let network = |n: usize| {
        let mut graph = Graph::new();
        let input = graph.input("pixels", Meta::f32([n, size, size, 3]));
        let built = model.build(&mut graph, input, Mode::Inference)?;
        graph.output("probabilities", built.output);
        Ok((graph, input, built.output))
    };
    let classifier = export::Classifier {
        network: &network,
        weights: &weights,
        picture: [size, size, 3],
        mean: &normalization.mean,
        std: &normalization.std,
        temperature: 1.0,
        labels: &classes,
    };
    let bytes = classifier.to_onnx().unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut session = Session::new(Arc::new(Network::parse(&bytes, None).unwrap()), &Device::Cpu);
    for n in [1, 3] {
        let bytes: Vec<u8> = (0..n * size * size * 3).map(|i| (i * 7919 % 251) as u8).collect();
        let pixels: Vec<f32> = bytes.iter().map(|&b| (f32::from(b) / 255.0 - 0.5) / 0.5).collect();
        let wanted = own_answers(&model, &weights, &pixels, n);
        let array = Array { shape: [n, size, size, 3].into(), data: bytes.iter().map(|&b| f64::from(b)).collect() };
        let given = [(export::Classifier::INPUT.to_owned(), Values { element: Element::Uint8, array })];
        let found = session.run(&given).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found[0].array.shape.dims(), [n, classes.len()], "{name}");
        for (a, b) in found[0].array.data.iter().zip(&wanted) {
            assert!((a - f64::from(*b)).abs() < 1e-4, "{name} of {n}: {a}, not {b}");
        }
    }
}

#[test]
fn networks_of_the_zoo_go_out_and_come_back() {
    const SMALL: [(&str, usize); 14] = [
        ("keras-first", 16),
        ("lenet", 28),
        ("vgg-small", 16),
        ("resnet20", 16),
        ("resnet18", 32),
        ("resnext50", 32),
        ("squeezenet", 48),
        ("mobilenet_v2", 32),
        ("mobilenet_v3_small", 32),
        ("efficientnet_lite0", 32),
        ("efficientnet_b0", 32),
        ("convnext_tiny", 32),
        ("densenet121", 32),
        ("vit_tiny", 32),
    ];
    SMALL.into_iter().for_each(|(name, size)| comes_back(name, size));
}
