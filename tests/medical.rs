//! Medical pictures: DICOM files read as pydicom reads them, values of more than 8 bits through a window, patients on one side of
//! a split, and runs on all of it from training to the model card.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::{ImageBuffer, Luma};
use ocellus::data::{Header, Image, Window};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dicom").join(name)
}

/// What pydicom reads; `tests/fixtures/dicom/make.py` makes files and record.
#[derive(Deserialize)]
struct Recorded {
    photometric: String,
    /// Rescaled where grey.
    values: Vec<f64>,
    /// Least and most that could be.
    full: Option<[f64; 2]>,
    /// After the file's window, from 0 to 255.
    windowed: Option<Vec<f64>>,
}

fn recorded() -> BTreeMap<String, Recorded> {
    serde_json::from_slice(&fs::read(fixture("recorded.json")).unwrap()).unwrap()
}

/// Within half a step, and rounding of 32-bit numbers.
fn assert_bytes(name: &str, found: &[u8], expected: impl Iterator<Item = f64>) {
    let expected: Vec<f64> = expected.collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (&found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(found) - expected.clamp(0.0, 255.0)).abs() < 0.501,
            "{name} at {i}: {found}, not {expected}"
        );
    }
}

#[test]
fn dicom_files_are_read_as_pydicom_reads_them() {
    for (name, expected) in recorded() {
        let path = fixture(&format!("{name}.dcm"));
        let open = |window: Window| Image::open_with(&path, window).unwrap();
        let image = open(Window::Full);
        let channels = if expected.full.is_some() { 1 } else { 3 };
        assert_eq!((image.size, image.channels), ([12, 16], channels), "{name}");
        assert_eq!(Header::open(&path).unwrap(), Header { size: [12, 16], channels }, "{name}");
        let Some([least, most]) = expected.full else {
            // JPEG at quality 95 differs from what went in by a little.
            let far = image.pixels.iter().zip(&expected.values).filter(|&(&a, &b)| (f64::from(a) - b).abs() > 12.0);
            assert_eq!(far.count(), 0, "{name}");
            continue;
        };
        let inverted = expected.photometric == "MONOCHROME1";
        let turned = |value: f64| if inverted { 255.0 - value.clamp(0.0, 255.0) } else { value };
        let spread = |[low, high]: [f64; 2]| {
            expected.values.iter().map(move |value| turned((value - low) / (high - low) * 255.0))
        };
        assert_bytes(&name, &image.pixels, spread([least, most]));
        let range = [100.5, 900.25];
        let ranged = open(Window::Range(range.map(|value| value as f32)));
        match name.as_str() {
            "bytes" => assert_eq!(ranged, image, "bytes stay as they are"),
            _ => assert_bytes(&name, &ranged.pixels, spread(range)),
        }
        match expected.windowed {
            Some(windowed) => assert_bytes(&name, &open(Window::File).pixels, windowed.into_iter()),
            None => assert_eq!(open(Window::File), open(Window::Auto), "{name}"),
        }
    }
}

/// The file with `value` in front of which `tag` stands, in explicit little endian with a short length.
fn with_value(file: &[u8], tag: [u16; 2], value: u16) -> Vec<u8> {
    let mut bytes = file.to_vec();
    let tag: Vec<u8> = tag.into_iter().flat_map(u16::to_le_bytes).collect();
    let at = bytes.windows(4).position(|window| window == tag).unwrap() + 8;
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[test]
fn what_cannot_be_read_is_told() {
    let file = fs::read(fixture("ct.dcm")).unwrap();
    let message = |bytes: &[u8]| Image::decode(bytes).unwrap_err().to_string();
    for length in [132, 150, 400, file.len() - 100] {
        let message = message(&file[..length]);
        assert!(message.contains("cut short"), "{length}: {message}");
    }
    let message_with = |tag, value| message(&with_value(&file, tag, value));
    assert!(message_with([0x28, 0x10], 0).contains("16x0 pixels"));
    assert!(message_with([0x28, 0x100], 32).contains("1 values of 32 bits"));
    assert!(message_with([0x28, 0x101], 40).contains("40 bits are kept in 16"));
    let huge = with_value(&with_value(&file, [0x28, 0x10], 65535), [0x28, 0x11], 65535);
    assert!(message(&huge).contains("more than the 512 allowed"), "{}", message(&huge));
    let at = file.windows(20).position(|w| w == b"1.2.840.10008.1.2.1\0").unwrap();
    let mut other = file.clone();
    other[at..at + 20].copy_from_slice(b"1.2.840.10008.1.2.9\0");
    assert!(message(&other).contains("transfer syntax 1.2.840.10008.1.2.9"), "{}", message(&other));
}

#[test]
fn memory_that_a_file_merely_claims_is_not_taken() {
    let file = fs::read(fixture("ct.dcm")).unwrap();
    // The pixels: OW, two empty bytes, a length of four. An address space of 2 GiB would do, a claim of 4 GiB is refused at once.
    let at = file.windows(6).position(|w| w == [0xe0, 0x7f, 0x10, 0x00, b'O', b'W']).unwrap() + 8;
    let mut claim = file.clone();
    claim[at..at + 4].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let message = Image::decode(&claim).unwrap_err().to_string();
    assert!(message.contains("claims 4294967280 bytes"), "{message}");
    let jpeg = fs::read(fixture("lossless.dcm")).unwrap();
    let at = jpeg.windows(2).rposition(|w| w == [0xff, 0xc3]).unwrap() + 5;
    let mut claim = jpeg.clone();
    claim[at..at + 4].copy_from_slice(&[0xff; 4]);
    let message = Image::decode(&claim).unwrap_err().to_string();
    assert!(message.contains("its JPEG has 8589672450 bytes"), "{message}");
}

#[test]
fn sequences_nested_without_end_are_refused() {
    let file = fs::read(fixture("ct.dcm")).unwrap();
    let at = file.windows(4).position(|w| w == [0x28, 0x00, 0x02, 0x00]).unwrap();
    let sequence =
        [&[0x08, 0x00, 0x40, 0x11][..], b"SQ\0\0", &[0xff; 4], &[0xfe, 0xff, 0x00, 0xe0], &[0xff; 4]].concat();
    let deep = [&file[..at], &sequence.repeat(20_000), &file[at..]].concat();
    let message = Image::decode(&deep).unwrap_err().to_string();
    assert!(message.contains("damaged"), "{message}");
}

fn ocellus(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("ocellus").unwrap();
    command.current_dir(folder).env("NO_COLOR", "1").env("OCELLUS_CACHE_DIR", folder.join("cache"));
    command
}

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A DICOM file of 16 bits a value, explicit little endian; offset and slope are the file's rescaling.
fn dicom(size: u16, values: &[u16], rescale: [&str; 2]) -> Vec<u8> {
    let element = |tag: [u16; 2], kind: &str, value: &[u8]| {
        let padded = [value, if value.len() % 2 == 1 { &b" "[..] } else { &[] }].concat();
        let mut bytes: Vec<u8> = tag.into_iter().flat_map(u16::to_le_bytes).chain(kind.bytes()).collect();
        match kind {
            "OB" | "OW" => bytes.extend([&[0, 0][..], &(padded.len() as u32).to_le_bytes()].concat()),
            _ => bytes.extend((padded.len() as u16).to_le_bytes()),
        }
        [bytes, padded].concat()
    };
    let number = |tag, value: u16| element(tag, "US", &value.to_le_bytes());
    let meta = [
        element([2, 1], "OB", &[0, 1]),
        element([2, 2], "UI", b"1.2.840.10008.5.1.4.1.1.7\0"),
        element([2, 3], "UI", b"1.2.3\0"),
        element([2, 0x10], "UI", b"1.2.840.10008.1.2.1\0"),
        element([2, 0x12], "UI", b"1.2.3\0"),
    ]
    .concat();
    let pixels: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let elements = [
        number([0x28, 2], 1),
        element([0x28, 4], "CS", b"MONOCHROME2"),
        number([0x28, 0x10], size),
        number([0x28, 0x11], size),
        number([0x28, 0x100], 16),
        number([0x28, 0x101], 16),
        number([0x28, 0x102], 15),
        number([0x28, 0x103], 0),
        element([0x28, 0x1052], "DS", rescale[0].as_bytes()),
        element([0x28, 0x1053], "DS", rescale[1].as_bytes()),
        element([0x7fe0, 0x10], "OW", &pixels),
    ];
    let length = element([2, 0], "UL", &(meta.len() as u32).to_le_bytes());
    [vec![0; 128], b"DICM".to_vec(), length, meta, elements.concat()].concat()
}

const SIZE: u16 = 20;
const PATIENTS: usize = 12;

/// Scans of ill and well people, four of each: a bright spot of 300 units more in a body of about -100 to 100, where scanners
/// can tell -1024 from 3000. Half the files are DICOM, half 16-bit TIFF of the same units above -1024.
fn scans() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for patient in 0..PATIENTS {
        let class = if patient % 2 == 0 { "ill" } else { "well" };
        fs::create_dir_all(folder.path().join("scans").join(class)).unwrap();
        for scan in 0..4 {
            let center = [6 + (patient * 5 + scan * 3) % 8, 6 + (patient * 3 + scan * 5) % 8];
            let value = |at: usize| {
                let [y, x] = [at / usize::from(SIZE), at % usize::from(SIZE)];
                let spot = class == "ill" && y.abs_diff(center[0]) + x.abs_diff(center[1]) < 5;
                let noise = (x * 7 + y * 13 + patient * 29 + scan * 31) * 2_654_435_761 % 200;
                (1024 - 100 + noise + if spot { 300 } else { 0 }) as u16
            };
            let values: Vec<u16> = (0..usize::from(SIZE).pow(2)).map(value).collect();
            let name = format!("scans/{class}/patient{patient:02}_{scan}");
            if scan % 2 == 0 {
                fs::write(folder.path().join(name + ".dcm"), dicom(SIZE, &values, ["-1024", "1"])).unwrap();
            } else {
                let shifted = ImageBuffer::<Luma<u16>, _>::from_vec(SIZE.into(), SIZE.into(), values).unwrap();
                shifted.save(folder.path().join(name + ".tif")).unwrap();
            }
        }
    }
    folder
}

const MODEL: &str = r#"input = [20, 20, 1]
[[layer]]
type = "conv2d"
filters = 4
kernel = 5
activation = "relu"
[[layer]]
type = "global_max_pool2d"
[[layer]]
type = "dense"
units = 1
activation = "sigmoid"
"#;

fn train<'a>(folder: &Path, device: &str, more: impl IntoIterator<Item = &'a str>) -> Command {
    fs::write(folder.join("small.toml"), MODEL).unwrap();
    let mut command = ocellus(folder);
    command.args([
        "train",
        "scans",
        "--model",
        "small.toml",
        "--json",
        "--epochs",
        "20",
        "--batch-size",
        "8",
        "--lr",
        "0.02",
    ]);
    command.args(["--device", device, "--val", "0.34", "--group-by", r"patient(\d+)_"]).args(more);
    command
}

#[test]
fn scans_are_learned_told_and_predicted_on_every_device() {
    for device in ["cpu", "gpu"] {
        let folder = scans();
        let done = json(&stdout(&mut train(folder.path(), device, ["--out", "run"])));
        assert_eq!(done["evaluation"]["metrics"]["accuracy"], 1.0, "{device}");
        let intervals = &done["evaluation"]["intervals"];
        assert_eq!((&intervals["groups"], &done["evaluation"]["samples"]), (&4.into(), &16.into()));
        let run = folder.path().join("run");
        let config = fs::read_to_string(run.join("config.toml")).unwrap();
        assert!(config.contains("window = \"auto\"") && config.contains(r"group_by = 'patient(\d+)_'"), "{config}");

        let told =
            json(&stdout(ocellus(folder.path()).args(["evaluate", "run", "scans", "--json", "--device", device])));
        assert_eq!((&told["samples"], &told["intervals"]["groups"]), (&48.into(), &12.into()));
        let trade_offs = told["trade_offs"].as_array().unwrap();
        assert_eq!(trade_offs.len(), 6);
        assert!(trade_offs.iter().all(|t| t["class"] == "well" && t["interval"].is_array()), "{trade_offs:?}");
        assert_eq!(told["decision_curve"].as_array().unwrap().len(), 19);

        let paths = ["scans/ill/patient00_0.dcm", "scans/ill/patient00_1.tif", "scans/well/patient01_0.dcm"];
        let mut predict = ocellus(folder.path());
        let answers = stdout(predict.args(["predict", "run", "--json", "--device", device]).args(paths));
        let labels: Vec<Value> = answers.lines().map(|line| json(line)["label"].clone()).collect();
        assert_eq!(labels, ["ill", "ill", "well"]);

        let mut explain = ocellus(folder.path());
        stdout(explain.args(["explain", "run", "scans/ill/patient00_0.dcm", "--device", device, "--out", "maps"]));
        assert_eq!(fs::read_dir(folder.path().join("maps")).unwrap().count(), 1);

        let card = fs::read_to_string(run.join("model_card.md")).unwrap();
        for part in [
            "Purpose: *Not stated.*",
            "8 in training, 4 in validation",
            "whole groups, of which there are 4",
            "| brier score | 0.",
        ] {
            assert!(card.contains(part), "{part} is missing in {card}");
        }
        assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("href=\"model_card.md\""));
    }
}

#[test]
fn what_people_know_of_a_network_is_kept_in_its_card() {
    let folder = scans();
    stdout(&mut train(folder.path(), "cpu", ["--out", "run", "--max-steps", "3"]));
    let card = |folder: &Path| fs::read_to_string(folder.join("run/model_card.md")).unwrap();
    fs::write(folder.path().join("about.toml"), "purpose = \"Show how it is done\"\nlicence = \"none\"\n").unwrap();
    stdout(ocellus(folder.path()).args(["card", "run", "--about", "about.toml"]));
    assert!(
        card(folder.path()).contains("Purpose: Show how it is done") && card(folder.path()).contains("Licence: none")
    );
    stdout(ocellus(folder.path()).args(["evaluate", "run", "--device", "cpu"]));
    assert!(card(folder.path()).contains("Purpose: Show how it is done"), "it stays");
    fs::write(folder.path().join("about.toml"), "porpoise = \"\"\n").unwrap();
    let output = ocellus(folder.path()).args(["card", "run", "--about", "about.toml"]).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("about.toml") && message.contains("porpoise"), "{message}");
}

#[test]
fn a_window_is_kept_with_the_run_and_in_the_cache() {
    let folder = scans();
    // All values are above: every picture is white.
    let blind = ["--window", "-3000:-2000", "--epochs", "2", "--out", "blind"];
    let done = json(&stdout(train(folder.path(), "cpu", blind).env("RUST_LOG", "off")));
    assert!(done["evaluation"]["metrics"]["accuracy"].as_f64().unwrap() < 0.7, "{done}");
    let seeing = json(&stdout(&mut train(folder.path(), "cpu", ["--out", "seeing"])));
    assert_eq!(seeing["evaluation"]["metrics"]["accuracy"], 1.0, "not from the cache of the other window");
    assert!(fs::read_to_string(folder.path().join("blind/config.toml")).unwrap().contains("window = \"-3000:-2000\""));
    let answers = stdout(ocellus(folder.path()).args(["predict", "blind", "scans/ill", "--json", "--device", "cpu"]));
    let dicoms = answers.lines().map(json).filter(|answer| answer["path"].as_str().unwrap().ends_with(".dcm"));
    let scores: BTreeSet<String> = dicoms.map(|answer| answer["score"].to_string()).collect();
    assert_eq!(scores.len(), 1, "prediction sees white too");
    let output = train(folder.path(), "cpu", ["--window", "9:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("LOW:HIGH"));
}

#[test]
fn a_patient_in_two_parts_is_reported() {
    let folder = scans();
    let part = |name: &str, class: &str| folder.path().join("parts").join(name).join(class);
    for (number, entry) in ["ill", "well"]
        .iter()
        .flat_map(|class| {
            let mut paths: Vec<_> = fs::read_dir(folder.path().join("scans").join(class))
                .unwrap()
                .map(|e| (*class, e.unwrap().path()))
                .collect();
            paths.sort();
            paths
        })
        .enumerate()
    {
        let (class, path) = entry;
        // Four scans of each patient: the first three patients are to train on, but one scan of patient 04 too.
        let name = if number % 24 < 12 { "train" } else { "test" };
        let name = if path.ends_with("patient04_3.tif") { "test" } else { name };
        fs::create_dir_all(part(name, class)).unwrap();
        fs::copy(&path, part(name, class).join(path.file_name().unwrap())).unwrap();
    }
    let mut check = ocellus(folder.path());
    let output = check.args(["check", "parts", "--group-by", r"(patient\d+)_"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("1 group stands in more than one part"), "{text}");
    assert!(text.contains("patient04: 3 images in training, 1 image in test"), "{text}");
    let output = ocellus(folder.path()).args(["check", "parts", "--group-by", "doctor"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("do not match --group-by 'doctor'"));
    let mut train = ocellus(folder.path());
    fs::write(folder.path().join("small.toml"), MODEL).unwrap();
    let train = train.args([
        "train",
        "parts",
        "--model",
        "small.toml",
        "--max-steps",
        "2",
        "--device",
        "cpu",
        "--group-by",
        r"patient\d+",
    ]);
    let output = train.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.contains("1 group stands in more than one part"), "{told}");
}
