//! What a run leaves for people: the page, its pictures, event files; and a browser's opinion of the page where there is
//! one.

use std::fs;
use std::path::Path;
use std::process::Command as Program;

use assert_cmd::Command;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{Rgb, RgbImage};
use scraper::{ElementRef, Html, Selector};
use serde_json::Value;
use tempfile::TempDir;

const MODEL: &str = r#"input = [16, 16, 3]
[[layer]]
type = "conv2d"
filters = 4
kernel = 3
activation = "relu"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 3
activation = "softmax"
"#;

/// Noise in three classes, which cannot be told apart: so there are mistakes. One file is broken.
fn photos() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (k, class) in ["a <b>", "cat", "dog"].into_iter().enumerate() {
        let class = folder.path().join("photos").join(class);
        fs::create_dir_all(&class).unwrap();
        for i in 0..14_u32 {
            let byte = |x: u32, y: u32| ((x * 31 + y * 17 + i * 101 + k as u32 * 7) * 26_544 % 253) as u8;
            let picture = RgbImage::from_fn(16, 16, |x, y| Rgb([byte(x, y), byte(y, x), byte(x + y, y)]));
            picture.save(class.join(format!("{i:02}.png"))).unwrap();
        }
    }
    fs::write(folder.path().join("photos/cat/broken.png"), "no picture").unwrap();
    fs::write(folder.path().join("small.toml"), MODEL).unwrap();
    folder
}

fn ocellus<'a>(folder: &Path, words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::cargo_bin("ocellus").unwrap();
    command.current_dir(folder).env("OCELLUS_CACHE_DIR", folder.join("cache")).args(words);
    command
}

fn train(folder: &Path, out: &str, more: &[&str]) {
    let words = ["train", "photos", "--model", "small.toml", "--device", "cpu", "--batch-size", "8", "--epochs", "2"];
    let fixed = ["--val", "0.5", "--augment", "light", "--quiet", "--out", out];
    ocellus(folder, words.into_iter().chain(fixed).chain(more.iter().copied())).assert().success();
}

fn select<'a>(page: &'a Html, what: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(what).unwrap()).collect()
}

fn text(element: ElementRef<'_>) -> String {
    element.text().collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn headings(page: &Html) -> Vec<String> {
    select(page, "h2").into_iter().map(text).collect()
}

/// Reads a report and checks what holds of every one: complete, self-contained, all pictures there.
fn sound_page(run: &Path) -> Html {
    let source = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(source.len() < 2 << 20, "{} bytes", source.len());
    let page = Html::parse_document(&source);
    assert!(page.errors.is_empty(), "{:?}", page.errors);
    assert!(select(&page, "script, iframe, object, embed, [onload], [onclick]").is_empty());
    for (attribute, element) in ["src", "href", "srcset", "data"]
        .iter()
        .flat_map(|a| select(&page, &format!("[{a}]")).into_iter().map(move |e| (a, e)))
    {
        let target = element.value().attr(attribute).unwrap();
        let beside = element.value().name() == "a" && run.join(target).is_file();
        assert!(target.starts_with("data:") || beside, "{attribute}={target}");
    }
    let outside = source.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http:") && !outside.contains("https:") && !outside.contains("url("));
    for picture in select(&page, "img") {
        let uri = picture.value().attr("src").unwrap();
        let bytes = STANDARD.decode(uri.split_once(";base64,").unwrap().1).unwrap();
        image::load_from_memory(&bytes).unwrap();
        assert!(!picture.value().attr("alt").unwrap().is_empty());
    }
    let sections = select(&page, "section");
    assert!(!sections.is_empty());
    for section in sections {
        let heading = text(section.select(&Selector::parse("h2").unwrap()).next().unwrap());
        let content = Selector::parse("table, svg, img").unwrap();
        assert!(section.select(&content).next().is_some(), "nothing under {heading}");
    }
    for drawing in select(&page, "svg") {
        assert!(!drawing.html().contains("NaN") && !drawing.html().contains("inf"), "{}", drawing.html());
    }
    page
}

fn event_files(run: &Path) -> usize {
    let names = fs::read_dir(run).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n.starts_with("events.out.tfevents.")).count()
}

#[test]
fn a_report_tells_all_of_a_run() {
    let folder = photos();
    train(folder.path(), "run", &[]);
    let run = folder.path().join("run");
    let page = sound_page(&run);
    let all = [
        "Learning",
        "Answers",
        "Classes",
        "Thresholds",
        "Decisions",
        "Certainty",
        "Worst mistakes",
        "Least certain",
        "What decided",
        "What the network sees",
        "Data",
        "Speed",
        "Settings",
    ];
    assert_eq!(headings(&page), all);
    let words = text(page.root_element());
    for part in ["a <b>", "Validation accuracy", "95 %:", "1 files could not be read", "broken.png", "optimizer.name"] {
        assert!(words.contains(part), "{part:?} is missing");
    }
    let accuracy = text(select(&page, ".tile .big")[0]);
    let evaluation = ocellus(folder.path(), ["evaluate", "run", "--json", "--device", "cpu"]).output().unwrap();
    let evaluation: Value = serde_json::from_slice(&evaluation.stdout).unwrap();
    assert_eq!(accuracy, format!("{:.2} %", 100.0 * evaluation["metrics"]["accuracy"].as_f64().unwrap()));
    for drawing in ["curves.svg", "confusion.svg"] {
        let drawing = fs::read_to_string(run.join(drawing)).unwrap();
        assert!(drawing.starts_with("<svg xmlns=") && drawing.ends_with("</svg>"));
    }
    assert!(image::open(run.join("train_batch.png")).unwrap().width() > 100);
    assert_eq!(event_files(&run), 1);
}

#[test]
fn a_report_goes_on_with_its_run() {
    let folder = photos();
    train(folder.path(), "run", &[]);
    let run = folder.path().join("run");
    let resume = ["train", "--resume", "run", "--epochs", "3", "--device", "cpu", "--quiet"];
    ocellus(folder.path(), resume).assert().success();
    let page = sound_page(&run);
    assert!(select(&page, ".warning").is_empty());
    let tips: Vec<String> = select(&page, "svg circle title").into_iter().map(text).collect();
    assert!(tips.iter().any(|t| t.starts_with("training loss") && t.ends_with("at epoch 3")), "{tips:?}");
    assert_eq!(tips.iter().filter(|t| t.starts_with("validation loss")).count(), 3);
    assert_eq!(event_files(&run), 2);
    // It is written again from what the folder holds.
    fs::remove_file(run.join("report.html")).unwrap();
    ocellus(folder.path(), ["evaluate", "run", "--device", "cpu", "--quiet"]).assert().success();
    assert_eq!(headings(&sound_page(&run)), headings(&page));
    // Other pictures are not the run's own.
    fs::remove_file(run.join("report.html")).unwrap();
    ocellus(folder.path(), ["evaluate", "run", "photos", "--device", "cpu", "--quiet"]).assert().success();
    assert!(!run.join("report.html").exists());
}

#[test]
fn without_validation_a_report_has_what_there_is() {
    let folder = photos();
    train(folder.path(), "run", &["--val", "0"]);
    let page = sound_page(&folder.path().join("run"));
    assert_eq!(headings(&page), ["Learning", "What the network sees", "Data", "Speed", "Settings"]);
}

#[test]
fn runs_are_compared() {
    let folder = photos();
    train(folder.path(), "one", &[]);
    train(folder.path(), "two", &["--lr", "0.002", "--optimizer", "sgd"]);
    let output = ocellus(folder.path(), ["compare", "one", "two", "--json"]).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = found["settings"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"learning_rate") && names.contains(&"optimizer.name"), "{names:?}");
    assert!(!names.contains(&"seed") && !names.contains(&"epochs"));
    let runs = found["runs"].as_array().unwrap();
    let accuracy = |i: usize| runs[i]["val_metric"].as_f64().unwrap();
    let best = found["best"].as_u64().unwrap() as usize;
    assert!(accuracy(best) >= accuracy(1 - best));
    let output = ocellus(folder.path(), ["compare", "one", "two"]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.lines().any(|l| l.starts_with("learning_rate") && l.ends_with("0.002")), "{table}");
    assert_eq!(table.matches('*').count(), 1);
    ocellus(folder.path(), ["compare", "one"]).assert().code(2);
    ocellus(folder.path(), ["compare", "one", "photos"]).assert().code(1);
}

#[test]
fn a_browser_has_nothing_to_complain() {
    let found = |name: &&&str| Program::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let Some(browser) = names.iter().find(found) else {
        eprintln!("no Chromium here: the page was not opened");
        return;
    };
    let folder = photos();
    train(folder.path(), "run", &[]);
    let shot = folder.path().join("shot.png");
    let output = Program::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=800,3000"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("--screenshot={}", shot.display()))
        .arg(format!("file://{}", folder.path().join("run/report.html").display()))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(!log.contains("CONSOLE"), "{log}");
    let shot = image::open(shot).unwrap().into_rgb8();
    let colors: std::collections::BTreeSet<[u8; 3]> = shot.pixels().map(|p| p.0).collect();
    assert!(colors.len() > 100, "the page is as good as empty");
}
