//! A network learns to read short strings, as a user would train it, on both backends.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use embedded_graphics::mono_font::MonoTextStyle;
use embedded_graphics::mono_font::ascii::FONT_10X20;
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::prelude::{DrawTarget, OriginDimensions, Point, Size};
use embedded_graphics::text::Text;
use embedded_graphics::{Drawable, Pixel};
use image::{GrayImage, Luma};
use serde_json::Value;

/// Letters are drawn in black.
struct Paper(GrayImage);

impl OriginDimensions for Paper {
    fn size(&self) -> Size {
        Size::new(self.0.width(), self.0.height())
    }
}

impl DrawTarget for Paper {
    type Color = BinaryColor;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<BinaryColor>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        for Pixel(Point { x, y }, _) in pixels {
            self.0.put_pixel(x as u32, y as u32, Luma([20]));
        }
        Ok(())
    }
}

/// Strings of one to four of the letters A, K and X, between margins of different widths.
fn strings(folder: &Path, name: &str, count: u32, table: &mut String) {
    fs::create_dir_all(folder.join(name)).unwrap();
    let mut state = count;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    for i in 0..count {
        let text: String = (0..=next(4)).map(|_| ['A', 'K', 'X'][next(3) as usize]).collect();
        let (before, behind, shift) = (next(6), next(6), next(4));
        let width = before + 10 * text.len() as u32 + behind;
        let mut paper = Paper(GrayImage::from_fn(width, 24, |_, _| Luma([(200 + next(40)) as u8])));
        let style = MonoTextStyle::new(&FONT_10X20, BinaryColor::On);
        Text::new(&text, Point::new(before as i32, 15 + shift as i32), style).draw(&mut paper).unwrap();
        paper.0.save(folder.join(format!("{name}/{i:03}.png"))).unwrap();
        *table += &format!("{name}/{i:03}.png,{text},{name}\n");
    }
}

fn data(folder: &Path) {
    let mut table = "path,text,split\n".to_owned();
    strings(folder, "train", 240, &mut table);
    strings(folder, "val", 60, &mut table);
    fs::write(folder.join("texts.csv"), table).unwrap();
}

/// 32 columns as steps.
const NETWORK: &str = r#"input = [16, 64, 1]
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
type = "conv2d"
filters = 16
kernel = 3
padding = "same"
activation = "relu"
[[layer]]
type = "max_pool2d"
size = [2, 1]
[[layer]]
type = "permute"
dims = [2, 1, 3]
[[layer]]
type = "reshape"
target_shape = [-1, 64]
[[layer]]
type = "lstm"
units = 16
return_sequences = true
bidirectional = true
[[layer]]
type = "dense"
units = 4
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

#[test]
fn strings_are_trained_on_judged_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    data(at);
    fs::write(at.join("crnn.toml"), NETWORK).unwrap();
    for device in ["cpu", "gpu"] {
        let run = format!("run-{device}");
        let common = ["--device", device, "--json", "--quiet"];
        let train =
            ["train", "texts.csv", "--model", "crnn.toml", "--epochs", "12", "--batch-size", "8", "--lr", "0.01"];
        let out = ["--schedule", "cosine", "--out", &run];
        succeeds(at, &[&train[..], &out, &common].concat());

        let told: Value = serde_json::from_str(&succeeds(at, &[&["evaluate", &run][..], &common].concat())).unwrap();
        assert_eq!((&told["task"], &told["samples"]), (&"read".into(), &60.into()));
        let rate = told["metrics"]["character_error_rate"].as_f64().unwrap();
        assert!(rate < 0.05, "{device}: {rate}");
        let words = told["metrics"]["word_accuracy"].as_f64().unwrap();
        assert!(words > 0.85, "{device}: {words}");
        assert_eq!(told["per_class"].as_object().unwrap().keys().collect::<Vec<_>>(), ["A", "K", "X"]);

        let read = |more: &[&str]| -> Vec<Value> {
            let text = succeeds(at, &[&["predict", &run, "val"][..], more, &common].concat());
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let table = fs::read_to_string(at.join("texts.csv")).unwrap();
        let expected: Vec<&str> =
            table.lines().filter(|l| l.ends_with(",val")).map(|l| l.split(',').nth(1).unwrap()).collect();
        let right = |answers: &[Value]| answers.iter().zip(&expected).filter(|(a, text)| a["text"] == **text).count();
        let (greedy, beam) = (read(&[]), read(&["--beam", "8"]));
        assert_eq!(right(&greedy) as f64 / 60.0, words, "predict reads as evaluate does");
        assert!(right(&beam) as f64 > 0.85 * 60.0);
        assert!(greedy.iter().chain(&beam).all(|a| (0.0..=1.000_001).contains(&a["score"].as_f64().unwrap())));
        for (best, first) in beam.iter().zip(&greedy) {
            assert!(best["score"].as_f64() >= first["score"].as_f64().map(|p| p - 1e-6), "{best} {first}");
        }
        assert_eq!(beam[0]["top"][0]["text"], beam[0]["text"]);
        assert!(read(&["--reject-below", "1"]).iter().all(|a| a["text"].is_null() || a["score"].as_f64() == Some(1.0)));
    }
    assert_eq!(fs::read_to_string(at.join("run-cpu/labels.txt")).unwrap(), "A\nK\nX\n");
    let readings = fs::read_to_string(at.join("run-cpu/readings.csv")).unwrap();
    assert!(readings.starts_with("path,text,read,score,mistakes\n") && readings.lines().count() == 61);
    let page = fs::read_to_string(at.join("run-cpu/report.html")).unwrap();
    assert!(page.contains("Character error rate") && page.contains("Worst readings"));
}

#[test]
fn what_cannot_be_read_from_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    data(at);
    fs::write(at.join("crnn.toml"), NETWORK).unwrap();
    fs::write(at.join("wrong.toml"), NETWORK.replace("units = 4", "units = 9")).unwrap();
    fs::write(at.join("broken.csv"), "path,text\ntrain/000.png,A\ntrain/001.png\n").unwrap();
    fs::write(at.join("other.csv"), "path,text\nval/000.png,Q\n").unwrap();
    let long = format!("path,text\ntrain/000.png,{}\n", "A".repeat(40));
    fs::write(at.join("long.csv"), long).unwrap();
    let train =
        |data, more: &[&'static str]| [&["train", data, "--task", "read", "--device", "cpu"][..], more].concat();
    fails(at, &train("broken.csv", &[]), "broken.csv: line 3: the text is missing");
    fails(
        at,
        &train("texts.csv", &["--test", "other.csv"]),
        "'Q' in the text \"Q\" is not one of the training set's 3 (A, K, X)",
    );
    fails(at, &train("texts.csv", &["--model", "wrong.toml"]), "must give [steps, 4]");
    fails(at, &train("texts.csv", &["--model", "lenet"]), "must give [steps, 4]");
    fails(at, &train("texts.csv", &["--augment", "standard"]), "mirrored text cannot be read");
    fails(at, &train("texts.csv", &["--class-weights", "auto"]), "--class-weights are not for --task read");
    fails(at, &train("texts.csv", &["--label-smoothing", "0.1"]), "--label-smoothing is not for --task read");
    fails(at, &train("texts.csv", &["--frames", "4"]), "--frames is for --task classify");
    fails(at, &["train", "train", "--task", "classify", "--text-from", "names"], "--text-from is for --task read");
    let one = train("long.csv", &["--model", "crnn.toml", "--val", "0"]);
    fs::write(at.join("crnn.toml"), NETWORK.replace("units = 4", "units = 2")).unwrap();
    fails(at, &one, "a text of 40 symbols, but the network reads 32 at most: give it a wider --image-size");
}
