//! Explanations name the pixels that decide, in closed form where there is one and on pictures where that is known.

use std::collections::HashMap;
use std::path::Path;

use assert_cmd::Command;
use image::RgbImage;
use ocellus::device::{Device, Weights};
use ocellus::explain::{Method, Score, Watched, explain, faithfulness};
use ocellus::graph::{Graph, Layout};
use ocellus::nn::{Mode, Model, Sequential};
use ocellus::seed::Seed;
use ocellus::tensor::{Meta, Tensor};
use serde_json::Value;

/// Both backends. Without an adapter the tests fail: a software one is enough.
fn devices() -> [Device; 2] {
    let gpu = Device::named("gpu")
        .expect("a GPU adapter, if only a software one (Debian: apt-get install mesa-vulkan-drivers)");
    [Device::Cpu, gpu]
}

fn with_weights(model: &Model, device: &Device, values: &HashMap<String, Tensor>) -> Weights {
    let mut graph = Graph::new();
    let [h, w, c] = model.input;
    let input = graph.input("x", Meta::f32([1, h, w, c]));
    model.build(&mut graph, input, Mode::Inference).unwrap();
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), 0).unwrap();
    weights.set(|name| values.get(name)).unwrap();
    weights
}

fn noise(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1013) as f32 / 506.0) - 1.0).collect()
}

/// Where a map is averaged and then weighed, Grad-CAM is the class-activation map of Zhou et al., 2016
/// (<https://arxiv.org/abs/1512.04150>), divided by the number of pixels: `relu(Σ w channel) / (h w)`.
#[test]
fn grad_cam_of_averaged_maps_is_the_class_activation_map() {
    let model: Model = Sequential::new([6, 6, 2]).conv2d(3, 3).global_average_pool2d().dense(4).softmax().into();
    let values: HashMap<String, Tensor> = model.initialize(Seed(1)).unwrap().into_iter().collect();
    let picture = noise(72);
    for device in devices() {
        let mut watched =
            Watched::new(&model, &device, &with_weights(&model, &device, &values), 2, Some("conv2d")).unwrap();
        let seen = watched.look(std::slice::from_ref(&picture), &Score::class(2, 4)).unwrap();
        let dense = values["dense.weight"].f32();
        let cam: Vec<f32> = seen.maps[0]
            .chunks(3)
            .map(|pixel| {
                pixel.iter().enumerate().map(|(c, value)| value * dense[c * 4 + 2]).sum::<f32>().max(0.0) / 16.0
            })
            .collect();
        let expected = ocellus::explain::Heatmap::stretched(&cam, [4, 4], [6, 6]);
        let found = explain(&mut watched, Method::GradCam, &picture, &Score::class(2, 4), Seed(0)).unwrap();
        assert!(found.values.iter().any(|v| *v > 0.0));
        for (a, b) in found.values.iter().zip(&expected.values) {
            assert!((a - b).abs() < 1e-5, "{}: {a}, not {b}", device.name());
        }
    }
}

/// Sundararajan et al.'s axiom of completeness.
#[test]
fn integrated_gradients_add_up_to_the_difference_of_the_scores() {
    let model: Model = Sequential::new([6, 6, 2]).conv2d(4, 3).tanh().flatten().dense(3).softmax().into();
    let values: HashMap<String, Tensor> = model.initialize(Seed(2)).unwrap().into_iter().collect();
    let picture = noise(72);
    for device in devices() {
        let mut watched = Watched::new(&model, &device, &with_weights(&model, &device, &values), 8, None).unwrap();
        let seen = watched.look(&[picture.clone(), vec![0.0; 72]], &Score::class(1, 3)).unwrap();
        // Differences of logits are those of the logarithms of probabilities, up to one number for all classes.
        let logit = |row: &[f32]| f64::from(row[1]).ln() - f64::from(row[0]).ln();
        let difference = logit(&seen.probabilities[0]) - logit(&seen.probabilities[1]);
        let total = |watched: &mut Watched, class: usize| -> f64 {
            let score = Score::class(class, 3);
            let map = explain(watched, Method::IntegratedGradients, &picture, &score, Seed(0)).unwrap();
            map.values.iter().map(|&v| f64::from(v)).sum()
        };
        let sum = total(&mut watched, 1) - total(&mut watched, 0);
        assert!((sum - difference).abs() < 2e-3, "{}: {sum}, not {difference}", device.name());
    }
}

fn ocellus(folder: &Path, args: &[&str]) -> (bool, String, String) {
    let mut command = Command::cargo_bin("ocellus").unwrap();
    let output =
        command.current_dir(folder).env("OCELLUS_CACHE_DIR", folder.join("cache")).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// The side of the mark in a picture of 32x32, and where it begins in picture `i`.
const MARK: u32 = 8;

fn corner(i: u32) -> [u32; 2] {
    [i * 5 % 24, i * 11 % 24]
}

/// Grey noise with a mark that is striped one way or the other.
fn pictures(folder: &Path) {
    for (class, across) in [("across", true), ("upright", false)] {
        std::fs::create_dir_all(folder.join("data").join(class)).unwrap();
        for i in 0..60 {
            let [left, top] = corner(i);
            let picture = RgbImage::from_fn(32, 32, |x, y| {
                let noise = (x * 37 + y * 91 + i * 53 + x * y * 7) % 60 + 90;
                let inside = (left..left + MARK).contains(&x) && (top..top + MARK).contains(&y);
                let stripe = if across { y } else { x } / 2 % 2 == 0;
                let grey = if inside { if stripe { 250 } else { 5 } } else { noise as u8 };
                image::Rgb([grey; 3])
            });
            picture.save(folder.join(format!("data/{class}/{i:02}.png"))).unwrap();
        }
    }
}

#[test]
fn a_trained_network_looks_at_the_mark() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    pictures(at);
    let train = ["train", "data", "--model", "vgg-small", "--epochs", "12", "--batch-size", "16", "--augment", "none"];
    let (done, _, error) = ocellus(at, &[&train[..], &["--device", "cpu", "--out", "run"]].concat());
    assert!(done, "{error}");
    for method in ["grad-cam", "grad-cam++", "integrated-gradients", "smooth-grad", "occlusion"] {
        let args =
            ["explain", "run", "data/across/0*.png", "--method", method, "--npy", "--curves", "--sanity", "--json"];
        let (done, lines, error) = ocellus(at, &[&args[..], &["--device", "cpu", "--out", method]].concat());
        assert!(done, "{error}");
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 10);
        let (mut inside, mut better, mut alike) = (0.0, 0, 0.0);
        for (i, line) in lines.iter().enumerate() {
            let map = ocellus::interop::npy::read(at.join(line["heatmap"].as_str().unwrap())).unwrap().array;
            assert_eq!(map.shape.dims(), [32, 32]);
            let overlay = image::open(at.join(line["overlay"].as_str().unwrap())).unwrap();
            assert_eq!((overlay.width(), overlay.height()), (32, 32));
            let [left, top] = corner(i as u32);
            // A map of few places is spread a little.
            let near = |at: usize, begin: u32| (begin as i64 - 2..(begin + MARK + 2) as i64).contains(&(at as i64));
            let heat = |inside: bool| -> f64 {
                let of = map.data.iter().enumerate();
                let chosen = of.filter(|(p, _)| (near(p % 32, left) && near(p / 32, top)) == inside);
                chosen.map(|(_, v)| v.max(0.0)).sum()
            };
            inside += heat(true) / (heat(true) + heat(false)).max(1e-12);
            let number = |key: &str| line[key].as_f64().unwrap();
            better += usize::from(number("insertion") > number("deletion"));
            alike += number("sanity");
        }
        // Twice what an even map would have: the mark and its surroundings are 144 of 1024 pixels.
        assert!(inside / 10.0 > 0.28, "{method}: {:.2} of the heat", inside / 10.0);
        // Not Grad-CAM++: it adds channels up, none of them with a minus, and so shows what stands out in any picture.
        if method == "grad-cam" {
            assert!(alike / 10.0 < 0.8, "maps of random weights correlate by {:.2}", alike / 10.0);
        }
        assert!(better > 7, "{method}: {better} of 10");
    }
    let views = ["explain", "run", "data/across/00.png", "--maps", "--filters", "--out", "views", "--device", "cpu"];
    let (done, _, error) = ocellus(at, &views);
    assert!(done, "{error}");
    for (name, tiles) in [("filters.png", 6), ("0000-00-maps.png", 12)] {
        // 32 kernels of 3x3 and 128 maps, in squares.
        let sheet = image::open(at.join("views").join(name)).unwrap();
        assert_eq!(sheet.width(), tiles * 50 + 2, "{name}");
    }
    let page = std::fs::read_to_string(at.join("run/report.html")).unwrap();
    assert!(page.contains("What decided") && page.contains("what speaks for"));
    let (done, _, error) = ocellus(at, &["explain", "run", "data/across/00.png", "--class", "sideways"]);
    assert!(!done);
    assert_eq!(error.trim(), "error: there is no class \"sideways\"; there are across, upright");
    let (done, _, error) = ocellus(at, &["explain", "run", "data/across/00.png", "--layer", "nothing"]);
    assert!(!done && error.contains("there is no layer \"nothing\""), "{error}");
}

#[test]
fn curves_run_from_the_picture_to_nothing_and_back() {
    let model: Model = Sequential::new([6, 6, 2]).conv2d(4, 3).relu().flatten().dense(3).softmax().into();
    let values: HashMap<String, Tensor> = model.initialize(Seed(2)).unwrap().into_iter().collect();
    let picture = noise(72);
    let mut watched =
        Watched::new(&model, &Device::Cpu, &with_weights(&model, &Device::Cpu, &values), 8, None).unwrap();
    let score = Score::class(1, 3);
    let map = explain(&mut watched, Method::Occlusion, &picture, &score, Seed(0)).unwrap();
    let deletion = faithfulness::deletion(&mut watched, &map, &picture, &score).unwrap();
    let insertion = faithfulness::insertion(&mut watched, &map, &picture, &score).unwrap();
    let [whole, empty] = [picture, vec![0.0; 72]].map(|p| watched.probabilities(&[p], &score).unwrap()[0]);
    assert_eq!((deletion.probabilities[0], *insertion.probabilities.last().unwrap()), (whole, whole));
    assert_eq!((*deletion.probabilities.last().unwrap(), insertion.probabilities[0]), (empty, empty));
}
