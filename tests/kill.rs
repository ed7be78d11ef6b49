//! A run that is killed, however often and whenever, loses nothing: resumed, it ends as if nothing had happened, to the last
//! bit.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use image::{Rgb, RgbImage};
use ocellus::interop::safetensors;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::Value;

/// All that a checkpoint must hold: parameters, running statistics, moments, the generator of dropout.
const MODEL: &str = r#"input = [16, 16, 3]
[[layer]]
type = "conv2d"
filters = 8
kernel = 3
[[layer]]
type = "batch_normalization"
[[layer]]
type = "activation"
activation = "relu"
[[layer]]
type = "flatten"
[[layer]]
type = "dropout"
rate = 0.3
[[layer]]
type = "dense"
units = 2
activation = "softmax"
"#;

const SEED: u64 = 20;

struct Place {
    folder: tempfile::TempDir,
    device: &'static str,
}

impl Place {
    /// Two classes of noise, which take several epochs to learn.
    fn new(device: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.toml"), MODEL).unwrap();
        for (k, class) in ["cat", "dog"].into_iter().enumerate() {
            let class = folder.path().join("photos").join(class);
            fs::create_dir_all(&class).unwrap();
            for i in 0..24_u32 {
                let byte = |x: u32, y: u32| ((x * 31 + y * 17 + i * 101 + k as u32 * 7) * 26_544 % 253) as u8;
                let picture = RgbImage::from_fn(16, 16, |x, y| Rgb([byte(x, y), byte(y, x), byte(x + y, y)]));
                picture.save(class.join(format!("{i:02}.png"))).unwrap();
            }
        }
        Self { folder, device }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn spawn(&self, args: &[&str]) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        Command::new(env!("CARGO_BIN_EXE_ocellus"))
            .current_dir(self.folder.path())
            .env("OCELLUS_CACHE_DIR", self.path("cache"))
            .args(args)
            .args(["--device", self.device])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Begins a run, or goes on with it.
    fn go_on(&self, run: &str) -> Child {
        if self.path(run).exists() {
            return self.spawn(&["train", "--resume", run]);
        }
        let mut args =
            vec!["train", "photos", "--model", "model.toml", "--out", run, "--epochs", "8", "--batch-size", "4"];
        args.extend(["--augment", "standard", "--schedule", "one-cycle", "--lr", "0.01", "--log-steps"]);
        args.extend(["--ema", "0.9", "--lr-scale", "dense=0.5"]);
        // After every step.
        args.extend(["--checkpoint-every", "1ms"]);
        self.spawn(&args)
    }

    fn finish(&self, mut child: Child) {
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}: {}", fs::read_to_string(self.path("log")).unwrap());
    }
}

/// When to kill.
#[derive(Debug)]
enum Moment {
    /// After so long.
    After(Duration),
    /// While the checkpoint is written for this time.
    Writing(usize),
    /// So long after the checkpoint was replaced for this time.
    Written(usize, Duration),
}

impl Moment {
    fn random(random: &mut Pcg64, start: Duration) -> Self {
        match random.random_range(0..3) {
            0 => Self::After(start.mul_f64(random.random_range(0.0..1.5))),
            1 => Self::Writing(random.random_range(1..12)),
            _ => Self::Written(random.random_range(1..12), Duration::from_micros(random.random_range(0..4000))),
        }
    }

    /// Waits for it; `false` if the process has ended before.
    fn wait(&self, child: &mut Child, run: &Path) -> bool {
        let (start, mut seen, mut last) = (Instant::now(), 0, None);
        loop {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            let checkpoint = run.join("checkpoint");
            let (now, wanted) = match self {
                Self::After(time) if start.elapsed() >= *time => return true,
                Self::After(_) => (None, 1),
                Self::Writing(n) => (unfinished(&checkpoint), *n),
                Self::Written(n, _) => (
                    fs::metadata(checkpoint.join("state.safetensors")).and_then(|m| m.modified()).ok().map(stamp),
                    *n + 1,
                ),
            };
            if now.is_some() && now != last {
                last = now;
                seen += 1;
            }
            if seen >= wanted {
                if let Self::Written(_, later) = self {
                    sleep(*later);
                }
                return true;
            }
            sleep(Duration::from_micros(50));
        }
    }
}

fn stamp(time: SystemTime) -> String {
    format!("{time:?}")
}

/// The name of a file that is being written.
fn unfinished(folder: &Path) -> Option<String> {
    let names = fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()));
    names.into_iter().find(|name| name.starts_with('.'))
}

/// The columns of a table that do not tell the time.
fn table(path: &Path, timeless: &[usize]) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    let columns = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        timeless.iter().map(|&i| cells[i].to_owned()).collect()
    };
    text.lines().map(columns).collect()
}

fn assert_same(one: &Path, other: &Path) {
    assert_eq!(
        table(&one.join("metrics.csv"), &[0, 1, 3, 4, 5, 6, 7]),
        table(&other.join("metrics.csv"), &[0, 1, 3, 4, 5, 6, 7])
    );
    assert_eq!(table(&one.join("steps.csv"), &[0, 1, 2]), table(&other.join("steps.csv"), &[0, 1, 2]));
    for weights in ["best.safetensors", "last.safetensors"] {
        assert!(fs::read(one.join(weights)).unwrap() == fs::read(other.join(weights)).unwrap(), "{weights} differs");
    }
    let state = |run: &Path| {
        let (arenas, texts) = safetensors::load_with(run.join("checkpoint/state.safetensors")).unwrap();
        let mut progress: Value = serde_json::from_str(&texts["progress"]).unwrap();
        progress.as_object_mut().unwrap().remove("seconds").expect("it tells the time");
        let bits: Vec<(String, Vec<u8>)> = arenas.iter().map(|(name, t)| (name.clone(), t.bytes().to_vec())).collect();
        (bits, progress)
    };
    let ((arenas, progress), (others, other_progress)) = (state(one), state(other));
    assert_eq!(arenas.len(), 6, "parameters, states, two moments of Adam, rates, average");
    assert!(arenas == others, "the arenas differ");
    assert_eq!(progress, other_progress);
    assert_eq!(unfinished(other), None);
    assert_eq!(unfinished(&other.join("checkpoint")), None);
}

fn killed_runs_end_like_an_unbroken_one(device: &'static str, wanted: usize) {
    let place = Place::new(device);
    let mut random = Pcg64::seed_from_u64(SEED);
    // The first one measures kernels, and remembers them for the others.
    let whole = place.path("whole");
    place.finish(place.go_on("whole"));
    let begun = Instant::now();
    place.finish(place.go_on("whole"));
    let start = begun.elapsed();
    let (mut kills, mut writing, mut runs) = (0, 0, 0);
    while kills < wanted {
        runs += 1;
        let name = format!("killed-{runs}");
        loop {
            let mut child = place.go_on(&name);
            let moment = Moment::random(&mut random, start);
            if kills == wanted || !moment.wait(&mut child, &place.path(&name)) {
                place.finish(child);
                break;
            }
            child.kill().unwrap();
            if child.wait().unwrap().code().is_some() {
                continue;
            }
            kills += 1;
            writing += usize::from(unfinished(&place.path(&name).join("checkpoint")).is_some());
        }
        assert_same(&whole, &place.path(&name));
    }
    eprintln!(
        "{device}: seed {SEED}, {kills} kills in {runs} runs, {writing} left a half-written checkpoint, {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(writing > 0, "no kill hit the writing of a checkpoint");
}

#[test]
fn on_the_cpu() {
    killed_runs_end_like_an_unbroken_one("cpu", 80);
}

#[test]
fn on_a_gpu() {
    killed_runs_end_like_an_unbroken_one("gpu", 20);
}
