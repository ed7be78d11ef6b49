use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Train;
use super::batch::BatchSize;
use crate::cli::Common;
use crate::data::{Augment, Cache, Dataset, Normalize, Probe, Sampling, Window};
use crate::error::{Error, Result};
use crate::interop::keras;
use crate::nn::layers::OnnxNetwork;
use crate::nn::{Model, zoo};
use crate::tasks::RunTask;
use crate::train::{Optimizer, Precision, RunFolder, Schedule, Settings};

impl Train {
    /// Every setting: from the command line, else an earlier run, else the default.
    pub(super) fn settings<T: RunTask>(
        &self,
        earlier: Option<Settings>,
        options: toml::Table,
        common: &Common,
        data: Option<PathBuf>,
        train: &Dataset,
        probe: Probe,
    ) -> Result<Settings> {
        let mut s = match earlier {
            Some(settings) => settings,
            None if self.model.is_none() && data.is_none() => self.for_digits(probe)?,
            None => {
                let mut settings = Settings { options: options.clone(), ..self.defaults(probe)? };
                T::suggest(&mut settings, self.model.as_deref(), probe, train.len());
                settings.normalize = self.init.as_deref().and_then(normalize_of).unwrap_or(settings.normalize);
                settings
            }
        };
        s.task = T::NAME.to_owned();
        s.options = options;
        s.data = data.map(|p| p.canonicalize().unwrap_or(p));
        if let Some(model) = &self.model {
            s.model.clone_from(model);
        }
        s.width = self.width.or(s.width);
        if let Some(size) = &self.image_size {
            s.image_size = image_size(size)?;
        }
        s.init = self.init.clone().or(s.init);
        if !self.freeze.is_empty() {
            s.freeze.clone_from(&self.freeze);
        }
        s.epochs = self.epochs.unwrap_or(s.epochs);
        if let Some(BatchSize::Fixed(n)) = self.batch_size {
            s.batch_size = n;
        }
        s.accumulate = self.accumulate.map_or(s.accumulate, |n| n as usize);
        s.memory_limit = self.memory_limit.or(s.memory_limit);
        s.remat |= self.remat;
        s.precision = self.precision.as_deref().map_or(Ok(s.precision), str::parse::<Precision>)?;
        self.set_optimizer(&mut s)?;
        if !self.lr_scale.is_empty() {
            s.lr_scale.clone_from(&self.lr_scale);
        }
        s.ema = self.ema.or(s.ema);
        s.schedule = self.schedule.as_deref().map_or(Ok(s.schedule), str::parse::<Schedule>)?;
        s.warmup = self.warmup.unwrap_or(s.warmup);
        s.label_smoothing = self.label_smoothing.unwrap_or(s.label_smoothing);
        if let Some(text) = &self.class_weights {
            s.class_weights = class_weights::<T>(text, train)?;
        }
        s.window = self.window.unwrap_or(s.window);
        s.normalize = self.normalize.as_deref().map_or(Ok(s.normalize), str::parse::<Normalize>)?;
        s.augment = self.augment.as_deref().map_or(Ok(s.augment), str::parse::<Augment>)?;
        s.augment.mixup = self.mixup.unwrap_or(s.augment.mixup);
        s.augment.cutmix = self.cutmix.unwrap_or(s.augment.cutmix);
        s.augment.check()?;
        if s.augment.mixes_images() && !T::AVERAGES {
            return Err(Error::config(format!("--mixup and --cutmix are not for --task {}", T::NAME)));
        }
        s.group_by = self.group_by.clone().or(s.group_by);
        if let Some(val) = &self.val {
            (s.val_fraction, s.val) = match val.parse::<f64>() {
                Ok(fraction) => (fraction, None),
                Err(_) => (s.val_fraction, Some(PathBuf::from(val))),
            };
        }
        s.test = self.test.clone().or(s.test);
        s.patience = self.patience.or(s.patience);
        s.max_steps = self.max_steps.or(s.max_steps);
        s.max_time = self.max_time.or(s.max_time);
        s.checkpoint_every = self.checkpoint_every.unwrap_or(s.checkpoint_every);
        s.cache = self.cache.as_deref().map_or(Ok(s.cache), str::parse::<Cache>)?;
        s.shuffle &= !self.no_shuffle;
        s.sampling = self.sampling.as_deref().map_or(Ok(s.sampling), str::parse::<Sampling>)?;
        s.log_steps |= self.log_steps;
        s.calibrate |= self.calibrate;
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

    /// Keras's defaults: a constant learning rate, pictures as they are.
    fn defaults(&self, probe: Probe) -> Result<Settings> {
        defaults(self.model.clone(), probe)
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

    pub(super) fn model<T: RunTask>(&self, settings: &Settings, classes: usize) -> Result<Model> {
        T::network(&|outputs| plain_model(settings, outputs), classes, &settings.options)?.freeze(&settings.freeze)
    }
}

/// The network asked for, with so many outputs.
fn plain_model(settings: &Settings, outputs: usize) -> Result<Model> {
    let [h, w] = settings.image_size;
    let input = [h, w, settings.channels];
    if settings.model.ends_with(".onnx") {
        refuse_width(settings.width)?;
        return OnnxNetwork::model(Path::new(&settings.model), Some(input), Some(outputs));
    }
    if is_file(&settings.model) {
        refuse_width(settings.width)?;
        let mut model = open_model(&settings.model, Some(settings.image_size))?;
        model.input = input;
        return Ok(model);
    }
    zoo::build_scaled(&settings.model, input, outputs, settings.width.unwrap_or(1.0))
}

/// Errors: if a width is asked for, where the network is not of the zoo.
pub(in crate::cli) fn refuse_width(width: Option<f64>) -> Result<()> {
    match width {
        None => Ok(()),
        Some(_) => {
            Err(Error::config("--width is for networks of the zoo: a model file or run has its numbers of channels"))
        }
    }
}

/// The settings of a network that is not trained here.
///
/// Errors: if there is no such network.
pub(in crate::cli) fn plain_settings(name: &str, model: &Model) -> Result<Settings> {
    let [h, w, channels] = model.input;
    let settings = defaults(Some(name.to_owned()), Probe { channels, size: Some([h, w]), widest: [h, w] })?;
    Ok(Settings { image_size: [h, w], channels, learning_rate: settings.optimizer.default_learning_rate(), ..settings })
}

/// What a task takes where nothing is asked for.
pub(in crate::cli) fn suggested<T: RunTask>(probe: Probe, pictures: usize) -> Result<Settings> {
    let mut settings = defaults(None, probe)?;
    T::suggest(&mut settings, None, probe, pictures);
    Ok(settings)
}

fn defaults(model: Option<String>, probe: Probe) -> Result<Settings> {
    let from_file = model.as_deref().filter(|m| is_file(m)).map(|m| open_model(m, probe.size)).transpose()?;
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
        width: None,
        image_size: default_size,
        channels: from_file.map_or(probe.channels, |m| m.input[2]),
        window: Window::default(),
        normalize: Normalize::default(),
        init: None,
        freeze: Vec::new(),
        epochs: 10,
        batch_size: 32,
        accumulate: 1,
        memory_limit: None,
        remat: false,
        precision: Precision::default(),
        learning_rate: 0.0,
        lr_scale: Vec::new(),
        ema: None,
        schedule: Schedule::default(),
        warmup: 0.0,
        label_smoothing: 0.0,
        class_weights: None,
        val_fraction: 0.1,
        group_by: None,
        val: None,
        test: None,
        patience: None,
        max_steps: None,
        max_time: None,
        checkpoint_every: Duration::from_secs(600),
        shuffle: true,
        sampling: Sampling::default(),
        log_steps: false,
        calibrate: false,
        cache: Cache::default(),
        workers: None,
        seed: 0,
        device: "auto".into(),
        optimizer: Optimizer::named("adam")?,
        augment: Augment::default(),
        options: toml::Table::new(),
    })
}

pub(in crate::cli) fn is_file(model: &str) -> bool {
    let ours = Path::new(model).extension().is_some_and(|e| e == "toml" || e == "onnx");
    ours || keras::is_network(model) || model.contains(std::path::MAIN_SEPARATOR)
}

/// A model file, an ONNX network, or a network of Keras's; `size` is that of pictures where the latter leaves it open.
pub(in crate::cli) fn open_model(path: &str, size: Option<[usize; 2]>) -> Result<Model> {
    if keras::is_network(path) { keras::open(path, size) } else { Model::open(path) }
}

pub(in crate::cli) fn image_size(text: &str) -> Result<[usize; 2]> {
    let wrong = || Error::config(format!("--image-size {text}: give N or HxW, for instance 64 or 48x64"));
    let number = |t: &str| t.trim().parse::<usize>().ok().filter(|&n| n > 0).ok_or_else(wrong);
    match text.split_once(['x', 'X']) {
        Some((h, w)) => Ok([number(h)?, number(w)?]),
        None => number(text).map(|n| [n, n]),
    }
}

/// A number of bytes: `500M` and `4G` are multiples of 2²⁰ and 2³⁰.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.trim().char_indices().last() {
        Some((at, 'k' | 'K')) => (&text.trim()[..at], 10),
        Some((at, 'm' | 'M')) => (&text.trim()[..at], 20),
        Some((at, 'g' | 'G')) => (&text.trim()[..at], 30),
        _ => (text.trim(), 0),
    };
    let number = digits.parse::<f64>().ok().filter(|n| n.is_finite() && *n > 0.0);
    let bytes = number.map(|n| (n * f64::from(1_u32 << unit)) as u64);
    bytes.ok_or_else(|| "give a number of bytes, for instance 500M or 4G".to_owned())
}

/// Weights of the classes; their mean over the samples is 1, so that the learning rate keeps its meaning.
fn class_weights<T: RunTask>(text: &str, train: &Dataset) -> Result<Option<Vec<f32>>> {
    match text {
        "none" => Ok(None),
        "auto" => T::balancing_weights(train).map(Some),
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

/// How pictures were normalised for the weights of a file: as its run's settings say, where it stands in a run's folder (a `config.toml` of
/// something else says nothing), and as ImageNet's, where it is PyTorch's.
fn normalize_of(weights: &Path) -> Option<Normalize> {
    let of_run = weights.parent().and_then(|folder| RunFolder::settings(&folder.join("config.toml")).ok());
    let safetensors = weights.extension().is_some_and(|extension| extension == "safetensors");
    let pytorch = !safetensors && !keras::has_weights(weights);
    of_run.map(|settings| settings.normalize).or(pytorch.then_some(Normalize::ImageNet))
}

pub(super) fn check_ranges(s: &Settings) -> Result<()> {
    let refuse =
        |what: &str, got: f64, range: &str| Err(Error::config(format!("{what} is {got}, but must be {range}")));
    if s.batch_size == 0 || s.accumulate == 0 {
        return refuse("--batch-size or --accumulate", 0.0, "1 or more");
    }
    if s.epochs == 0 {
        return refuse("--epochs", 0.0, "1 or more");
    }
    if !(s.learning_rate.is_finite() && s.learning_rate > 0.0) {
        return refuse("--lr", s.learning_rate, "above 0");
    }
    if !(0.0..1.0).contains(&s.label_smoothing) {
        return refuse("--label-smoothing", f64::from(s.label_smoothing), "at least 0 and below 1");
    }
    if let Some(share) = s.ema.filter(|share| !(0.0..1.0).contains(share)) {
        return refuse("--ema", f64::from(share), "at least 0 and below 1");
    }
    if !(s.warmup.is_finite() && s.warmup >= 0.0) {
        return refuse("--warmup", s.warmup, "0 or more");
    }
    Ok(())
}
