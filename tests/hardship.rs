//! What may befall a run from outside: a full disk, folders that may not be written to; and memory, which must not grow however
//! long it takes.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use image::{Rgb, RgbImage};
use sysinfo::{Pid, ProcessesToUpdate, System};
use tempfile::TempDir;

/// 50,000 weights, so that a checkpoint has 600 KB.
const MODEL: &str = r#"input = [16, 16, 3]
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 64
activation = "relu"
[[layer]]
type = "dense"
units = 2
activation = "softmax"
"#;

/// Two classes of `n` pictures each.
fn place(n: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("model.toml"), MODEL).unwrap();
    for (k, class) in ["cat", "dog"].into_iter().enumerate() {
        let class = folder.path().join("photos").join(class);
        fs::create_dir_all(&class).unwrap();
        for i in 0..n {
            let byte = |x: u32, y: u32| ((x * 31 + y * 17 + i * 101 + k as u32 * 7) * 26_544 % 253) as u8;
            let picture = RgbImage::from_fn(16, 16, |x, y| Rgb([byte(x, y), byte(y, x), byte(x + y, y)]));
            picture.save(class.join(format!("{i:03}.png"))).unwrap();
        }
    }
    folder
}

/// A new run, or an earlier one that goes on to so many epochs.
fn arguments(folder: &Path, run: &str, epochs: &str) -> Vec<String> {
    let given: &[&str] = match folder.join(run).exists() {
        true => &["train", "--resume", run, "--epochs", epochs],
        false => &["train", "photos", "--model", "model.toml", "--batch-size", "8", "--out", run, "--epochs", epochs],
    };
    let fixed = ["--device", "cpu", "--quiet"];
    given.iter().chain(&fixed).map(|&argument| argument.to_owned()).collect()
}

fn ocellus(folder: &Path, prefix: &[&str]) -> Command {
    let binary = env!("CARGO_BIN_EXE_ocellus");
    let mut command = match prefix {
        [] => Command::new(binary),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary);
            command
        }
    };
    command.current_dir(folder).env("OCELLUS_CACHE_DIR", folder.join("cache")).stdout(Stdio::null());
    command
}

fn train(folder: &Path, run: &str, epochs: &str) {
    let output = ocellus(folder, &[]).args(arguments(folder, run, epochs)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// One clear error, exit code 1.
fn demand_error(output: &Output, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{text}");
    assert!(parts.iter().all(|part| text.contains(part)) && !text.contains("panicked"), "{text}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Files may have so many kilobytes: to the process, a write beyond is like one to a full disk.
const SMALL_DISK: &str = r#"trap "" XFSZ; ulimit -f $((2 * $0)); exec "$@""#;

#[test]
fn a_full_disk_ends_a_run_with_an_error_and_loses_nothing() {
    let place = place(24);
    let folder = place.path();
    train(folder, "whole", "4");
    train(folder, "begun", "2");
    let weights = |run: &str| fs::read(folder.join(run).join("last.safetensors")).unwrap();
    for kilobytes in ["0", "1", "3", "10", "150", "190", "400", "500"] {
        let run = format!("run-{kilobytes}");
        copy(&folder.join("begun"), &folder.join(&run));
        let full = ["sh", "-c", SMALL_DISK, kilobytes];
        let output = ocellus(folder, &full).args(arguments(folder, &run, "4")).output().unwrap();
        demand_error(&output, &["could not", &run]);
        train(folder, &run, "4");
        assert!(weights(&run) == weights("whole"), "{kilobytes} KB: other weights");
        let rows = fs::read_to_string(folder.join(&run).join("metrics.csv")).unwrap();
        assert_eq!(rows.lines().count(), 5, "{rows}");
        let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
        assert!(!files(&folder.join(&run)).iter().any(hidden), "{kilobytes} KB: something was left half-written");
    }
}

#[test]
fn a_run_that_cannot_begin_leaves_nothing() {
    let place = place(24);
    let folder = place.path();
    train(folder, "warm", "1");
    let before = files(folder);
    for kilobytes in ["0", "3", "100"] {
        let full = ["sh", "-c", SMALL_DISK, kilobytes];
        let output = ocellus(folder, &full).args(arguments(folder, "new", "4")).output().unwrap();
        demand_error(&output, &["could not"]);
        assert_eq!(files(folder), before, "{kilobytes} KB");
    }
}

/// As somebody whom permissions bind, unlike root.
fn somebody() -> &'static [&'static str] {
    let root = String::from_utf8_lossy(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
    if root { &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] } else { &[] }
}

#[test]
fn a_folder_that_may_not_be_written_to_is_one_error() {
    let place = place(24);
    let folder = place.path();
    train(folder, "run", "1");
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let binary = folder.join("ocellus");
    fs::copy(env!("CARGO_BIN_EXE_ocellus"), &binary).unwrap();
    let as_somebody = |run: &str| {
        let mut words: Vec<String> = somebody().iter().map(|&word| word.to_owned()).collect();
        words.push(binary.to_str().unwrap().to_owned());
        words.extend(arguments(folder, run, "2"));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(folder).env("OCELLUS_CACHE_DIR", folder.join("cache"));
        command.output().unwrap()
    };
    let checkpoint = || fs::read(folder.join("run/checkpoint/state.safetensors")).unwrap();
    let before = checkpoint();
    mode(folder, 0o555);
    for path in ["run", "run/checkpoint"] {
        mode(&folder.join(path), 0o555);
    }
    demand_error(&as_somebody("new"), &["could not create", "new"]);
    demand_error(&as_somebody("run"), &["could not", "run"]);
    for path in ["", "run", "run/checkpoint"] {
        mode(&folder.join(path), 0o755);
    }
    assert!(!folder.join("new").exists());
    assert_eq!(checkpoint(), before);
    train(folder, "run", "2");
}

/// Steps that a run has logged.
fn steps(folder: &Path) -> usize {
    fs::read_to_string(folder.join("run/steps.csv")).map_or(0, |text| text.lines().count().saturating_sub(1))
}

/// Bytes of memory that a process holds in each of the stretches of steps.
fn memory_while_training(folder: &Path, device: &str, stretches: [std::ops::Range<usize>; 2]) -> [u64; 2] {
    let fixed = ["train", "photos", "--model", "model.toml", "--batch-size", "4", "--out", "run", "--epochs", "100"];
    let options = ["--max-steps", "10000", "--log-steps", "--augment", "standard", "--quiet", "--device", device];
    let mut child = ocellus(folder, &[]).args(fixed).args(options).spawn().unwrap();
    let (mut system, pid) = (System::new(), Pid::from_u32(child.id()));
    let mut met = [const { Vec::new() }; 2];
    while child.try_wait().unwrap().is_none() {
        system.refresh_processes(ProcessesToUpdate::Some(&[pid]), true);
        let now = steps(folder);
        for (met, stretch) in met.iter_mut().zip(&stretches) {
            met.extend(system.process(pid).map(|process| process.memory()).filter(|_| stretch.contains(&now)));
        }
        sleep(Duration::from_millis(5));
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(steps(folder), 10_000);
    met.map(|mut met| {
        met.sort_unstable();
        assert!(met.len() > 2, "training was too fast to look at");
        met[met.len() / 2]
    })
}

#[test]
fn memory_stays_flat_over_ten_thousand_steps() {
    for device in ["cpu", "gpu"] {
        let place = place(400);
        let [early, late] = memory_while_training(place.path(), device, [1_000..3_000, 8_000..10_000]);
        let growth = late.saturating_sub(early);
        println!("{device}: {early} bytes early, {late} late");
        assert!(growth < 2 << 20, "{device}: from {early} to {late} bytes");
    }
}
