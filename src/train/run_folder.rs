use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{EpochReport, Progress, Settings, StepResult};
use crate::atomic;
use crate::data::Normalization;
use crate::device::{Arena, Choices, Device, Weights};
use crate::error::{Error, Result};
use crate::interop::safetensors;
use crate::nn::Model;
use crate::tensor::Tensor;

/// What is kept of a run on disk. Files appear whole or not at all: each is written under another name, then renamed.
pub struct RunFolder {
    path: PathBuf,
}

/// A run's folder, or a search's, held for this process alone until it is dropped or the process ends, however it ends.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Holds a folder.
    ///
    /// Errors: if another process does, or the folder cannot be written to.
    pub fn hold(folder: &Path) -> Result<Self> {
        let path = folder.join("run.lock");
        let file = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::format(folder, "another process is at work on this run: wait for it, or end it"))
            }
            // Some network file systems know no locks.
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(Self { _file: file }),
            Err(TryLockError::Error(e)) => Err(Error::io("lock", &path, e)),
        }
    }
}

/// The one file of a checkpoint.
const CHECKPOINT: &str = "checkpoint/state.safetensors";
/// The one before it.
const EARLIER: &str = "checkpoint/earlier.safetensors";
/// In its texts: where the run stands, as JSON.
const PROGRESS: &str = "progress";

/// What a network needs besides its weights: the part of a run that prediction reads.
#[derive(Clone, Debug)]
pub struct Kept {
    /// How it was trained.
    pub settings: Settings,
    /// The network.
    pub model: Model,
    /// Class names in the order of its outputs.
    pub classes: Vec<String>,
    /// How bytes become numbers.
    pub normalization: Normalization,
}

/// `config.toml`: the settings, and what the data added to them.
#[derive(Serialize, serde::Deserialize)]
struct Config {
    #[serde(flatten)]
    settings: Settings,
    normalization: Normalization,
}

impl RunFolder {
    /// Makes a new folder, with all that `fill` puts into it or not at all.
    ///
    /// Errors: those of `fill`; if it exists already, or cannot be made.
    pub fn create(path: impl Into<PathBuf>, fill: impl FnOnce(&Self) -> Result<()>) -> Result<Self> {
        let path = path.into();
        Self::expect_new(&path)?;
        let failed = |e| Error::io("create", &path, e);
        let unfinished = atomic::begin_folder(&path).map_err(failed)?;
        fill(&Self { path: unfinished.path().to_owned() })?;
        atomic::finish_folder(unfinished, &path).map_err(failed)?;
        Ok(Self { path })
    }

    /// Refuses a path at which something stands: to be asked before the work that would be lost.
    ///
    /// Errors: if it exists already.
    pub fn expect_new(path: &Path) -> Result<()> {
        if path.exists() {
            let message = "exists already: choose another --out or --name, or continue it with --resume";
            return Err(Error::format(path, message));
        }
        Ok(())
    }

    /// The first of `runs/NAME-1`, `runs/NAME-2`, … which does not exist.
    pub fn next_free(parent: &Path, name: &str) -> PathBuf {
        (1..).map(|i| parent.join(format!("{name}-{i}"))).find(|p| !p.exists()).expect("numbers do not end")
    }

    /// Opens the folder of an earlier run.
    ///
    /// Errors: if it is not one.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        if !path.join("config.toml").is_file() {
            return Err(Error::format(path, "is not a run folder: it has no config.toml"));
        }
        Ok(Self { path })
    }

    /// The run in `parent` that was last written to.
    ///
    /// Errors: if there is none.
    pub fn newest(parent: &Path) -> Result<PathBuf> {
        let changed = |path: &PathBuf| fs::metadata(path.join(CHECKPOINT)).and_then(|m| m.modified()).ok();
        let entries = fs::read_dir(parent).map_err(|e| Error::io("read", parent, e))?;
        let paths = entries.filter_map(|e| Some(e.ok()?.path()));
        let runs = paths.filter(|p| !atomic::is_unfinished(p) && changed(p).is_some());
        runs.max_by_key(changed).ok_or_else(|| Error::format(parent, "holds no run with a checkpoint"))
    }

    /// The settings in a `config.toml`.
    ///
    /// Errors: if it cannot be read, or is none.
    pub fn settings(path: &Path) -> Result<Settings> {
        let text = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
        let config: Config = toml::from_str(&text).map_err(|e| Error::format(path, e.to_string()))?;
        Ok(config.settings)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what does not change during the run: `config.toml`, `model.toml`, `labels.txt`.
    pub fn describe(&self, kept: &Kept) -> Result<()> {
        let config = Config { settings: kept.settings.clone(), normalization: kept.normalization.clone() };
        let text = toml::to_string(&config).map_err(|e| Error::config(format!("the settings do not fit TOML: {e}")))?;
        self.write("config.toml", text.as_bytes())?;
        self.write("model.toml", kept.model.to_toml()?.as_bytes())?;
        for path in kept.model.files() {
            let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
            self.write(&path.file_name().unwrap_or_default().to_string_lossy(), &bytes)?;
        }
        self.write("labels.txt", (kept.classes.join("\n") + "\n").as_bytes())
    }

    /// Reads it back.
    ///
    /// Errors: if a file is missing or damaged.
    pub fn read(&self) -> Result<Kept> {
        let Config { settings, normalization } = self.parse("config.toml")?;
        let model = Model::open(self.path.join("model.toml"))?;
        let classes = self.text("labels.txt")?.lines().map(str::to_owned).collect();
        Ok(Kept { settings, model, classes, normalization })
    }

    /// Writes `kernels.toml`: which kernels the run has taken on its GPU.
    fn save_choices(&self, device: &Device) -> Result<()> {
        let Some(choices) = device.choices() else { return Ok(()) };
        let text = toml::to_string(&choices).map_err(|e| Error::config(format!("the kernels do not fit TOML: {e}")))?;
        self.write("kernels.toml", text.as_bytes())
    }

    /// Which kernels the run took; `None` if it ran on the CPU, or has not begun.
    ///
    /// Errors: if the file is damaged.
    pub fn choices(&self) -> Result<Option<Choices>> {
        if self.path.join("kernels.toml").exists() { self.parse("kernels.toml").map(Some) } else { Ok(None) }
    }

    /// Starts `metrics.csv`, and `steps.csv` if steps are logged.
    pub fn start_tables(&self, metric: &str, log_steps: bool) -> Result<()> {
        let header = format!("epoch,step,seconds,lr,train_loss,train_{metric},val_loss,val_{metric},images_per_s\n");
        self.write("metrics.csv", header.as_bytes())?;
        if log_steps { self.write("steps.csv", b"step,loss,lr\n") } else { Ok(()) }
    }

    /// Drops rows that a run to be resumed will write again.
    fn trim_tables(&self, progress: &Progress) -> Result<()> {
        self.trim("metrics.csv", progress.epoch)?;
        if self.path.join("steps.csv").exists() { self.trim("steps.csv", progress.step) } else { Ok(()) }
    }

    /// Keeps the header and the rows whose first number is at most `last`; not a row that a killed writer began.
    fn trim(&self, name: &str, last: u64) -> Result<()> {
        let text = self.text(name)?;
        let number = |line: &str| line.split(',').next().and_then(|n| n.parse::<u64>().ok());
        let keep = |line: &&str| line.ends_with('\n') && number(line).is_none_or(|n| n <= last);
        let kept: String = text.split_inclusive('\n').filter(keep).collect();
        self.write(name, kept.as_bytes())
    }

    /// Adds an epoch to `metrics.csv`.
    pub fn log_epoch(&self, report: &EpochReport) -> Result<()> {
        let EpochReport { epoch, step, seconds, learning_rate, train, val, images_per_s, .. } = report;
        let number = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
        let (val_loss, val_metric) = (number(val.map(|v| v.loss)), number(val.map(|v| v.metric)));
        let train_metric = number(Some(train.metric).filter(|m| !m.is_nan()));
        let line = format!(
            "{epoch},{step},{seconds:.3},{learning_rate},{},{train_metric},{val_loss},{val_metric},{images_per_s:.1}\n",
            train.loss
        );
        self.append("metrics.csv", &line)
    }

    /// Adds steps to `steps.csv`.
    pub fn log_steps(&self, steps: &[(StepResult, f64)]) -> Result<()> {
        let line = |(r, rate): &(StepResult, f64)| format!("{},{:.8e},{rate}\n", r.step, r.loss);
        self.append("steps.csv", &steps.iter().map(line).collect::<String>())
    }

    /// Writes weights to `NAME.safetensors`.
    pub fn save_weights(&self, name: &str, tensors: &[(String, Tensor)]) -> Result<()> {
        let path = self.path.join(format!("{name}.safetensors"));
        safetensors::save(path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))
    }

    /// Keeps everything that a bit-exact continuation needs in one file, so that it is replaced at once: the arenas, and
    /// where the run stands. Kernels chosen on the way are kept before, in `kernels.toml`.
    pub fn save_checkpoint(
        &self,
        weights: &Weights,
        device: &Device,
        moments: usize,
        progress: &Progress,
    ) -> Result<()> {
        self.save_choices(device)?;
        let arenas = arenas(moments)
            .map(|(name, arena)| {
                let values = weights.read(arena)?;
                Ok((name, Tensor::new([values.len()], values)?))
            })
            .collect::<Result<Vec<_>>>()?;
        let path = self.path.join(CHECKPOINT);
        let folder = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        let text = serde_json::to_string(progress).map_err(|e| Error::config(format!("progress: {e}")))?;
        let texts = safetensors::Texts::from([(PROGRESS.to_owned(), text)]);
        safetensors::save_with(path, arenas.iter().map(|(n, t)| (n.as_str(), t)), texts)
    }

    /// Restores the checkpoint: the weights, and the tables as they were then. What a killed process has left half-written
    /// is removed.
    ///
    /// Errors: if there is none, or it belongs to another network.
    pub fn load_checkpoint(&self, weights: &Weights, moments: usize) -> Result<Progress> {
        let path = self.path.join(CHECKPOINT);
        for folder in [Some(self.path()), path.parent()].into_iter().flatten() {
            atomic::sweep(folder).map_err(|e| Error::io("clean", folder, e))?;
        }
        let (tensors, texts) = safetensors::load_with(&path)?;
        for (name, arena) in arenas(moments) {
            let len = weights.read(arena)?.len();
            match tensors.get(&name) {
                Some(t) if t.shape().elements() == len => weights.write(arena, t.f32()),
                _ => return Err(Error::format(&path, format!("\"{name}\" is missing or of another size than {len}"))),
            }
        }
        let text = texts.get(PROGRESS).ok_or_else(|| Error::format(&path, "does not say where the run stands"))?;
        let progress = serde_json::from_str(text).map_err(|e| Error::format(&path, e.to_string()))?;
        self.trim_tables(&progress)?;
        Ok(progress)
    }

    /// Keeps the checkpoint beside the one to be saved next: only the steps that follow show what that one's weights are worth.
    ///
    /// Errors: if it cannot be kept.
    pub fn keep_earlier(&self) -> Result<()> {
        let [newest, earlier] = [CHECKPOINT, EARLIER].map(|name| self.path.join(name));
        if earlier.exists() {
            fs::remove_file(&earlier).map_err(|e| Error::io("remove", &earlier, e))?;
        }
        // Some file systems know no links.
        let kept = fs::hard_link(&newest, &earlier).or_else(|_| fs::copy(&newest, &earlier).map(drop));
        kept.map_err(|e| Error::io("write", &earlier, e))
    }

    /// Puts the checkpoint before in the place of the newest; `false` if there is none.
    ///
    /// Errors: if it cannot be renamed.
    pub fn go_back(&self) -> Result<bool> {
        let earlier = self.path.join(EARLIER);
        if !earlier.exists() {
            return Ok(false);
        }
        fs::rename(&earlier, self.path.join(CHECKPOINT)).map_err(|e| Error::io("rename", &earlier, e))?;
        Ok(true)
    }

    fn text(&self, name: &str) -> Result<String> {
        let path = self.path.join(name);
        fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))
    }

    fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        toml::from_str(&self.text(name)?).map_err(|e| Error::format(self.path.join(name), e.to_string()))
    }

    /// Writes a file of the run, whole or not at all.
    ///
    /// Errors: if it cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        atomic::write(&path, bytes).map_err(|e| Error::io("write", &path, e))
    }

    fn append(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        let open = File::options().append(true).create(true).open(&path);
        let append = |mut file: File| {
            file.write_all(text.as_bytes())?;
            file.sync_data()
        };
        open.and_then(append).map_err(|e| Error::io("write", &path, e))
    }
}

/// The arenas of a checkpoint under their names.
fn arenas(moments: usize) -> impl Iterator<Item = (String, Arena)> {
    let fixed = [("parameters".to_owned(), Arena::Parameters), ("states".to_owned(), Arena::States)];
    fixed.into_iter().chain((0..moments).map(|i| (format!("moment_{i}"), Arena::Moment(i))))
}
