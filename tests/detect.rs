//! A network learns to find things, as a user would train it, on both backends.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

/// `[left, top, right, bottom]` in pixels.
type Corners = [u32; 4];

/// Pictures of 64x64 noisy pixels with one to three bright things apart from each other: blocks, and discs. With their classes
/// and boxes.
fn scenes(count: u32, seed: u32) -> Vec<(RgbImage, Vec<(&'static str, Corners)>)> {
    let mut state = seed;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let mut scenes = Vec::new();
    for i in 0..count {
        let mut picture = RgbImage::from_fn(64, 64, |_, _| Rgb([0; 3].map(|_| 30 + next(60) as u8)));
        let mut things = Vec::new();
        // One in each of some quarters.
        for quarter in (0..4).filter(|quarter| (i + quarter) % 4 < 1 + i % 3) {
            let (width, height) = (14 + next(14), 14 + next(14));
            let class = if next(2) == 0 { "block" } else { "disc" };
            let height = if class == "disc" { width } else { height };
            let left = 32 * (quarter % 2) + next(32 - width);
            let top = 32 * (quarter / 2) + next(32 - height);
            let inside = |x: u32, y: u32| {
                let off = |at: u32, extent: u32| (2.0 * f64::from(at) + 1.0) / f64::from(extent) - 1.0;
                class == "block" || off(x, width).hypot(off(y, height)) <= 1.0
            };
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).filter(|&(x, y)| inside(x, y)) {
                picture.put_pixel(left + x, top + y, Rgb([0; 3].map(|_| 170 + next(60) as u8)));
            }
            things.push((class, [left, top, left + width, top + height]));
        }
        scenes.push((picture, things));
    }
    scenes
}

/// Writes them as Pascal VOC's descriptions beside the pictures.
fn write_voc(folder: &Path, scenes: &[(RgbImage, Vec<(&str, Corners)>)]) {
    fs::create_dir_all(folder).unwrap();
    for (i, (picture, things)) in scenes.iter().enumerate() {
        picture.save(folder.join(format!("{i:03}.png"))).unwrap();
        let object = |(class, [left, top, right, bottom]): &(&str, Corners)| {
            format!(
                "<object><name>{class}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>\
                 <ymax>{bottom}</ymax></bndbox></object>"
            )
        };
        let objects: String = things.iter().map(object).collect();
        let size = "<size><width>64</width><height>64</height></size>";
        fs::write(folder.join(format!("{i:03}.xml")), format!("<annotation>{size}{objects}</annotation>")).unwrap();
    }
}

fn ocellus(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::cargo_bin("ocellus").unwrap().current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = ocellus(folder, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    stdout
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn things_are_trained_on_judged_found_and_exported() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write_voc(&at.join("data/train"), &scenes(96, 1));
    let held_out = scenes(24, 2);
    write_voc(&at.join("data/val"), &held_out);
    // A software adapter is slow: there the network learns less.
    for (device, epochs, least) in [("cpu", "45", 0.75), ("gpu", "5", 0.15)] {
        let run = format!("run-{device}");
        let common = ["--device", device, "--json", "--quiet"];
        let model =
            ["--model", "resnet18", "--width", "0.125", "--epochs", epochs, "--lr", "0.003", "--augment", "none"];
        let lines = succeeds(at, &[&["train", "data", "--out", &run][..], &model, &common].concat());
        let done = json(lines.lines().last().unwrap());
        let metrics = &done["evaluation"]["metrics"];
        let map = metrics["map50"].as_f64().unwrap();
        assert!(map > least, "{device}: mAP {map}");
        let first = json(lines.lines().next().unwrap());
        assert!(first["val_map50"].as_f64().unwrap() < map && first["train_map50"].is_null(), "{first}");

        let evaluated = json(&succeeds(at, &[&["evaluate", &run, "data/val"][..], &common].concat()));
        // In batches of another size, sums are taken in another order.
        assert!((evaluated["metrics"]["map50"].as_f64().unwrap() - map).abs() < 1e-3, "{evaluated}");
        let support = |class: &str| evaluated["per_class"][class]["support"].as_u64().unwrap();
        let things = held_out.iter().map(|(_, things)| things.len() as u64).sum::<u64>();
        assert_eq!(support("block") + support("disc"), things);

        if device == "cpu" {
            finds_things(at, &run, &common, &held_out);
        }
        let page = fs::read_to_string(at.join(&run).join("report.html")).unwrap();
        assert!(["mAP@0.5", "Precision over recall", "Worst"].iter().all(|part| page.contains(part)));
        let pictures = if device == "cpu" { "data/val" } else { "data/val/00[0-3].png" };
        let explain = ["explain", &run, pictures, "--class", "disc", "--out", "why"];
        let why = succeeds(at, &[&explain[..], &common].concat());
        let sure = |line: &&str| json(line)["score"].as_f64().unwrap() > 0.3;
        assert!(device == "gpu" || 2 * why.lines().filter(sure).count() > held_out.len(), "{why}");
        let export = ["export", &run, "--format", "onnx", "--output", "detector.onnx", "--data", "data/val"];
        succeeds(at, &[&export[..], &common].concat());
    }
}

/// In pixels of pictures twice as wide as those learned from.
fn finds_things(at: &Path, run: &str, common: &[&str], held_out: &[(RgbImage, Vec<(&str, Corners)>)]) {
    fs::create_dir_all(at.join("wide")).unwrap();
    for (i, (picture, _)) in held_out.iter().enumerate() {
        let wide = image::imageops::resize(picture, 128, 64, image::imageops::FilterType::Nearest);
        wide.save(at.join(format!("wide/{i:03}.png"))).unwrap();
    }
    let predict = ["predict", run, "wide", "--out", "drawn", "--coco", "found.json"];
    let lines = succeeds(at, &[&predict[..], common].concat());
    let (mut right, mut told, mut there) = (0, 0, 0);
    for (line, (_, things)) in lines.lines().zip(held_out) {
        let said = json(line);
        let boxes = said["boxes"].as_array().unwrap();
        (told, there) = (told + boxes.len(), there + things.len());
        let is_found = |(class, [left, top, right, bottom]): &&(&str, Corners)| {
            let expected = [2 * left, *top, 2 * (right - left), bottom - top].map(f64::from);
            let near = |b: &Value| {
                let off = |i: usize| (b["box"][i].as_f64().unwrap() - expected[i]).abs();
                b["label"] == *class && off(0).max(off(2)) < 12.0 && off(1).max(off(3)) < 6.0
            };
            boxes.iter().any(near)
        };
        right += things.iter().filter(is_found).count();
        let drawn = image::open(at.join(said["overlay"].as_str().unwrap())).unwrap();
        assert_eq!((drawn.width(), drawn.height()), (256, 128));
    }
    assert!(10 * right > 7 * there && 2 * told < 3 * there, "{right} right of {told} told and {there} there");
    let found = json(&fs::read_to_string(at.join("found.json")).unwrap());
    assert_eq!(found.as_array().unwrap().len(), told);
}

#[test]
fn a_set_with_boxes_is_checked_described_and_previewed() {
    let dir = tempfile::tempdir().unwrap();
    let scenes = scenes(12, 5);
    write_voc(&dir.path().join("data"), &scenes);
    let blocks = scenes.iter().flat_map(|(_, things)| things).filter(|(class, _)| *class == "block").count();
    let checked = succeeds(dir.path(), &["check", "data"]);
    assert!(checked.contains("12 images, 2 classes") && !checked.contains("in more than one class"), "{checked}");
    let described = succeeds(dir.path(), &["summary", "data"]);
    let row = |name: &str| described.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().nth(1);
    assert_eq!(row("block"), Some(blocks.to_string().as_str()), "{described}");
    assert_eq!(row("images"), Some("12"), "{described}");
    succeeds(dir.path(), &["augment", "data", "--preview", "seen.png"]);
    assert!(image::open(dir.path().join("seen.png")).is_ok());
}

#[test]
fn damaged_sets_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let picture = |name: &str| {
        let path = at.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::new(16, 16).save(path).unwrap();
    };
    let write = |name: &str, text: &str| {
        let path = at.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    ["voc/JPEGImages/1.png", "yolo/images/1.png", "coco/1.png"].into_iter().for_each(picture);
    write("voc/Annotations/1.xml", "<annotation><object><name>cat</name>");
    write("yolo/labels/1.txt", "0 0.5 0.5\n");
    write("coco/_annotations.coco.json", "{\"images\": [");
    let expected = [("voc", "1.xml: no XML"), ("yolo", "1.txt: line 1"), ("coco", "coco.json: no COCO instances")];
    for (set, expected) in expected {
        let (code, stdout, stderr) = ocellus(at, &["train", set, "--device", "cpu", "--quiet"]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.contains(expected) && !stderr.contains("panicked"), "{stderr}");
    }
}
