use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::{Precision, Task};
use crate::data::{Batch, Loader, Mixes, Target};
use crate::device::{Arena, Device, Program, Weights};
use crate::error::{Error, Result};
use crate::graph::{Ending, Footprint, Graph, Layout, Passes, Update};
use crate::ops::AugmentRow;
use crate::tensor::Tensor;

/// A network on a device, with programs for each batch size it has met. They share the weights, and the memory for what
/// they compute.
pub struct Session<T: Task> {
    task: T,
    device: Device,
    weights: Weights,
    update: Option<Arc<dyn Update>>,
    seed: u32,
    memory: MemoryOptions,
    views: Vec<AugmentRow>,
    passes: Passes,
    /// Pictures of the largest step prepared so far, and how many of them are computed at once.
    prepared: (usize, usize),
    training: HashMap<Form, Program>,
    inference: HashMap<usize, Program>,
    under_way: VecDeque<UnderWay>,
    partial: StepResult,
}

/// How a session uses memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryOptions {
    /// Most pictures that are computed at once: a larger step is the sum of parts. Batch normalisation then sees each part
    /// by itself.
    pub part: Option<usize>,
    /// Most bytes of device memory.
    pub limit: Option<u64>,
    /// Compute forward values again for the backward pass instead of keeping them.
    pub remat: bool,
    /// How intermediate values of a training step are kept.
    pub precision: Precision,
}

/// Which of the programs of a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// A step of so many pictures.
    Whole(usize),
    /// A part of a step.
    Part(usize),
    /// The end of a step in parts.
    Update,
}

/// A run whose results were not yet taken.
struct UnderWay {
    form: Form,
    step: u64,
    /// Share of the step's pictures.
    share: f32,
    last: bool,
}

/// What came of a training step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepResult {
    /// Which step, counted from 1.
    pub step: u64,
    /// Mean loss before the update.
    pub loss: f32,
    /// Sum of the metric over the pictures; NaN where it cannot be told of a step.
    pub metric_sum: f32,
    /// How many pictures.
    pub samples: usize,
}

impl<T: Task> Session<T> {
    /// A network with all its weights zero; see [`Weights::set`]. Without an update it cannot be trained.
    ///
    /// Errors: if the network does not fit the task or the device.
    pub fn new(task: T, device: &Device, update: Option<Arc<dyn Update>>, seed: u32) -> Result<Self> {
        let graph = task.inference_graph(1)?;
        let moments = update.as_ref().map_or(0, |u| u.moments());
        let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), moments)?;
        Ok(Self {
            task,
            device: device.clone(),
            weights,
            update,
            seed,
            memory: MemoryOptions::default(),
            views: Vec::new(),
            passes: device.passes(),
            prepared: (0, usize::MAX),
            training: HashMap::new(),
            inference: HashMap::new(),
            under_way: VecDeque::new(),
            partial: StepResult::default(),
        })
    }

    /// With other habits in the use of memory than to take what it needs.
    ///
    /// Errors: if the device does not have the precision.
    pub fn with_memory(self, memory: MemoryOptions) -> Result<Self> {
        let passes = Passes { remat: memory.remat, ..memory.precision.passes(&self.device)? };
        Ok(Self { memory, passes, ..self })
    }

    /// That answers with the mean over several views of each picture, as [`Augment::views`](crate::data::Augment::views) names
    /// them.
    pub fn with_views(self, views: Vec<AugmentRow>) -> Self {
        Self { views, ..self }
    }

    /// What it is for.
    pub fn task(&self) -> &T {
        &self.task
    }

    /// What it is for, to change how its results are told.
    pub fn task_mut(&mut self) -> &mut T {
        &mut self.task
    }

    /// What its random choices follow from.
    pub(super) fn seed(&self) -> u32 {
        self.seed
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Makes ready for training steps of `n` pictures, of which the last of an epoch has `rest`, and for inference on as
    /// many: chooses kernels, takes all memory, and tells how many bytes that are. A step that does not fit is computed in
    /// parts, whose gradients are added up: the same mathematics with less memory.
    ///
    /// Errors: [`Error::Memory`] if one picture does not fit, or where batch statistics forbid parts.
    pub fn prepare(&mut self, n: usize, rest: usize) -> Result<u64> {
        let together = self.task.computed_together();
        let mut part = self.memory.part.unwrap_or(n).clamp(1, n.max(1)).next_multiple_of(together).min(n.max(1));
        loop {
            match self.make_room(n, rest, part) {
                Ok(bytes) => {
                    self.prepared = (n, part);
                    return Ok(bytes);
                }
                Err(Error::Memory(reason)) if part > together => {
                    self.expect_divisible(part, reason)?;
                    part = part.div_ceil(2).next_multiple_of(together);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Bytes that it has taken on its device so far.
    pub fn device_bytes(&self) -> u64 {
        let programs = self.training.values().chain(self.inference.values());
        self.weights.bytes() + self.weights.shared_bytes() + programs.map(Program::own_bytes).sum::<u64>()
    }

    /// How many pictures of a step are computed at once.
    pub fn part(&self) -> usize {
        self.prepared.1
    }

    /// Bytes that steps of `n` pictures take, all computed at once; without an optimizer, inference on as many. Nothing is
    /// taken yet.
    ///
    /// Errors: [`Error::Memory`] if a tensor is larger than the device allows.
    pub fn needed_bytes(&self, n: usize) -> Result<u64> {
        Ok(self.weights.bytes() + self.footprint_of_sizes(&[n].into())?.bytes() as u64)
    }

    /// Of programs for so many pictures.
    fn footprint_of_sizes(&self, sizes: &BTreeSet<usize>) -> Result<Footprint> {
        let mut footprint = Footprint::default();
        for &size in sizes {
            footprint = footprint.and(&self.footprint(&self.task.inference_graph(size)?)?);
            if self.update.is_some() {
                footprint = footprint.and(&self.footprint(&self.task.training_graph(size, self.seed)?)?);
            }
        }
        Ok(footprint)
    }

    fn make_room(&mut self, n: usize, rest: usize, part: usize) -> Result<u64> {
        let sizes = [part, n % part, rest.min(part), rest % part].into_iter().filter(|&size| size > 0).collect();
        let graph = self.task.training_graph(part, self.seed)?;
        self.expect_within_limit(part, n > part, &self.footprint(&graph)?)?;
        self.device.prepare(&graph, self.passes)?;
        let footprint = self.footprint_of_sizes(&sizes)?;
        let bytes = self.expect_within_limit(part, n > part, &footprint)?;
        self.weights.reserve(&footprint)?;
        self.program(if n > part { Form::Part(part) } else { Form::Whole(n) })?;
        Ok(bytes)
    }

    fn footprint(&self, graph: &Graph) -> Result<Footprint> {
        self.device.footprint(graph, &self.weights, self.passes)
    }

    /// Bytes of everything.
    fn expect_within_limit(&self, part: usize, in_parts: bool, footprint: &Footprint) -> Result<u64> {
        let sum = if in_parts { 4 * self.weights.parameters().len() } else { 0 };
        let bytes = self.weights.bytes() + (sum + footprint.bytes()) as u64;
        match self.memory.limit {
            Some(limit) if bytes > limit => {
                let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
                let (need, limit) = (mib(bytes), mib(limit));
                Err(Error::memory(format!("batches of {part} need {need:.1} MiB, the limit is {limit:.1} MiB")))
            }
            _ => Ok(bytes),
        }
    }

    /// Refuses to divide a step where that would change what it computes.
    fn expect_divisible(&self, part: usize, reason: String) -> Result<()> {
        if self.task.training_graph(part, self.seed)?.updates().is_empty() {
            return Ok(());
        }
        let fits = |&size: &usize| {
            let graph = self.task.training_graph(size, self.seed);
            let footprint = graph.and_then(|graph| self.footprint(&graph));
            footprint.and_then(|footprint| self.expect_within_limit(size, false, &footprint)).is_ok()
        };
        let smaller = std::iter::successors(Some(part / 2), |&size| Some(size / 2)).take_while(|&size| size > 0);
        let advice = match smaller.into_iter().find(fits) {
            Some(size) => format!("use --batch-size {size}, with --accumulate {} if you like", part.div_ceil(size)),
            None => "use a smaller --image-size or another network".to_owned(),
        };
        Err(Error::memory(format!(
            "{reason}; a batch in parts would have other statistics, by which the network normalises: {advice}"
        )))
    }

    fn program(&mut self, form: Form) -> Result<&mut Program> {
        if !self.training.contains_key(&form) {
            let update = self.update.clone().ok_or_else(|| Error::config("this session has no optimizer"))?;
            let (graph, ending) = match form {
                Form::Whole(n) => (self.task.training_graph(n, self.seed)?, Ending::Update(update)),
                Form::Part(n) => (self.task.training_graph(n, self.seed)?, Ending::Accumulate),
                Form::Update => (Graph::new(), Ending::UpdateBySum(update)),
            };
            let program = self.device.compile_with(&graph, &self.weights, ending, self.passes)?;
            self.training.insert(form, program);
        }
        Ok(self.training.get_mut(&form).expect("it was just made"))
    }

    /// Starts the training step number `step`, counted from 1. Results come from [`Session::results`].
    ///
    /// Errors: if the device is lost, or the step does not fit it.
    pub fn train(&mut self, batch: &Batch, step: u64, learning_rate: f64) -> Result<Vec<StepResult>> {
        let n = batch.len();
        if n > self.prepared.0 {
            self.prepare(n, 0)?;
        }
        let update = self.update.clone().ok_or_else(|| Error::config("this session has no optimizer"))?;
        let scalars = update.scalars(learning_rate, step);
        if n <= self.part() {
            return self.start(batch, 0..n, Form::Whole(n), step, &scalars);
        }
        let mut done = Vec::new();
        for range in parts(n, self.part()) {
            let form = Form::Part(range.len());
            let share = range.len() as f32 / n as f32 / self.program(form)?.plan().graph.gradient_scale();
            let keep = if range.start == 0 { 0.0 } else { 1.0 };
            done.extend(self.start(batch, range, form, step, &[share, keep])?);
        }
        self.program(Form::Update)?.run(&scalars)?;
        self.under_way.push_back(UnderWay { form: Form::Update, step, share: 0.0, last: false });
        Ok(done)
    }

    fn start(
        &mut self,
        batch: &Batch,
        range: Range<usize>,
        form: Form,
        step: u64,
        scalars: &[f32],
    ) -> Result<Vec<StepResult>> {
        let program = self.program(form)?;
        feed_step(program, batch, range.clone(), step)?;
        program.run(scalars)?;
        let (share, last) = (range.len() as f32 / batch.len() as f32, range.end == batch.len());
        self.under_way.push_back(UnderWay { form, step, share, last });
        // One run's result is taken while the next is under way: the device never waits for the host.
        self.results(1)
    }

    /// Results of the steps under way, oldest first, but for the last `leave` runs.
    pub fn results(&mut self, leave: usize) -> Result<Vec<StepResult>> {
        let mut done = Vec::new();
        while self.under_way.len() > leave {
            let Some(UnderWay { form, step, share, last }) = self.under_way.pop_front() else { break };
            let program = self.training.get_mut(&form).expect("it was run");
            let outputs = program.take_result()?.unwrap_or_default();
            let (Form::Whole(samples) | Form::Part(samples)) = form else { continue };
            let (loss, metric) = match outputs.as_slice() {
                [loss] => (loss.f32()[0], f32::NAN),
                [loss, metric] => (loss.f32()[0], metric.f32()[0]),
                _ => return Err(Error::device("a training step gave no results")),
            };
            self.partial.step = step;
            self.partial.loss += share * loss;
            self.partial.metric_sum += metric;
            self.partial.samples += samples;
            if last {
                done.push(std::mem::take(&mut self.partial));
            }
        }
        Ok(done)
    }

    /// Begins training from the weights as they stand: `factor` is what the learning rate of the parameter of that name is
    /// multiplied by.
    ///
    /// Errors: if the device is lost.
    pub fn begin(&self, factor: impl Fn(&str) -> f32) -> Result<()> {
        let Some(update) = &self.update else { return Ok(()) };
        if let Some(rates) = update.rates() {
            let layout = self.weights.parameters();
            let mut values = vec![1.0; layout.len()];
            for entry in layout.entries() {
                values[entry.offset..][..entry.shape.elements()].fill(factor(&entry.name));
            }
            self.weights.write(Arena::Moment(rates), &values);
        }
        if let Some(average) = update.average() {
            self.weights.write(Arena::Moment(average), &self.weights.read(Arena::Parameters)?);
        }
        Ok(())
    }

    /// Where the weights are that answer best: the average, where there is one.
    fn best_arena(&self) -> Arena {
        let average = self.update.as_ref().and_then(|update| update.average());
        average.map_or(Arena::Parameters, Arena::Moment)
    }

    /// The weights to keep, by name: with their average in the place of the parameters, where there is one.
    ///
    /// Errors: if the device is lost.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        self.weights.tensors_from(self.best_arena())
    }

    /// [`Session::evaluate`] with the weights to keep.
    ///
    /// Errors: as there.
    pub fn validate(&mut self, loader: &Loader) -> Result<T::Evaluation> {
        let best = self.best_arena();
        if best == Arena::Parameters {
            return self.evaluate(loader);
        }
        let trained = self.weights.read(Arena::Parameters)?;
        self.weights.write(Arena::Parameters, &self.weights.read(best)?);
        let evaluation = self.evaluate(loader);
        self.weights.write(Arena::Parameters, &trained);
        evaluation
    }

    /// Judges every picture that `loader` has, in order.
    ///
    /// Errors: if a picture can no longer be read, or the device is lost.
    pub fn evaluate(&mut self, loader: &Loader) -> Result<T::Evaluation> {
        let task = self.task.clone();
        let mut epoch = loader.epoch(0);
        task.evaluate(&mut std::iter::from_fn(|| {
            let batch = epoch.next()?;
            Some(batch.and_then(|batch| self.infer(&batch).map(|outputs| (batch, outputs))))
        }))
    }

    /// What the inference graph gives for a batch, in parts if it does not fit the device; the mean over the views, if it has
    /// some.
    ///
    /// Errors: if the device is lost, or one picture does not fit it.
    pub fn infer(&mut self, batch: &Batch) -> Result<Vec<Tensor>> {
        if self.views.is_empty() {
            return self.infer_once(batch);
        }
        let views = self.views.clone();
        let answers: Vec<_> = views.iter().map(|&view| self.infer_once(&batch.seen_as(view))).collect::<Result<_>>()?;
        let output = |i: usize| Tensor::mean(&answers.iter().map(|outputs| &outputs[i]).collect::<Vec<_>>());
        (0..answers[0].len()).map(output).collect()
    }

    fn infer_once(&mut self, batch: &Batch) -> Result<Vec<Tensor>> {
        let together = self.task.computed_together();
        let mut results: Vec<Vec<Tensor>> = Vec::new();
        let mut start = 0;
        while start < batch.len() {
            let size = self.part().min(batch.len() - start);
            match self.infer_part(batch, start..start + size) {
                Ok(outputs) => {
                    results.push(outputs);
                    start += size;
                }
                Err(Error::Memory(_)) if size > together => {
                    self.prepared.1 = size.div_ceil(2).next_multiple_of(together);
                }
                Err(error) => return Err(error),
            }
        }
        if results.len() == 1 {
            return Ok(results.remove(0));
        }
        let outputs = results.first().map_or(0, Vec::len);
        (0..outputs).map(|i| Tensor::join(&results.iter().map(|tensors| &tensors[i]).collect::<Vec<_>>())).collect()
    }

    fn infer_part(&mut self, batch: &Batch, range: Range<usize>) -> Result<Vec<Tensor>> {
        let n = range.len();
        if !self.inference.contains_key(&n) {
            let graph = self.task.inference_graph(n)?;
            self.inference.insert(n, self.device.compile(&graph, &self.weights, Ending::Nothing)?);
        }
        let program = self.inference.get_mut(&n).expect("it was just made");
        feed(program, batch, range)?;
        program.run(&[])?;
        Ok(program.take_result()?.unwrap_or_default())
    }
}

/// Ranges of `part` pictures, the last perhaps of fewer.
fn parts(n: usize, part: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(part).map(move |start| start..n.min(start + part))
}

/// Gives a program what a training step takes.
pub(super) fn feed_step(program: &mut Program, batch: &Batch, range: Range<usize>, step: u64) -> Result<()> {
    feed(program, batch, range.clone())?;
    if let Some(Mixes { rows, labels, shares }) = &batch.mixes {
        program.feed("mixes", bytemuck::cast_slice(&rows[range.clone()]))?;
        program.feed("partner_labels", bytemuck::cast_slice(&labels[range.clone()]))?;
        program.feed("own_shares", bytemuck::cast_slice(&shares[range.clone()]))?;
    }
    program.feed("step", bytemuck::bytes_of(&[step as i32, range.start as i32]))
}

fn feed(program: &mut Program, batch: &Batch, range: Range<usize>) -> Result<()> {
    let image = batch.images.len() / batch.len();
    program.feed("images", &batch.images[range.start * image..range.end * image])?;
    program.feed("rows", bytemuck::cast_slice(&batch.rows[range.clone()]))?;
    // What the graph does not take is for whoever judges its results.
    for Target { name, words } in &batch.targets {
        let each = words.len() / batch.len();
        if program.takes(name) {
            program.feed(name, bytemuck::cast_slice(&words[range.start * each..range.end * each]))?;
        }
    }
    // Not every task has classes of whole pictures.
    if program.takes("labels") {
        program.feed("labels", bytemuck::cast_slice(&batch.labels[range]))?;
    }
    Ok(())
}
