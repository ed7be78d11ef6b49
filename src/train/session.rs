use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Task;
use crate::data::{Batch, Loader};
use crate::device::{Device, Program, Weights};
use crate::error::{Error, Result};
use crate::graph::{Layout, Update};
use crate::tensor::Tensor;

/// A network on a device, with programs for each batch size it has met. They share the weights.
pub struct Session<T: Task> {
    task: T,
    device: Device,
    weights: Weights,
    update: Option<Arc<dyn Update>>,
    seed: u32,
    training: HashMap<usize, Program>,
    inference: HashMap<usize, Program>,
    under_way: VecDeque<(u64, usize)>,
}

/// What came of a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepResult {
    /// Which step, counted from 1.
    pub step: u64,
    /// Mean loss before the update.
    pub loss: f32,
    /// Sum of the metric over the pictures.
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
            training: HashMap::new(),
            inference: HashMap::new(),
            under_way: VecDeque::new(),
        })
    }

    /// What it is for.
    pub fn task(&self) -> &T {
        &self.task
    }

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Starts the training step number `step`, counted from 1. Results come from [`Session::results`].
    ///
    /// Errors: if the device is lost, or the step does not fit it.
    pub fn train(&mut self, batch: &Batch, step: u64, learning_rate: f64) -> Result<Vec<StepResult>> {
        let n = batch.len();
        let update = self.update.clone().ok_or_else(|| Error::config("this session has no optimizer"))?;
        let mut done = Vec::new();
        // Results are taken in order, so a program of another size has to be emptied first.
        if self.under_way.back().is_some_and(|&(_, size)| size != n) {
            done = self.results(0)?;
        }
        if !self.training.contains_key(&n) {
            let graph = self.task.training_graph(n, self.seed)?;
            let program = self.device.compile(&graph, &self.weights, Some(update.clone()))?;
            self.training.insert(n, program);
        }
        let program = self.training.get_mut(&n).expect("it was just made");
        feed(program, batch)?;
        program.feed("step", &(step as i32).to_le_bytes())?;
        program.run(&update.scalars(learning_rate, step))?;
        self.under_way.push_back((step, n));
        // One step's result is taken while the next runs: the device never waits for the host.
        done.extend(self.results(1)?);
        Ok(done)
    }

    /// Results of the steps under way, oldest first, but for the last `leave`.
    pub fn results(&mut self, leave: usize) -> Result<Vec<StepResult>> {
        let mut done = Vec::new();
        while self.under_way.len() > leave {
            let Some((step, samples)) = self.under_way.pop_front() else { break };
            let program = self.training.get_mut(&samples).expect("its step was started");
            let outputs = program.take_result()?.unwrap_or_default();
            let [loss, metric] = outputs.as_slice() else {
                return Err(Error::device("a training step gave no results"));
            };
            done.push(StepResult { step, loss: loss.f32()[0], metric_sum: metric.f32()[0], samples });
        }
        Ok(done)
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

    /// What the inference graph gives for a batch.
    ///
    /// Errors: if the device is lost, or the batch does not fit it.
    pub fn infer(&mut self, batch: &Batch) -> Result<Vec<Tensor>> {
        let n = batch.len();
        if !self.inference.contains_key(&n) {
            let graph = self.task.inference_graph(n)?;
            self.inference.insert(n, self.device.compile(&graph, &self.weights, None)?);
        }
        let program = self.inference.get_mut(&n).expect("it was just made");
        feed(program, batch)?;
        program.run(&[])?;
        Ok(program.take_result()?.unwrap_or_default())
    }

    /// The program for training steps of `n` pictures, if one has been made.
    pub fn training_program(&self, n: usize) -> Option<&Program> {
        self.training.get(&n)
    }
}

fn feed(program: &mut Program, batch: &Batch) -> Result<()> {
    program.feed("images", &batch.images)?;
    program.feed("rows", bytemuck::cast_slice(&batch.rows))?;
    program.feed("labels", bytemuck::cast_slice(&batch.labels))
}
