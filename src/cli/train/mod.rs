//! `ocellus train`: settings from the command line, data, the run.

mod batch;
mod dashboard;
mod find_lr;
mod options;
mod record;
mod running;
mod sets;
mod settings;
mod tune;
mod watcher;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

pub(super) use find_lr::FindLr;
pub(super) use sets::{open_data, validation_part};
pub(super) use settings::{image_size, is_file, open_model, plain_settings, refuse_width, suggested};
pub(super) use tune::Tune;

use batch::BatchSize;
use options::TaskOptions;
use running::{Running, announce};
use sets::Sets;
use settings::{bytes, check_ranges};

use super::Common;
use super::trained::task_of;
use crate::data::{self, Canvas, GroupBy, LoaderOptions, Seed, Splits, Targets, Window};
use crate::device::{Device, Tuning};
use crate::error::{Error, Result};
use crate::interop::safetensors;
use crate::interop::weights::{self, Loaded};
use crate::nn::Model;
use crate::tasks::{self, Classifier, RunTask, with_task};
use crate::train::{Kept, Lock, LrScale, MemoryOptions, Progress, RunFolder, Session, Settings};

#[derive(Args, Clone)]
pub(super) struct Train {
    /// A folder of class folders (also under train/, val/, test/), a CSV of paths and labels, IDX or CIFAR files; without
    /// it, the sample set of handwritten digits.
    data: Option<PathBuf>,
    /// A network of the zoo, a model file, an ONNX network, or a network of Keras's (.keras, .json); without it, one that suits the size of the
    /// pictures, with augmentation, schedule and epochs to match.
    #[arg(long, value_name = "NAME|FILE")]
    model: Option<String>,
    /// So many times the network's usual number of channels, 0.5 for instance: for networks of the zoo that can be so.
    #[arg(long, value_name = "FACTOR")]
    width: Option<f64>,
    /// What to train for: classify, segment, detect, embed, autoencode or read; without it, what the data is for.
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Start from these weights instead of random ones: safetensors, a state dictionary of PyTorch (.pth, .pt) under
    /// torchvision's or timm's names, or Keras's (.keras, .h5); hf://OWNER/NAME fetches them. A last layer for other classes
    /// starts anew, as do layers at the end that are missing there. Pictures are normalised as they were for them, where that is
    /// known; for grey pictures the kernels of three colours are added up.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Leave layers or parameters of this name as they are; `*` stands for anything. May be repeated.
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// How often each picture is shown.
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Pictures in a step. auto: the largest power of two that fits the memory, up to 1024 and to ten steps an epoch.
    #[arg(long, value_name = "N|auto")]
    batch_size: Option<BatchSize>,
    /// Add up the gradients of this many batches before each step: a step is then of N times --batch-size pictures.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    accumulate: Option<u32>,
    /// Device memory to stay within, for instance 500M or 4G. Steps that need more are computed in parts.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory_limit: Option<u64>,
    /// Save memory: compute forward values again for the backward pass instead of keeping them.
    #[arg(long)]
    remat: bool,
    /// f32, or f16: keep intermediate values in half the memory, on GPUs that can.
    #[arg(long, value_name = "f32|f16")]
    precision: Option<String>,
    /// Learning rate.
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
    /// Multiply the learning rate of layers or parameters of this name by a factor; `*` stands for anything. May be repeated.
    #[arg(long, value_name = "PATTERN=FACTOR")]
    lr_scale: Vec<LrScale>,
    /// Keep a moving average of the weights, of which this share stays with each step (0.999, for instance), and validate, save
    /// and use that.
    #[arg(long, value_name = "SHARE")]
    ema: Option<f32>,
    /// sgd, adam, adamw or rmsprop.
    #[arg(long, value_name = "NAME")]
    optimizer: Option<String>,
    /// Momentum of sgd or rmsprop.
    #[arg(long, value_name = "SHARE")]
    momentum: Option<f32>,
    /// Nesterov's form of sgd's momentum.
    #[arg(long)]
    nesterov: bool,
    /// Weight decay, decoupled from the gradient.
    #[arg(long, value_name = "RATE")]
    weight_decay: Option<f32>,
    /// Scale gradients down to this global norm.
    #[arg(long, value_name = "NORM")]
    grad_clip: Option<f32>,
    /// constant, step, exponential, cosine or one-cycle.
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Epochs over which the learning rate rises at the start.
    #[arg(long, value_name = "EPOCHS")]
    warmup: Option<f64>,
    /// Share of the target spread over all classes.
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f32>,
    /// auto (rare classes count more), none, or a file of lines `class,weight`.
    #[arg(long, value_name = "auto|none|FILE")]
    class_weights: Option<String>,
    /// Height and width to which pictures are resized: N or HxW.
    #[arg(long, value_name = "N|HxW")]
    image_size: Option<String>,
    /// How grey values of more than 8 bits (PNG, TIFF, DICOM) become bytes: auto (from the 0.5th to the 99.5th percentile of each
    /// picture), full (all that so many bits can hold), file (as a DICOM file suggests), or LOW:HIGH, for instance -1000:400 in
    /// Hounsfield units.
    #[arg(long, value_name = "LOW:HIGH|auto|full|file", allow_hyphen_values = true)]
    window: Option<Window>,
    /// How bytes become numbers: unit (0 to 1), dataset (by the training set's mean and standard deviation), imagenet, symmetric (-1 to 1), or none.
    #[arg(long, value_name = "MODE")]
    normalize: Option<String>,
    /// none, light, standard, strong, randaugment, or a TOML file.
    #[arg(long, value_name = "PRESET|FILE")]
    augment: Option<String>,
    /// Mix images and their labels in pairs, in shares from Beta(ALPHA, ALPHA); 0.2 is usual.
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f32>,
    /// Paste a part of one image into another, with shares of the area from Beta(ALPHA, ALPHA); 1 is usual.
    #[arg(long, value_name = "ALPHA")]
    cutmix: Option<f32>,
    /// A share of the training pictures to hold out for validation (0: none), or a folder or file of others.
    #[arg(long, value_name = "FRACTION|DIR")]
    val: Option<String>,
    /// Keep pictures of one group, of one patient for instance, on one side of the split: a regular expression of paths below
    /// DATA, whose first part in brackets is the group. A CSV's column `patient` or `group` says so too.
    #[arg(long, value_name = "REGEX")]
    group_by: Option<GroupBy>,
    /// Pictures for a last evaluation.
    #[arg(long, value_name = "DIR")]
    test: Option<PathBuf>,
    /// Where to keep the run; must not exist.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    out: Option<PathBuf>,
    /// Keep the run in runs/NAME-N.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take settings from a run's config.toml; other options win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Go on with an interrupted run; without RUN, the newest in runs/. --epochs, --max-time, --lr, --grad-clip and
    /// --checkpoint-every may be other ones.
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["config", "out", "name", "data"])]
    resume: Option<PathBuf>,
    /// Stop after this many epochs without improvement.
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<u64>,
    /// Stop after this many steps.
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Stop after this time, for instance 30m or 2h, with what was learned by then; the learning rate comes to the end of its
    /// schedule in time. A search begins no more trials then.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    max_time: Option<Duration>,
    /// Keep the state this often within long epochs, for instance 30s or 10m; it is kept after each epoch in any case.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    checkpoint_every: Option<Duration>,
    /// Where decoded pictures are kept: ram, disk (for later runs too), none, or auto.
    #[arg(long, value_name = "PLACE")]
    cache: Option<String>,
    /// Threads that decode and put batches together.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// natural (each picture once an epoch) or balanced (each class equally often).
    #[arg(long, value_name = "MODE")]
    sampling: Option<String>,
    /// Show pictures in file order.
    #[arg(long)]
    no_shuffle: bool,
    /// Write every step's loss to steps.csv.
    #[arg(long)]
    log_steps: bool,
    /// In the end, scale probabilities by a temperature so that on the validation images 80 % sure is right 8 times of 10.
    #[arg(long)]
    calibrate: bool,
    /// Show curves on the whole screen while training; q stops and saves.
    #[arg(long)]
    ui: bool,
    #[command(flatten)]
    options: TaskOptions,
}

/// What pictures are brought to in a run that is yet to begin.
///
/// Errors: if network, classes and settings do not fit together.
fn canvas<T: RunTask>(settings: &Settings, model: &Model, classes: &[String]) -> Result<Canvas> {
    let normalization = data::Normalization { mean: vec![0.0; settings.channels], std: vec![1.0; settings.channels] };
    let (settings, model, classes) = (settings.clone(), model.clone(), classes.to_vec());
    Ok(T::of_run(&Kept { settings, model, classes, normalization })?.canvas())
}

impl Train {
    pub fn run(&self, common: &Common) -> Result<()> {
        super::catch_interrupts()?;
        with_task!(self.task()?.as_str(), T => self.run_as::<T>(common))
    }

    fn run_as<T: RunTask>(&self, common: &Common) -> Result<()> {
        let mut running: Running<T> = match &self.resume {
            Some(run) => self.resume(run, common)?,
            None => self.start(common)?,
        };
        match running.learn(None, self.ui, common) {
            Err(Error::Diverged { step, .. }) => Err(running.explain(step, common)?),
            outcome => outcome.and_then(|()| running.conclude(common)),
        }
    }

    /// What it is for: as asked for, else as it was in an earlier run, else what the data is for.
    fn task(&self) -> Result<String> {
        if let Some(run) = &self.resume {
            return task_of(&resumed(run)?);
        }
        let earlier = self.config.as_deref().map(RunFolder::settings).transpose()?.map(|s| s.task);
        match self.task.clone().or(earlier) {
            Some(task) => Ok(task),
            None => self.data.as_deref().map_or_else(|| Ok(Classifier::NAME), tasks::recognise).map(str::to_owned),
        }
    }

    fn start<T: RunTask>(&self, common: &Common) -> Result<Running<T>> {
        let (settings, splits) = self.resolve::<T>(common)?;
        RunFolder::expect_new(&self.out(&settings))?;
        let device = open_device(&settings, common)?;
        // A config.toml stands in its run's folder.
        let earlier_run = self.config.as_deref().and_then(Path::parent).and_then(|p| RunFolder::open(p).ok());
        earlier_run.map_or(Ok(()), |run| adopt(&device, &run, common))?;
        let splits = validation_part::<T>(splits, &settings)?;
        let model = self.model::<T>(&settings, splits.train.classes.len())?;
        // Everything that can be wrong with network and classes is found before a picture is decoded.
        let canvas = canvas::<T>(&settings, &model, &splits.train.classes)?;
        let sets = Sets::load::<T>(splits, canvas, &settings, common)?;
        if settings.calibrate && sets.val.is_none() {
            return Err(Error::config("--calibrate needs validation images: do without --val 0"));
        }
        let kept = self.kept::<T>(settings, model, &sets, &device)?;
        let initial = self.initial(&kept, common)?;
        let (session, bytes) = session::<T>(&kept, &device, sets.train.len())?;
        begin(&session, &kept, &initial)?;
        let moments = kept.settings.update().moments();
        let folder = RunFolder::create(self.out(&kept.settings), |folder| {
            folder.describe(&kept)?;
            folder.start_tables(T::METRIC, kept.settings.log_steps)?;
            folder.save_checkpoint(session.weights(), &device, moments, &Progress::default())
        })?;
        announce(&session, bytes, &kept, &folder, common);
        let lock = Lock::hold(folder.path())?;
        Ok(Running { session, sets, kept, folder, state: Progress::default(), _lock: lock })
    }

    /// Every setting, and the data as it stands.
    fn resolve<T: RunTask>(&self, common: &Common) -> Result<(Settings, Splits)> {
        let earlier = self.config.as_deref().map(RunFolder::settings).transpose()?;
        let data = self.data.clone().or_else(|| earlier.as_ref().and_then(|s| s.data.clone()));
        let earlier_options = earlier.as_ref().map(|s| s.options.clone()).unwrap_or_default();
        let size = self.image_size.as_deref().map(image_size).transpose()?;
        let options = self.options.table(T::NAME, earlier_options, size.or(earlier.as_ref().map(|s| s.image_size)))?;
        let splits = open_data::<T>(data.as_deref(), &options)?;
        let probe = splits.train.probe()?;
        let settings = self.settings::<T>(earlier, options, common, data, &splits.train, probe)?;
        Ok((settings, splits))
    }

    /// What the run folder will say.
    fn kept<T: RunTask>(&self, settings: Settings, model: Model, sets: &Sets, device: &Device) -> Result<Kept> {
        let mut kept = Kept {
            normalization: sets.train.normalization(settings.normalize),
            classes: sets.train.dataset().classes.clone(),
            model,
            settings,
        };
        if self.batch_size == Some(BatchSize::Auto) {
            kept.settings.batch_size = batch::largest::<T>(&kept, device, sets.train.len())?;
        }
        Ok(kept)
    }

    fn resume<T: RunTask>(&self, run: &Path, common: &Common) -> Result<Running<T>> {
        let folder = RunFolder::open(resumed(run)?)?;
        let lock = Lock::hold(folder.path())?;
        let mut kept = folder.read()?;
        let s = &mut kept.settings;
        s.epochs = self.epochs.unwrap_or(s.epochs);
        s.max_time = self.max_time.or(s.max_time);
        s.learning_rate = self.lr.unwrap_or(s.learning_rate);
        if self.grad_clip.is_some() {
            s.optimizer.set_clip_norm(self.grad_clip);
        }
        s.checkpoint_every = self.checkpoint_every.unwrap_or(s.checkpoint_every);
        check_ranges(s)?;
        let device = open_device(&kept.settings, common)?;
        adopt(&device, &folder, common)?;
        let splits = open_data::<T>(kept.settings.data.as_deref(), &kept.settings.options)?;
        let splits = validation_part::<T>(splits, &kept.settings)?;
        let sets = Sets::load::<T>(splits, T::of_run(&kept)?.canvas(), &kept.settings, common)?;
        if sets.train.dataset().classes != kept.classes {
            return Err(Error::format(folder.path(), "the data has other classes than when the run began"));
        }
        let (session, bytes) = session::<T>(&kept, &device, sets.train.len())?;
        let moments = kept.settings.update().moments();
        let state = folder.load_checkpoint(session.weights(), moments)?;
        folder.describe(&kept)?;
        announce(&session, bytes, &kept, &folder, common);
        common.say(format!("resuming after epoch {}, step {}", state.epoch, state.step));
        Ok(Running { session, sets, kept, folder, state, _lock: lock })
    }

    /// The weights to start from, by name.
    fn initial(&self, kept: &Kept, common: &Common) -> Result<safetensors::Tensors> {
        let fresh = kept.model.initialize(Seed(kept.settings.seed))?;
        let Some(path) = &kept.settings.init else { return Ok(fresh) };
        let Loaded { tensors, replaced, unexpected } = weights::load(path, &kept.model)?;
        if let [first, more @ ..] = replaced.as_slice() {
            let layers = match more.last() {
                None => format!("\"{first}\" is for other classes there, or missing: it starts"),
                Some(last) => {
                    format!("\"{first}\" to \"{last}\" ({} layers) are not there: they start", replaced.len())
                }
            };
            common.say(format!("init     {layers} anew"));
        }
        if !unexpected.is_empty() {
            common.say(format!("init     left out, as the network has no such: {}", unexpected.join(", ")));
        }
        Ok(fresh.into_iter().chain(tensors).collect())
    }

    fn out(&self, settings: &Settings) -> PathBuf {
        if let Some(out) = &self.out {
            return out.clone();
        }
        let stem = Path::new(&settings.model).file_stem().map(|s| s.to_string_lossy().into_owned());
        let name = self.name.clone().or(stem).unwrap_or_else(|| "run".into());
        RunFolder::next_free(Path::new("runs"), &name)
    }
}

/// Time for measuring the kernels of the costly ops when a network is first trained on a GPU.
const TUNING: Duration = Duration::from_secs(2);

fn open_device(settings: &Settings, common: &Common) -> Result<Device> {
    let device = common.open_device(&settings.device)?;
    device.tune(Tuning::Within(TUNING));
    Ok(device)
}

/// Takes the kernels of an earlier run.
fn adopt(device: &Device, run: &RunFolder, common: &Common) -> Result<()> {
    if let Some(choices) = run.choices()?
        && !device.adopt(&choices)
    {
        let (there, here) = (format!("{} ({})", choices.adapter, choices.driver), device.name());
        common.say(format!("note     the run was on {there}: on {here} results differ in the last bits"));
    }
    Ok(())
}

/// A session with all the memory it will need to train on `pictures`, and how many bytes that is.
fn session<T: RunTask>(kept: &Kept, device: &Device, pictures: usize) -> Result<(Session<T>, u64)> {
    let s = &kept.settings;
    let mut session = bare_session(kept, device, (s.accumulate > 1).then_some(s.batch_size))?;
    let step = step_size(s)?;
    let bytes = session.prepare(step.get().min(pictures), pictures % step)?;
    Ok((session, bytes))
}

/// A session before it has taken memory. `part`: most pictures computed at once.
fn bare_session<T: RunTask>(kept: &Kept, device: &Device, part: Option<usize>) -> Result<Session<T>> {
    let s = &kept.settings;
    let memory = MemoryOptions { part, limit: s.memory_limit, remat: s.remat, precision: s.precision };
    Session::new(T::of_run(kept)?, device, Some(s.update()), s.seed as u32)?.with_memory(memory)
}

/// The folder that --resume means.
fn resumed(run: &Path) -> Result<PathBuf> {
    if run.as_os_str().is_empty() { RunFolder::newest(Path::new("runs")) } else { Ok(run.to_owned()) }
}

/// Sets a session to where training begins.
fn begin<T: RunTask>(session: &Session<T>, kept: &Kept, initial: &safetensors::Tensors) -> Result<()> {
    session.weights().set(|name| initial.get(name))?;
    let layout = session.weights().parameters().clone();
    let names: Vec<&str> = layout.entries().iter().map(|entry| entry.name.as_str()).collect();
    let factors = LrScale::factors(&kept.settings.lr_scale, &names)?;
    session.begin(|name| names.iter().zip(&factors).find(|(n, _)| **n == name).map_or(1.0, |(_, factor)| *factor))
}

/// Pictures of a step.
fn step_size(s: &Settings) -> Result<NonZero<usize>> {
    NonZero::new(s.batch_size * s.accumulate).ok_or_else(|| Error::config("--batch-size is 0"))
}

/// How training pictures are shown.
fn loader_options(s: &Settings, targets: Option<Arc<dyn Targets>>) -> Result<LoaderOptions> {
    Ok(LoaderOptions {
        batch_size: step_size(s)?,
        shuffle: s.shuffle,
        sampling: s.sampling,
        augment: s.augment.clone(),
        targets,
        seed: Seed(s.seed),
        workers: s.workers.and_then(NonZero::new),
    })
}
