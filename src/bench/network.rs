//! The three networks on which Ocellus is compared with others: W1, Keras's first example; W2, a small convolutional
//! network on digits; W3, ResNet-20 in its CIFAR form.

use super::{Costs, Measurement, feed_noise, time};
use crate::data::{Normalization, Seed};
use crate::device::{Device, Program};
use crate::error::{Error, Result};
use crate::graph::Layout;
use crate::nn::{Model, Sequential, zoo};
use crate::ops::AugmentRow;
use crate::tasks::Classifier;
use crate::train::{Adam, Optimizer, Precision, Task};

struct Workload {
    model: Model,
    classes: usize,
    batch: usize,
}

fn workload(name: &str) -> Result<Workload> {
    let digits = || {
        Sequential::new([28, 28, 1])
            .conv2d(32, 3)
            .relu()
            .conv2d(64, 3)
            .relu()
            .max_pool2d(2)
            .flatten()
            .dense(128)
            .relu()
            .dense(10)
            .softmax()
    };
    match name {
        "W1" => Ok(Workload { model: zoo::build("keras-first", [64, 64, 3], 2)?, classes: 2, batch: 32 }),
        "W2" => Ok(Workload { model: digits().into(), classes: 10, batch: 64 }),
        "W3" => Ok(Workload { model: zoo::build("resnet20", [32, 32, 3], 10)?, classes: 10, batch: 32 }),
        _ => Err(Error::config(format!("there is no benchmark \"{name}\""))),
    }
}

/// A program with everything it needs to run.
pub(super) struct Ready {
    pub program: Program,
    pub costs: Costs,
    pub scalars: Vec<f32>,
    pub batch: usize,
}

/// A training step in some precision — preprocessing, forward, backward, Adam — or else a forward pass at the same batch size.
pub(super) fn ready(device: &Device, name: &str, training: Option<Precision>) -> Result<Ready> {
    let work = workload(name)?;
    let classifier = classifier(&work)?;
    let update = training.map(|_| Optimizer::Adam(Adam::default()).update());
    let graph = match training {
        Some(_) => classifier.training_graph(work.batch, 0)?,
        None => classifier.inference_graph(work.batch)?,
    };
    let passes = training.unwrap_or_default().passes(device)?;
    let moments = update.as_ref().map_or(0, |u| u.moments());
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), moments)?;
    let initial = work.model.initialize(Seed(0))?;
    weights.set(|name| initial.get(name))?;
    let mut program = device.compile_with(&graph, &weights, update.clone(), passes)?;
    feed_noise(&mut program)?;
    program.feed("rows", bytemuck::cast_slice(&vec![AugmentRow::STILL; work.batch]))?;
    let costs = Costs::of(device, &graph, update.as_deref(), passes)?;
    Ok(Ready { program, costs, scalars: update.map_or(Vec::new(), |u| u.scalars(1e-4, 1)), batch: work.batch })
}

fn classifier(work: &Workload) -> Result<Classifier> {
    let channels = work.model.input[2];
    let normalization = Normalization { mean: vec![0.5; channels], std: vec![0.25; channels] };
    Classifier::new(work.model.clone(), (0..work.classes).map(|i| i.to_string()).collect(), normalization)
}

pub(super) fn measure(device: &Device, name: &str, training: Option<Precision>) -> Result<Measurement> {
    let Ready { mut program, costs, scalars, batch } = ready(device, name, training)?;
    let times = time(&mut program, &scalars)?;
    let flops: u64 = costs.steps.iter().map(|s| s.flops).sum();
    Ok(Measurement {
        gflops: Some(flops as f64 / times.median / 1e6),
        images_per_s: Some(batch as f64 / times.median * 1e3),
        peak_device_bytes: Some(program.device_bytes()),
        dispatches: program.dispatches(),
        bytes_moved: Some(costs.bytes_moved),
        bytes_least: Some(costs.bytes_least),
        ..times.measurement()
    })
}
