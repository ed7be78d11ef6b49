use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::{Common, evaluate, progress};
use crate::data::{
    self, Augment, Cache, Dataset, Images, Loader, LoaderOptions, Normalize, Part, Probe, Seed, Splits, open_labelled,
};
use crate::device::{Device, Tuning};
use crate::error::{Error, Result};
use crate::interop::safetensors;
use crate::nn::{Model, zoo};
use crate::tasks::classify::Weighting;
use crate::tasks::{Classifier, Evaluation};
use crate::train::{
    EpochReport, Kept, Observer, Optimizer, Plan, Progress, RunFolder, Schedule, Session, Settings, StepOf, StepResult,
    Task, fit,
};

#[derive(Args)]
pub(super) struct Train {
    /// A folder of class folders (also under train/, val/, test/), a CSV of paths and labels, IDX or CIFAR files; without
    /// it, the sample set of handwritten digits.
    data: Option<PathBuf>,
    /// A network of the zoo, or a model file; without it, one that suits the size of the pictures, with augmentation,
    /// schedule and epochs to match.
    #[arg(long, value_name = "NAME|FILE")]
    model: Option<String>,
    /// What to train for; so far, classify.
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Start from these weights instead of random ones.
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Leave layers or parameters of this name as they are; `*` stands for anything. May be repeated.
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// How often each picture is shown.
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Pictures in a step.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// Learning rate.
    #[arg(long, value_name = "RATE")]
    lr: Option<f64>,
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
    /// unit (0 to 1), dataset (by the training set's mean and standard deviation), imagenet, or none.
    #[arg(long, value_name = "MODE")]
    normalize: Option<String>,
    /// none, light, standard, strong, or a TOML file.
    #[arg(long, value_name = "PRESET|FILE")]
    augment: Option<String>,
    /// A share of the training pictures to hold out for validation (0: none), or a folder or file of others.
    #[arg(long, value_name = "FRACTION|DIR")]
    val: Option<String>,
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
    /// Go on with an interrupted run; without RUN, the newest in runs/.
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["config", "out", "name", "data"])]
    resume: Option<PathBuf>,
    /// Stop after this many epochs without improvement.
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<u64>,
    /// Stop after this many steps.
    #[arg(long, value_name = "N")]
    max_steps: Option<u64>,
    /// Where decoded pictures are kept: ram, disk (for later runs too), none, or auto.
    #[arg(long, value_name = "PLACE")]
    cache: Option<String>,
    /// Threads that decode and put batches together.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// Show pictures in file order.
    #[arg(long)]
    no_shuffle: bool,
    /// Write every step's loss to steps.csv.
    #[arg(long)]
    log_steps: bool,
}

/// The bundled digits, so that training works wherever the program is.
const SAMPLE: [(&str, &[u8]); 4] = [
    ("train-images-idx3-ubyte.gz", include_bytes!("../../samples/mnist/train-images-idx3-ubyte.gz")),
    ("train-labels-idx1-ubyte.gz", include_bytes!("../../samples/mnist/train-labels-idx1-ubyte.gz")),
    ("t10k-images-idx3-ubyte.gz", include_bytes!("../../samples/mnist/t10k-images-idx3-ubyte.gz")),
    ("t10k-labels-idx1-ubyte.gz", include_bytes!("../../samples/mnist/t10k-labels-idx1-ubyte.gz")),
];

/// The data at `path`, or the sample set.
pub(super) fn open_data(path: Option<&Path>) -> Result<Splits> {
    if let Some(path) = path {
        return data::open(path);
    }
    // IDX files are read whole, so the folder need not outlive this.
    let folder = tempfile::tempdir().map_err(|e| Error::io("create", std::env::temp_dir(), e))?;
    for (name, bytes) in SAMPLE {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).map_err(|e| Error::io("write", &path, e))?;
    }
    let mut splits = data::open(folder.path())?;
    for part in [&mut splits.train, &mut splits.val, &mut splits.test] {
        part.root = "the bundled sample set (MNIST)".into();
    }
    Ok(splits)
}

/// Gives the data the validation part that the settings ask for.
pub(super) fn validation_part(mut splits: Splits, settings: &Settings) -> Result<Splits> {
    if let Some(path) = &settings.val {
        splits.val = open_labelled(path, Part::Val, &splits.train.classes)?;
    } else if settings.val_fraction == 0.0 {
        splits.val.samples.clear();
    }
    if let Some(path) = &settings.test {
        splits.test = open_labelled(path, Part::Test, &splits.train.classes)?;
    }
    splits.split(settings.val_fraction, Seed(settings.seed))
}

impl Train {
    pub fn run(&self, common: &Common) -> Result<()> {
        super::catch_interrupts()?;
        match &self.resume {
            Some(run) => self.resume(run, common),
            None => self.start(common),
        }
    }

    fn start(&self, common: &Common) -> Result<()> {
        let earlier = self.config.as_deref().map(RunFolder::settings).transpose()?;
        let data = self.data.clone().or_else(|| earlier.as_ref().and_then(|s| s.data.clone()));
        let splits = open_data(data.as_deref())?;
        let probe = splits.train.probe()?;
        let settings = self.settings(earlier, common, data, &splits.train, probe)?;
        RunFolder::expect_new(&self.out(&settings))?;
        let device = open_device(&settings, common)?;
        // A config.toml stands in its run's folder.
        let earlier_run = self.config.as_deref().and_then(Path::parent).and_then(|p| RunFolder::open(p).ok());
        earlier_run.map_or(Ok(()), |run| adopt(&device, &run, common))?;
        let splits = validation_part(splits, &settings)?;
        let model = self.model(&settings, splits.train.classes.len())?;
        // Everything that can be wrong with network and classes is found before a picture is decoded.
        let placeholder = data::Normalization { mean: vec![0.0; settings.channels], std: vec![1.0; settings.channels] };
        Classifier::new(model.clone(), splits.train.classes.clone(), placeholder)?;
        let sets = Sets::load(splits, &settings, common)?;
        let kept = Kept {
            normalization: sets.train.normalization(settings.normalize),
            classes: sets.train.dataset().classes.clone(),
            model,
            settings,
        };
        let initial = self.initial(&kept)?;
        let folder = RunFolder::create(self.out(&kept.settings))?;
        folder.describe(&kept)?;
        folder.start_tables(Classifier::METRIC, kept.settings.log_steps)?;
        let session = session(&kept, &device)?;
        session.weights().set(|name| initial.get(name))?;
        train(session, &sets, &kept, &folder, Progress::default(), common)
    }

    fn resume(&self, run: &Path, common: &Common) -> Result<()> {
        let path = if run.as_os_str().is_empty() { RunFolder::newest(Path::new("runs"))? } else { run.to_owned() };
        let folder = RunFolder::open(path)?;
        let mut kept = folder.read()?;
        if let Some(epochs) = self.epochs {
            kept.settings.epochs = epochs;
        }
        let device = open_device(&kept.settings, common)?;
        adopt(&device, &folder, common)?;
        let splits = validation_part(open_data(kept.settings.data.as_deref())?, &kept.settings)?;
        let sets = Sets::load(splits, &kept.settings, common)?;
        if sets.train.dataset().classes != kept.classes {
            return Err(Error::format(folder.path(), "the data has other classes than when the run began"));
        }
        let session = session(&kept, &device)?;
        let moments = kept.settings.optimizer.update().moments();
        let progress = folder.load_checkpoint(session.weights(), moments)?;
        folder.trim_tables(&progress)?;
        common.say(format!("resuming after epoch {}, step {}", progress.epoch, progress.step));
        train(session, &sets, &kept, &folder, progress, common)
    }

    /// Every setting: from the command line, else an earlier run, else the default.
    fn settings(
        &self,
        earlier: Option<Settings>,
        common: &Common,
        data: Option<PathBuf>,
        train: &Dataset,
        probe: Probe,
    ) -> Result<Settings> {
        let mut s = match earlier {
            Some(settings) => settings,
            None if self.model.is_some() => self.defaults(probe)?,
            None if data.is_none() => self.for_digits(probe)?,
            None => self.for_pictures(probe, train.len())?,
        };
        s.data = data.map(|p| p.canonicalize().unwrap_or(p));
        if let Some(task) = &self.task {
            s.task.clone_from(task);
        }
        if s.task != "classify" {
            return Err(Error::config(format!("task \"{}\" is not known: there is classify", s.task)));
        }
        if let Some(model) = &self.model {
            s.model.clone_from(model);
        }
        if let Some(size) = &self.image_size {
            s.image_size = image_size(size)?;
        }
        s.init = self.init.clone().or(s.init);
        if !self.freeze.is_empty() {
            s.freeze.clone_from(&self.freeze);
        }
        s.epochs = self.epochs.unwrap_or(s.epochs);
        s.batch_size = self.batch_size.map_or(s.batch_size, |n| n as usize);
        self.set_optimizer(&mut s)?;
        s.schedule = self.schedule.as_deref().map_or(Ok(s.schedule), str::parse::<Schedule>)?;
        s.warmup = self.warmup.unwrap_or(s.warmup);
        s.label_smoothing = self.label_smoothing.unwrap_or(s.label_smoothing);
        if let Some(text) = &self.class_weights {
            s.class_weights = class_weights(text, train)?;
        }
        s.normalize = self.normalize.as_deref().map_or(Ok(s.normalize), str::parse::<Normalize>)?;
        s.augment = self.augment.as_deref().map_or(Ok(s.augment), str::parse::<Augment>)?;
        if let Some(val) = &self.val {
            (s.val_fraction, s.val) = match val.parse::<f64>() {
                Ok(fraction) => (fraction, None),
                Err(_) => (s.val_fraction, Some(PathBuf::from(val))),
            };
        }
        s.test = self.test.clone().or(s.test);
        s.patience = self.patience.or(s.patience);
        s.max_steps = self.max_steps.or(s.max_steps);
        s.cache = self.cache.as_deref().map_or(Ok(s.cache), str::parse::<Cache>)?;
        s.shuffle &= !self.no_shuffle;
        s.log_steps |= self.log_steps;
        s.workers = self.workers.map(usize::from).or(s.workers);
        s.seed = common.seed.unwrap_or(s.seed);
        if common.device != "auto" {
            s.device.clone_from(&common.device);
        }
        check_ranges(&s)?;
        Ok(s)
    }

    /// What suits the bundled digits: a good result in half a minute on two cores.
    fn for_digits(&self, probe: Probe) -> Result<Settings> {
        Ok(Settings {
            model: "lenet".into(),
            image_size: [28, 28],
            epochs: 20,
            learning_rate: 0.002,
            schedule: Schedule::Cosine,
            augment: Augment::light(),
            ..self.defaults(probe)?
        })
    }

    /// What suits most pictures: where the network is ours to choose, so is how it is trained. Few pictures are shown more
    /// often; colour ones, which are photographs as a rule, are mirrored too.
    fn for_pictures(&self, probe: Probe, pictures: usize) -> Result<Settings> {
        const STEPS: u64 = 6000;
        let defaults = self.defaults(probe)?;
        let steps_per_epoch = pictures.div_ceil(defaults.batch_size).max(1) as u64;
        Ok(Settings {
            epochs: (STEPS / steps_per_epoch).clamp(10, 60),
            schedule: Schedule::Cosine,
            augment: if probe.channels == 3 { Augment::standard() } else { Augment::light() },
            ..defaults
        })
    }

    /// Keras's defaults: a constant learning rate, pictures as they are.
    fn defaults(&self, probe: Probe) -> Result<Settings> {
        let model = self.model.clone();
        let from_file = model.as_deref().filter(|m| is_file(m)).map(Model::open).transpose()?;
        let default_size = match (&from_file, model.as_deref()) {
            (Some(file), _) => [file.input[0], file.input[1]],
            (None, Some(name)) => zoo::default_size(name)?.or(probe.size).unwrap_or([64, 64]),
            (None, None) => probe.size.filter(|s| s.iter().all(|&d| d <= 96)).unwrap_or([64, 64]),
        };
        let small = default_size.iter().all(|&d| d < 96);
        Ok(Settings {
            data: None,
            task: "classify".into(),
            model: model.unwrap_or_else(|| if small { "vgg-small" } else { "resnet18" }.into()),
            image_size: default_size,
            channels: from_file.map_or(probe.channels, |m| m.input[2]),
            normalize: Normalize::default(),
            init: None,
            freeze: Vec::new(),
            epochs: 10,
            batch_size: 32,
            learning_rate: 0.0,
            schedule: Schedule::default(),
            warmup: 0.0,
            label_smoothing: 0.0,
            class_weights: None,
            val_fraction: 0.1,
            val: None,
            test: None,
            patience: None,
            max_steps: None,
            shuffle: true,
            log_steps: false,
            cache: Cache::default(),
            workers: None,
            seed: 0,
            device: "auto".into(),
            optimizer: Optimizer::named("adam")?,
            augment: Augment::default(),
        })
    }

    fn set_optimizer(&self, s: &mut Settings) -> Result<()> {
        if let Some(name) = &self.optimizer {
            s.optimizer = Optimizer::named(name)?;
            s.learning_rate = 0.0;
        }
        if let Some(momentum) = self.momentum {
            s.optimizer.set_momentum(momentum)?;
        }
        if self.nesterov {
            s.optimizer.set_nesterov()?;
        }
        if let Some(decay) = self.weight_decay {
            s.optimizer.set_weight_decay(decay);
        }
        if self.grad_clip.is_some() {
            s.optimizer.set_clip_norm(self.grad_clip);
        }
        if let Some(rate) = self.lr {
            s.learning_rate = rate;
        } else if s.learning_rate == 0.0 {
            s.learning_rate = s.optimizer.default_learning_rate();
        }
        Ok(())
    }

    fn model(&self, settings: &Settings, classes: usize) -> Result<Model> {
        let [h, w] = settings.image_size;
        let input = [h, w, settings.channels];
        let model = if is_file(&settings.model) {
            let mut model = Model::open(&settings.model)?;
            model.input = input;
            model
        } else {
            zoo::build(&settings.model, input, classes)?
        };
        model.freeze(&settings.freeze)
    }

    /// The weights to start from, by name.
    fn initial(&self, kept: &Kept) -> Result<safetensors::Tensors> {
        let fresh = kept.model.initialize(Seed(kept.settings.seed))?;
        let Some(path) = &kept.settings.init else { return Ok(fresh) };
        let given = safetensors::load(path)?;
        safetensors::expect(path, &given, &kept.model.tensors()?)?;
        Ok(given)
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

pub(super) fn is_file(model: &str) -> bool {
    Path::new(model).extension().is_some_and(|e| e == "toml") || model.contains(std::path::MAIN_SEPARATOR)
}

pub(super) fn image_size(text: &str) -> Result<[usize; 2]> {
    let wrong = || Error::config(format!("--image-size {text}: give N or HxW, for instance 64 or 48x64"));
    let number = |t: &str| t.trim().parse::<usize>().ok().filter(|&n| n > 0).ok_or_else(wrong);
    match text.split_once(['x', 'X']) {
        Some((h, w)) => Ok([number(h)?, number(w)?]),
        None => number(text).map(|n| [n, n]),
    }
}

/// Weights of the classes; their mean over the samples is 1, so that the learning rate keeps its meaning.
fn class_weights(text: &str, train: &Dataset) -> Result<Option<Vec<f32>>> {
    let counts = train.class_counts();
    match text {
        "none" => Ok(None),
        "auto" => {
            let present = counts.iter().filter(|&&n| n > 0).count();
            let weight = |&n: &usize| train.len() as f32 / (present * n.max(1)) as f32;
            Ok(Some(counts.iter().map(weight).collect()))
        }
        path => read_class_weights(Path::new(path), &train.classes).map(Some),
    }
}

fn read_class_weights(path: &Path, classes: &[String]) -> Result<Vec<f32>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let mut weights = vec![1.0; classes.len()];
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let wrong = |message: &str| Error::format(path, format!("line {}: {message}", i + 1));
        let (class, weight) = line.rsplit_once(',').ok_or_else(|| wrong("expected `class,weight`"))?;
        let weight = weight.trim().parse::<f32>().ok().filter(|w| *w >= 0.0 && w.is_finite());
        let weight = weight.ok_or_else(|| wrong("the weight is not a number of 0 or more"))?;
        let class = classes.iter().position(|c| c == class.trim()).ok_or_else(|| wrong("there is no such class"))?;
        weights[class] = weight;
    }
    Ok(weights)
}

fn check_ranges(s: &Settings) -> Result<()> {
    let refuse =
        |what: &str, got: f64, range: &str| Err(Error::config(format!("{what} is {got}, but must be {range}")));
    if s.epochs == 0 {
        return refuse("--epochs", 0.0, "1 or more");
    }
    if !(s.learning_rate.is_finite() && s.learning_rate > 0.0) {
        return refuse("--lr", s.learning_rate, "above 0");
    }
    if !(0.0..1.0).contains(&s.label_smoothing) {
        return refuse("--label-smoothing", f64::from(s.label_smoothing), "at least 0 and below 1");
    }
    if !(s.warmup.is_finite() && s.warmup >= 0.0) {
        return refuse("--warmup", s.warmup, "0 or more");
    }
    Ok(())
}

/// The parts of the data, decoded.
struct Sets {
    train: Arc<Images>,
    val: Option<Arc<Images>>,
    test: Option<Arc<Images>>,
}

impl Sets {
    fn load(splits: Splits, settings: &Settings, common: &Common) -> Result<Self> {
        let [h, w] = settings.image_size;
        let total = (splits.train.len() + splits.val.len() + splits.test.len()) as u64;
        let bar = progress::bar(common, total, "reading");
        let tick = || {
            bar.inc(1);
            if super::interrupted() { Err(Error::Interrupted) } else { Ok(()) }
        };
        let shape = [h, w, settings.channels];
        let parts = Images::load_splits(splits, shape, settings.cache, &tick)?;
        let [train, val, test] = parts.map(|part| part.map(Arc::new));
        let train = train.ok_or_else(|| Error::config("there are no training images"))?;
        bar.finish_and_clear();
        let sets = Self { train, val, test };
        sets.report(common);
        Ok(sets)
    }

    fn report(&self, common: &Common) {
        let parts = [Some(&self.train), self.val.as_ref(), self.test.as_ref()];
        let skipped: Vec<&Error> = parts.into_iter().flatten().flat_map(|i| i.skipped()).collect();
        for error in skipped.iter().take(10) {
            common.say(format!("skipped: {error}"));
        }
        if !skipped.is_empty() {
            common.say(format!("{} images could not be read and are left out", skipped.len()));
        }
        let count = |part: Option<&Arc<Images>>| part.map_or(0, |i| i.len());
        let train = self.train.dataset();
        common.say(format!(
            "data     {}: {} training, {} validation, {} test images, {} classes",
            train.root.display(),
            self.train.len(),
            count(self.val.as_ref()),
            count(self.test.as_ref()),
            train.classes.len()
        ));
        common.say(format!("cache    decoded images are kept {}", self.train.kept()));
        let counts = train.class_counts();
        let (least, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
        if least * 3 < most {
            common.say(format!("note     classes are uneven: {least} to {most} images; see --class-weights auto"));
        }
    }
}

/// Time for measuring the kernels of the costly ops when a network is first trained on a GPU.
const TUNING: Duration = Duration::from_secs(1);

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

fn session(kept: &Kept, device: &Device) -> Result<Session<Classifier>> {
    let mut classifier = Classifier::new(kept.model.clone(), kept.classes.clone(), kept.normalization.clone())?;
    let Settings { label_smoothing, class_weights, optimizer, seed, .. } = &kept.settings;
    classifier.weighting = Weighting { label_smoothing: *label_smoothing, class_weights: class_weights.clone() };
    Session::new(classifier, device, Some(optimizer.update()), *seed as u32)
}

/// A line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Epoch {
        epoch: u64,
        step: u64,
        seconds: f64,
        lr: f64,
        train_loss: f64,
        train_accuracy: f64,
        val_loss: Option<f64>,
        val_accuracy: Option<f64>,
        images_per_s: f64,
        waiting_for_data: f64,
    },
    Done {
        run: &'a Path,
        device: String,
        seconds: f64,
        steps: u64,
        best_epoch: Option<u64>,
        part: Option<&'static str>,
        evaluation: Option<&'a Evaluation>,
    },
}

fn train(
    mut session: Session<Classifier>,
    sets: &Sets,
    kept: &Kept,
    folder: &RunFolder,
    mut state: Progress,
    common: &Common,
) -> Result<()> {
    let s = &kept.settings;
    let batch_size = NonZero::new(s.batch_size).ok_or_else(|| Error::config("--batch-size is 0"))?;
    let workers = s.workers.and_then(NonZero::new);
    let options =
        LoaderOptions { batch_size, shuffle: s.shuffle, augment: s.augment.clone(), seed: Seed(s.seed), workers };
    let steady = || LoaderOptions { batch_size, workers, ..LoaderOptions::default() };
    let loader = Loader::new(sets.train.clone(), options);
    let val = sets.val.clone().map(|images| Loader::new(images, steady()));
    let plan = Plan {
        epochs: s.epochs,
        learning_rate: s.learning_rate,
        schedule: s.schedule,
        warmup: (s.warmup * loader.batches() as f64).round() as u64,
        patience: s.patience,
        max_steps: s.max_steps,
    };
    announce(&session, kept, folder, common);
    let moments = s.optimizer.update().moments();
    let mut watcher = Watcher::new(folder, s, moments, common, loader.batches() as u64);
    let outcome = fit(&mut session, &loader, val.as_ref(), &plan, &mut state, &mut watcher);
    watcher.finish()?;
    match outcome {
        Err(Error::Interrupted) => {
            folder.save_weights("last", session.weights())?;
            folder.save_checkpoint(session.weights(), moments, &state)?;
            folder.save_choices(session.device())?;
            let at = folder.path().display();
            common.say(format!("interrupted after step {}: saved; go on with ocellus train --resume {at}", state.step));
            return Err(Error::Interrupted);
        }
        outcome => outcome?,
    };
    conclude(session, sets, &state, folder, steady(), common)
}

fn announce(session: &Session<Classifier>, kept: &Kept, folder: &RunFolder, common: &Common) {
    let s = &kept.settings;
    let [h, w, c] = kept.model.input;
    let layout = session.weights().parameters();
    let parameters: usize = layout.entries().iter().map(|e| e.shape.elements()).sum();
    common.say(format!("model    {} on {h}x{w}x{c}, {parameters} trained parameters", s.model));
    common.say(format!("device   {}   seed {}   batch {}", session.device().name(), s.seed, s.batch_size));
    common.say(format!("run      {}", folder.path().display()));
}

/// Judges the best weights on what was held out, and says where everything is.
fn conclude(
    mut session: Session<Classifier>,
    sets: &Sets,
    state: &Progress,
    folder: &RunFolder,
    options: LoaderOptions,
    common: &Common,
) -> Result<()> {
    let best = safetensors::load(folder.path().join("best.safetensors"))?;
    session.weights().set(|name| best.get(name))?;
    let part = match (&sets.test, &sets.val) {
        (Some(images), _) => Some(("test", images)),
        (None, Some(images)) => Some(("validation", images)),
        (None, None) => None,
    };
    let evaluation = part.map(|(_, images)| session.evaluate(&Loader::new(images.clone(), options))).transpose()?;
    if common.json {
        return super::print(super::json(&Event::Done {
            run: folder.path(),
            device: session.device().name(),
            seconds: state.seconds,
            steps: state.step,
            best_epoch: state.best.map(|b| b.epoch),
            part: part.map(|(name, _)| name),
            evaluation: evaluation.as_ref(),
        })?);
    }
    if let (Some((name, _)), Some(evaluation)) = (part, &evaluation) {
        let epoch = state.best.map_or(0, |b| b.epoch);
        super::print(format!("\nBest weights (epoch {epoch}) on the {name} images:"))?;
        evaluate::print_evaluation(evaluation)?;
    }
    let at = folder.path().display();
    common.say(format!("\nNext: ocellus predict {at} PICTURE…   ocellus evaluate {at} DATA"));
    Ok(())
}

/// Shows and keeps what training brings.
struct Watcher<'a> {
    folder: &'a RunFolder,
    common: &'a Common,
    moments: usize,
    log_steps: bool,
    logged: Vec<(StepResult, f64)>,
    bar: ProgressBar,
    started: Instant,
    loss: f32,
}

impl<'a> Watcher<'a> {
    fn new(folder: &'a RunFolder, s: &Settings, moments: usize, common: &'a Common, steps: u64) -> Self {
        let bar = progress::bar(common, steps, "epoch");
        Self {
            folder,
            common,
            moments,
            log_steps: s.log_steps,
            logged: Vec::new(),
            bar,
            started: Instant::now(),
            loss: 0.0,
        }
    }

    fn finish(&mut self) -> Result<()> {
        self.bar.finish_and_clear();
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        if self.log_steps {
            self.folder.log_steps(&self.logged)?;
        }
        self.logged.clear();
        Ok(())
    }
}

impl Observer<Classifier> for Watcher<'_> {
    fn step(&mut self, result: &StepResult, learning_rate: f64, of: StepOf) -> Result<()> {
        if of.index == 1 {
            self.started = Instant::now();
            self.bar.reset();
            self.bar.set_prefix(format!("epoch {}/{}", of.epoch, of.epochs));
            self.loss = result.loss;
        }
        self.loss += 0.05 * (result.loss - self.loss);
        let rate = of.index as f64 * result.samples as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_position(of.index);
        self.bar.set_message(format!("loss {:.4}  {rate:.0} images/s", self.loss));
        if self.log_steps {
            self.logged.push((*result, learning_rate));
        }
        Ok(())
    }

    fn epoch(&mut self, report: &EpochReport, session: &Session<Classifier>, progress: &Progress) -> Result<()> {
        self.flush()?;
        self.folder.log_epoch(report)?;
        if report.best {
            self.folder.save_weights("best", session.weights())?;
        }
        self.folder.save_weights("last", session.weights())?;
        self.folder.save_checkpoint(session.weights(), self.moments, progress)?;
        self.folder.save_choices(session.device())?;
        let EpochReport { epoch, step, seconds, learning_rate, train, val, images_per_s, waiting, best } = *report;
        let val_text = val.map_or(String::new(), |v| {
            format!("   val loss {:.4} accuracy {:.2} %{}", v.loss, 100.0 * v.metric, if best { " *" } else { "" })
        });
        self.bar.suspend(|| {
            self.common.say(format!(
                "epoch {epoch:>3}   {seconds:>6.1} s   train loss {:.4} accuracy {:.2} %{val_text}   {images_per_s:.0} images/s, {:.0} % waiting for data",
                train.loss,
                100.0 * train.metric,
                100.0 * waiting
            ));
        });
        if !self.common.json {
            return Ok(());
        }
        super::print(super::json(&Event::Epoch {
            epoch,
            step,
            seconds,
            lr: learning_rate,
            train_loss: train.loss,
            train_accuracy: train.metric,
            val_loss: val.map(|v| v.loss),
            val_accuracy: val.map(|v| v.metric),
            images_per_s,
            waiting_for_data: waiting,
        })?)
    }

    fn interrupted(&self) -> bool {
        super::interrupted()
    }
}
