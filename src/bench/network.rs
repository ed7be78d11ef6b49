//! The three networks on which Ocellus is compared with others: W1, Keras's first example; W2, a small convolutional
//! network on digits; W3, ResNet-20 in its CIFAR form.

use super::{Costs, Measurement, feed_noise, time};
use crate::data::Normalization;
use crate::device::{Device, Program};
use crate::error::{Error, Result};
use crate::graph::{Graph, Layout};
use crate::nn::{Model, Sequential, zoo};
use crate::tasks::Classifier;
use crate::tensor::Meta;
use crate::train::{Adam, Optimizer, Task};

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

/// A training step: preprocessing, forward, backward, Adam.
pub(super) fn training(device: &Device, name: &str) -> Result<Measurement> {
    let work = workload(name)?;
    let graph = classifier(&work)?.training_graph(work.batch, 0)?;
    let update = Optimizer::Adam(Adam::default()).update();
    measure(device, &work, &graph, Some(update))
}

/// A forward pass at the training batch size.
pub(super) fn inference(device: &Device, name: &str) -> Result<Measurement> {
    let work = workload(name)?;
    let graph = classifier(&work)?.inference_graph(work.batch)?;
    measure(device, &work, &graph, None)
}

fn classifier(work: &Workload) -> Result<Classifier> {
    let channels = work.model.input[2];
    let normalization = Normalization { mean: vec![0.5; channels], std: vec![0.25; channels] };
    Classifier::new(work.model.clone(), (0..work.classes).map(|i| i.to_string()).collect(), normalization)
}

fn measure(
    device: &Device,
    work: &Workload,
    graph: &Graph,
    update: Option<std::sync::Arc<dyn crate::graph::Update>>,
) -> Result<Measurement> {
    let moments = update.as_ref().map_or(0, |u| u.moments());
    let weights = device.weights(Layout::parameters(graph), Layout::states(graph), moments)?;
    let initial = work.model.initialize(crate::data::Seed(0))?;
    weights.set(|name| initial.get(name))?;
    let mut program = device.compile(graph, &weights, update.clone())?;
    feed_noise(&mut program)?;
    let row =
        crate::data::Augment::default().row(crate::data::Seed(0), 0, 0, [work.model.input[0], work.model.input[1]]);
    program.feed("rows", bytemuck::cast_slice(&row.repeat(work.batch)))?;
    let costs = Costs::of(device, graph, update.as_deref())?;
    let scalars = update.map_or(Vec::new(), |u| u.scalars(1e-4, 1));
    let times = time(&mut program, &scalars)?;
    Ok(Measurement {
        gflops: Some(flops(&program) as f64 / times.median / 1e6),
        images_per_s: Some(work.batch as f64 / times.median * 1e3),
        peak_device_bytes: Some(program.device_bytes()),
        dispatches: program.dispatches(),
        bytes_moved: Some(costs.bytes_moved),
        bytes_least: Some(costs.bytes_least),
        ..times.measurement()
    })
}

fn flops(program: &Program) -> u64 {
    let graph = &program.plan().graph;
    let of = |node: &crate::graph::Node| {
        let metas: Vec<&Meta> = node.inputs.iter().map(|&v| graph.meta(v)).collect();
        node.op().map_or(0, |op| op.flops(&metas, &node.meta))
    };
    graph.nodes().iter().map(of).sum()
}
