use std::num::NonZero;
use std::sync::Arc;

use super::{Answer, Classifier, PredictOptions, RunTask};
use crate::data::{
    Augment, Cache, Dataset, Image, Images, Loader, LoaderOptions, Normalization, Normalize, Sampling, Seed, Splits,
};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::Value;
use crate::nn::Model;
use crate::train::{EpochReport, Optimizer, Plan, Progress, Quiet, Schedule, Session, Task, fit};

/// What a classifier minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// For one output: the probability of the second of two classes.
    BinaryCrossEntropy,
    /// For one output per class.
    CategoricalCrossEntropy,
}

/// Trains a network from Rust; the command `train` does the same with a run folder.
///
/// Defaults: Adam at a constant learning rate of 0.001, 10 epochs, batches of 32, no augmentation, pixels normalised by the training
/// set's mean and standard deviation, decoded pictures kept as [`Cache::Auto`] says, seed 0.
pub struct Trainer {
    model: Model,
    device: Device,
    loss: Option<Loss>,
    optimizer: Optimizer,
    learning_rate: Option<f64>,
    schedule: Schedule,
    epochs: u64,
    batch_size: NonZero<usize>,
    augment: Augment,
    normalize: Normalize,
    shuffle: bool,
    cache: Cache,
    seed: Seed,
}

impl Trainer {
    /// A trainer of `model` on `device`.
    pub fn new(model: impl Into<Model>, device: &Device) -> Self {
        Self {
            model: model.into(),
            device: device.clone(),
            loss: None,
            optimizer: Optimizer::Adam(Default::default()),
            learning_rate: None,
            schedule: Schedule::Constant,
            epochs: 10,
            batch_size: NonZero::new(32).expect("32 is not 0"),
            augment: Augment::default(),
            normalize: Normalize::default(),
            shuffle: true,
            cache: Cache::Auto,
            seed: Seed(0),
        }
    }

    /// Demands this loss; otherwise it follows from the network's last layer.
    pub fn loss(mut self, loss: Loss) -> Self {
        self.loss = Some(loss);
        self
    }

    /// The optimizer.
    pub fn optimizer(mut self, optimizer: impl Into<Optimizer>) -> Self {
        self.optimizer = optimizer.into();
        self
    }

    /// The learning rate; otherwise the one usual for the optimizer.
    pub fn learning_rate(mut self, rate: f64) -> Self {
        self.learning_rate = Some(rate);
        self
    }

    /// How the learning rate changes.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// How often each picture is shown.
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = epochs;
        self
    }

    /// Pictures in a step; 0 counts as 1.
    pub fn batch_size(mut self, n: usize) -> Self {
        self.batch_size = NonZero::new(n).unwrap_or(NonZero::<usize>::MIN);
        self
    }

    /// How training pictures are changed.
    pub fn augment(mut self, augment: Augment) -> Self {
        self.augment = augment;
        self
    }

    /// How bytes become numbers.
    pub fn normalize(mut self, normalize: Normalize) -> Self {
        self.normalize = normalize;
        self
    }

    /// Whether pictures come in another order in each epoch.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Where decoded pictures are kept.
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// What all random choices follow from.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = seed;
        self
    }

    /// Trains a classifier on `data.train`, measuring on `data.val` after each epoch.
    ///
    /// Errors: if the network does not fit the data, no picture can be read, training diverges, or the device fails.
    pub fn fit(self, data: &Splits) -> Result<Run> {
        let (loss, mixes) = (self.loss, self.augment.mixes_images());
        self.fit_task(data, |model, classes, normalization| {
            let classifier = Classifier { mixes, ..Classifier::new(model, classes, normalization)? };
            expect_loss(loss, &classifier)?;
            Ok(classifier)
        })
    }

    /// As [`Trainer::fit`], for any task: `make` makes it of the network, the classes and the normalisation. Data are opened by the
    /// task's own [`RunTask::open`].
    ///
    /// Errors: as there.
    pub fn fit_task<T: RunTask>(
        self,
        data: &Splits,
        make: impl Fn(Model, Vec<String>, Normalization) -> Result<T>,
    ) -> Result<Run<T>> {
        let make = |normalization| make(self.model.clone(), data.train.classes.clone(), normalization);
        // What pictures are brought to does not depend on how they are normalised, which is known once they are read.
        let canvas = make(Normalization::uniform(self.model.input[2], 0.0, 1.0))?.canvas();
        let parts = Splits { test: Dataset::default(), ..data.clone() };
        let parts = Images::load_splits(parts, canvas, self.cache, &|| Ok(()))?;
        let [train, val, _] = parts.map(|part| part.map(Arc::new));
        let train = train.ok_or_else(|| Error::config("there are no training images"))?;
        let task = make(train.normalization(self.normalize))?;
        let options = LoaderOptions {
            batch_size: self.batch_size,
            shuffle: self.shuffle,
            sampling: Sampling::Natural,
            augment: self.augment,
            targets: task.targets(&train)?,
            seed: self.seed,
            workers: None,
        };
        let measured = |images: Arc<Images>| -> Result<Loader> {
            let targets = task.targets(&images)?;
            Ok(Loader::new(images, LoaderOptions { batch_size: self.batch_size, targets, ..LoaderOptions::default() }))
        };
        let val = val.map(measured).transpose()?;
        let plan = Plan {
            epochs: self.epochs,
            learning_rate: self.learning_rate.unwrap_or(self.optimizer.default_learning_rate()),
            schedule: self.schedule,
            warmup: 0,
            patience: None,
            max_steps: None,
            max_time: None,
            until: None,
        };
        let mut session = Session::new(task, &self.device, Some(self.optimizer.update()), self.seed.0 as u32)?;
        let initial = self.model.initialize(self.seed)?;
        session.weights().set(|name| initial.get(name))?;
        let train = Loader::new(train, options);
        let history = fit(&mut session, &train, val.as_ref(), &plan, &mut Progress::default(), &mut Quiet)?;
        Ok(Run { session, cache: self.cache, history })
    }
}

fn expect_loss(wanted: Option<Loss>, classifier: &Classifier) -> Result<()> {
    let graph = classifier.inference_graph(1)?;
    let output: Value = graph.outputs()[1].1;
    let found = match graph.shape(output).last() {
        1 => Loss::BinaryCrossEntropy,
        _ => Loss::CategoricalCrossEntropy,
    };
    match wanted {
        Some(wanted) if wanted != found => {
            Err(Error::config(format!("{wanted:?} was asked for, but the network's last layer needs {found:?}")))
        }
        _ => Ok(()),
    }
}

/// A trained network and its task.
pub struct Run<T: Task = Classifier> {
    session: Session<T>,
    cache: Cache,
    history: Vec<EpochReport>,
}

impl<T: RunTask> Run<T> {
    /// One report an epoch.
    pub fn history(&self) -> &[EpochReport] {
        &self.history
    }

    /// The network on its device.
    pub fn session(&mut self) -> &mut Session<T> {
        &mut self.session
    }

    /// Measures on a set.
    ///
    /// Errors: if no picture can be read, or the device fails.
    pub fn evaluate(&mut self, data: &Dataset) -> Result<T::Evaluation> {
        let images = Arc::new(Images::load(data.clone(), self.session.task().canvas(), self.cache, &|| Ok(()))?);
        let targets = self.session.task().targets(&images)?;
        self.session.evaluate(&Loader::new(images, LoaderOptions { targets, ..LoaderOptions::default() }))
    }

    /// What the network says of pictures, given in their own size.
    ///
    /// Errors: if the device fails.
    pub fn predict(&mut self, images: Vec<Image>, options: &PredictOptions) -> Result<Vec<Answer>> {
        T::predict(&mut self.session, images, options)
    }
}
