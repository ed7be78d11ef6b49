//! Metric learning from class folders to answers about classes that were never shown, as a user would have it.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::GrayImage;
use predicates::prelude::*;
use serde_json::Value;

/// Twelve made-up people: each a pattern of coarse blocks, shown moved and noisy. Pictures `0.png` to `7.png` of each.
fn people(root: &Path) {
    let mut state = 12345_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize
    };
    for person in 0..12 {
        let folder = root.join(format!("person{person:02}"));
        std::fs::create_dir_all(&folder).unwrap();
        let blocks: Vec<u8> = (0..64).map(|_| if random() % 2 == 0 { 40 } else { 210 }).collect();
        for picture in 0..8 {
            let (dx, dy) = (random() % 2, random() % 2);
            let image = GrayImage::from_fn(16, 16, |x, y| {
                let (x, y) = ((x as usize + dx).min(15) / 2, (y as usize + dy).min(15) / 2);
                image::Luma([blocks[8 * y + x].wrapping_add((random() % 40) as u8)])
            });
            image.save(folder.join(format!("{picture}.png"))).unwrap();
        }
    }
}

fn ocellus(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("ocellus").unwrap();
    command.args(arguments);
    command
}

/// What is printed, as JSON: one value a line.
fn told(arguments: &[&str]) -> Vec<Value> {
    let output = ocellus(arguments).arg("--json").assert().success().get_output().stdout.clone();
    String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A run on ten of the people, the last two held out; and its last line.
fn trained(folder: &Path, device: &str, more: &[&str]) -> (PathBuf, Value) {
    let (data, run) = (folder.join("people"), folder.join(format!("run-{device}-{}", more.len())));
    people(&data);
    let arguments = [
        &["train", data.to_str().unwrap(), "--task", "embed", "--hold-out-classes", "2", "--embedding", "16"][..],
        &["--model", "vgg-small", "--width", "0.25", "--epochs", "40", "--batch-size", "16", "--device", device],
        &["--augment", "none", "--out", run.to_str().unwrap()],
        more,
    ];
    let lines = told(&arguments.concat());
    (run, lines.last().unwrap().clone())
}

fn expect_learned(done: &Value) {
    let evaluation = &done["evaluation"];
    assert_eq!((evaluation["task"].as_str(), evaluation["samples"].as_u64()), (Some("embed"), Some(16)));
    let number = |path: &str| evaluation.pointer(path).and_then(Value::as_f64).unwrap();
    assert!(number("/metrics/recall_at_1") >= 0.9, "{evaluation}");
    assert!(number("/verification/roc_auc") > 0.9, "{evaluation}");
    assert_eq!((number("/verification/same_pairs"), number("/verification/different_pairs")), (56.0, 64.0));
    assert!(evaluation["verification"]["calibrated"].as_bool().unwrap());
}

#[test]
fn people_never_shown_are_told_apart_on_both_devices() {
    let folder = tempfile::tempdir().unwrap();
    for device in ["cpu", "gpu"] {
        expect_learned(&trained(folder.path(), device, &[]).1);
    }
}

#[test]
fn triplets_tell_people_apart_too() {
    let folder = tempfile::tempdir().unwrap();
    let (run, done) = trained(folder.path(), "cpu", &["--metric-loss", "triplet"]);
    expect_learned(&done);
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("sampling = \"groups-of-4\""), "{config}");
    let model = std::fs::read_to_string(run.join("model.toml")).unwrap();
    assert!(!model.contains("cosine_dense"), "triplets need no directions of classes");
}

#[test]
fn aligned_pictures_are_told_apart_place_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let (run, done) = trained(folder.path(), "gpu", &["--aligned"]);
    expect_learned(&done);
    let model = std::fs::read_to_string(run.join("model.toml")).unwrap();
    assert!(model.contains("flatten") && !model.contains("global_average"), "{model}");
}

#[test]
fn a_run_embeds_indexes_searches_and_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let (run, done) = trained(folder.path(), "cpu", &[]);
    let (data, run) = (folder.path().join("people"), run.to_str().unwrap());
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let picture = |person: usize, number: usize| {
        data.join(format!("person{person:02}/{number}.png")).to_str().unwrap().to_owned()
    };

    // The validation part by itself says what training said.
    let evaluated = told(&["evaluate", run]).remove(0);
    assert_eq!(evaluated["metrics"], done["evaluation"]["metrics"]);
    assert_eq!(evaluated["verification"], done["evaluation"]["verification"]);
    let report = std::fs::read_to_string(Path::new(run).join("report.html")).unwrap();
    for part in ["Neighbours", "Same or different", "person11", "None of their classes was trained on"] {
        assert!(report.contains(part), "{part}");
    }

    let written = told(&["embed", run, data.to_str().unwrap(), "--output", &at("all.npy")]).remove(0);
    assert_eq!((written["pictures"].as_u64(), written["dimensions"].as_u64()), (Some(96), Some(16)));
    let array = ocellus::interop::npy::read(at("all.npy")).unwrap().array;
    assert_eq!(array.shape.dims(), [96, 16]);
    assert!(array.data.chunks(16).all(|v| (v.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-5));
    let paths = std::fs::read_to_string(at("all.txt")).unwrap();
    assert_eq!(paths.lines().nth(9).unwrap(), picture(1, 1));
    let predicted = told(&["predict", run, &picture(1, 1)]).remove(0);
    assert!((predicted["embedding"][3].as_f64().unwrap() - array.data[9 * 16 + 3]).abs() < 1e-6);

    let index = at("people.safetensors");
    let made = told(&["index", run, data.to_str().unwrap(), "--output", &index]).remove(0);
    assert_eq!((made["pictures"].as_u64(), made["classes"].as_u64()), (Some(96), Some(12)));
    let found = told(&["search", &index, &picture(10, 2), &picture(0, 0), "--top", "3"]);
    assert_eq!(found[0]["nearest"][0]["path"], picture(10, 2).as_str());
    assert!((found[0]["nearest"][0]["similarity"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert_eq!(found[1]["nearest"].as_array().unwrap().len(), 3);
    assert_eq!(found[0]["nearest"][1]["label"], "person10");
    let judged = told(&["search", &index, "--evaluate"]).remove(0);
    assert_eq!((judged["queries"].as_u64(), judged["classes"].as_u64()), (Some(96), Some(12)));
    assert!(judged["recall_at_1"].as_f64().unwrap() > 0.9, "{judged}");
    // Of so few all are found without looking at all.
    let approximate = at("trees.safetensors");
    let make = ["index", run, data.to_str().unwrap(), "--output", &approximate, "--approximate"];
    assert_eq!(told(&make).remove(0)["trees"], at("trees.trees").as_str());
    let find = ["search", &approximate, &picture(10, 2), &picture(0, 0), "--top", "3"];
    let places = |found: &[Value]| -> Vec<Value> {
        found.iter().flat_map(|f| f["nearest"].as_array().unwrap()).map(|near| near["path"].clone()).collect()
    };
    assert_eq!(places(&told(&find)), places(&found));
    assert_eq!(told(&[&find[..], &["--exact"]].concat()), found);
    let file = Path::new(&at("trees.trees")).join("data.mdb");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    ocellus(&find).assert().code(1).stderr(predicate::str::contains("trees.trees: is damaged"));
    assert_eq!(told(&make[..5]).remove(0)["trees"], Value::Null);
    assert!(!Path::new(&at("trees.trees")).exists());
    // By default an index is in its run.
    ocellus(&["index", run, data.join("person10").to_str().unwrap(), "--quiet"]).assert().success();
    let found = told(&["search", run, &picture(10, 2), "--device", "gpu"]).remove(0);
    assert_eq!((found["nearest"].as_array().unwrap().len(), &found["nearest"][0]["label"]), (8, &Value::Null));

    let answer = told(&["verify", run, &picture(10, 0), &picture(10, 1)]).remove(0);
    assert_eq!(answer["same"], true, "{answer}");
    let chosen = &evaluated["verification"]["at_threshold"];
    assert_eq!(answer["threshold"], chosen["threshold"]);
    assert_eq!(answer["false_accept_rate"], chosen["false_accept_rate"]);
    let answer = told(&["verify", run, &picture(10, 0), &picture(11, 1)]).remove(0);
    assert_eq!(answer["same"], false, "{answer}");
    let answer = told(&["verify", run, &picture(10, 0), &picture(11, 1), "--threshold", "-1"]).remove(0);
    assert_eq!((&answer["same"], &answer["false_accept_rate"]), (&Value::Bool(true), &Value::Null));

    // An index is of one network, and damage is told.
    let (other, _) = trained(&folder.path().join("other"), "cpu", &["--seed", "1"]);
    let refused = ["search", &index, &picture(10, 2), "--run", other.to_str().unwrap()];
    ocellus(&refused).assert().code(1).stderr(predicate::str::contains("made by another network"));
    let bytes = std::fs::read(&index).unwrap();
    std::fs::write(&index, &bytes[..bytes.len() / 2]).unwrap();
    ocellus(&["search", &index, &picture(10, 2)]).assert().code(1).stderr(predicate::str::contains("damaged"));
    ocellus(&["search", &at("none.st"), "x.png"]).assert().code(1).stderr(predicate::str::contains("ocellus index"));
    let unreadable = at("no.png");
    std::fs::write(&unreadable, "no picture").unwrap();
    ocellus(&["verify", run, &picture(10, 0), &unreadable]).assert().code(1).stderr(predicate::str::contains("no.png"));
    let some = ["embed", run, &unreadable, &picture(0, 0), "--output", &at("one.npy")];
    ocellus(&some).assert().code(1).stderr(predicate::str::contains("1 of 2 images could not be read"));
    assert_eq!(ocellus::interop::npy::read(at("one.npy")).unwrap().array.shape.dims(), [1, 16]);
}

#[test]
fn a_classifier_gives_vectors_but_knows_no_threshold() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("people");
    people(&data);
    let run = folder.path().join("run").to_str().unwrap().to_owned();
    let train = ["train", data.to_str().unwrap(), "--model", "vgg-small", "--width", "0.25", "--epochs", "1"];
    ocellus(&[&train[..], &["--device", "cpu", "--out", &run, "--quiet"]].concat()).assert().success();
    let output = folder.path().join("all.npy").to_str().unwrap().to_owned();
    let written = told(&["embed", &run, data.to_str().unwrap(), "--output", &output]).remove(0);
    assert_eq!(written["dimensions"], 32, "what the dense layer takes");
    let written = told(&["embed", &run, data.to_str().unwrap(), "--output", &output, "--layer", "conv2d"]).remove(0);
    assert_eq!(written["dimensions"], 8);
    let pictures = ["person00/0.png", "person00/1.png"].map(|name| data.join(name).to_str().unwrap().to_owned());
    let verify = ["verify", &run, &pictures[0], &pictures[1]];
    ocellus(&verify).assert().code(1).stderr(predicate::str::contains("has no threshold"));
    let answer = told(&[&verify[..], &["--threshold", "0.9"]].concat()).remove(0);
    assert!(answer["similarity"].as_f64().unwrap() <= 1.0 + 1e-6);
    ocellus(&["embed", &run, &pictures[0], "-o", &output, "--layer", "conv3d"])
        .assert()
        .code(1)
        .stderr(predicate::str::contains("no layer \"conv3d\""));
}
