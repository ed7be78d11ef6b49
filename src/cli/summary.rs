use std::fmt;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::Common;
use super::check::look;
use super::train::{image_size, refuse_width};
use crate::bench::{Costs, StepCosts};
use crate::data::{Normalization, PartCounts};
use crate::error::Result;
use crate::graph::Passes;
use crate::interop::keras;
use crate::nn::layers::Flatten;
use crate::nn::{self, Model, zoo};
use crate::tasks::Classifier;
use crate::train::{Adam, Optimizer, Precision, RunFolder, Session, Task};

#[derive(Args)]
pub(super) struct Summary {
    /// A zoo name, a model file, an ONNX network, a network of Keras's (.keras, .json), a run folder, or data as `train` takes it.
    network: String,
    /// Height, width and channels of the pictures, for a zoo network or one that leaves them open: N, HxW or HxWxC.
    #[arg(long, value_name = "SIZE")]
    image_size: Option<String>,
    /// Number of classes, for a zoo network.
    #[arg(long, default_value_t = 2, value_name = "N")]
    classes: usize,
    /// So many times the usual number of channels, for a zoo network.
    #[arg(long, value_name = "FACTOR")]
    width: Option<f64>,
    /// Batch size for which memory is given.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    batch_size: u32,
    /// Show the training step instead, as it is planned for DEVICE: each op with its kernel, place and memory traffic.
    #[arg(long)]
    plan: bool,
    /// With --plan: compute forward values again for the backward pass instead of keeping them.
    #[arg(long, requires = "plan")]
    remat: bool,
    /// With --plan: how intermediate values are kept, f32 or f16.
    #[arg(long, requires = "plan", value_name = "f32|f16", default_value = "f32")]
    precision: String,
}

/// A network and what it takes on a device.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    network: nn::Summary,
    /// For which memory is given.
    device: String,
    /// Pictures at once.
    batch: u32,
    /// Device memory of inference: weights, pictures, intermediate values, scratch.
    inference_bytes: u64,
    /// Device memory of training with Adam: also gradients and two moments for each parameter, and what the backward pass
    /// needs of the forward pass.
    training_bytes: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, device, batch, inference_bytes, training_bytes } = self;
        let [inference, training] = [inference_bytes, training_bytes].map(|b| *b as f64 / f64::from(1 << 20));
        writeln!(f, "{network}")?;
        write!(f, "memory: {inference:.1} MiB for batches of {batch} on {device}, {training:.1} MiB to train on them")
    }
}

/// How many classes a network tells apart: two by one number, or as many as it gives.
pub(super) fn class_count(model: &Model) -> Result<usize> {
    let values = model.summary()?.layers.last().map_or(1, |layer| layer.output.iter().product());
    Ok(values.max(2))
}

/// The network as a classifier; its classes have no names yet. What gives a map or a sequence stands for one with as many
/// results.
fn classifier(model: &Model) -> Result<Classifier> {
    let mut model = model.clone();
    let summary = model.summary()?;
    let (last, output) = summary.layers.last().map_or((Model::INPUT, &[][..]), |layer| (&layer.name, &layer.output));
    if output.len() > 1 {
        model.layer(Flatten {}, [last]);
    }
    let classes = (0..class_count(&model)?).map(|i: usize| i.to_string()).collect();
    let normalization = Normalization { mean: vec![0.0; model.input[2]], std: vec![1.0; model.input[2]] };
    Classifier::new(model, classes, normalization)
}

/// What a data set holds.
fn describe(data: &Path, common: &Common) -> Result<()> {
    let audit = look(data, None, None, common)?;
    if common.json {
        return super::print(super::json(&audit)?);
    }
    let width = audit.classes.iter().map(|c| c.chars().count()).max().unwrap_or(0).max("images".len());
    let row = |name: &str, cells: &mut dyn Iterator<Item = String>| {
        format!("{name:<width$}{}", cells.map(|cell| format!("  {cell:>10}")).collect::<String>())
    };
    super::print(row("class", &mut audit.parts.iter().map(|part| part.name.to_owned())))?;
    let known = audit.parts.iter().any(|part| part.counts.iter().any(|&count| count > 0));
    let count = |part: &PartCounts, i: usize| if known { part.counts[i].to_string() } else { "-".to_owned() };
    for (i, class) in audit.classes.iter().enumerate() {
        super::print(row(class, &mut audit.parts.iter().map(|part| count(part, i))))?;
    }
    super::print(row("images", &mut audit.parts.iter().map(|part| part.images.to_string())))?;
    for (name, [least, median, most]) in ["height", "width"].into_iter().zip(audit.sizes) {
        super::print(format!("{name:<8} {least} to {most} pixels, median {median}"))?;
    }
    let [grey, colour] = audit.channels;
    super::print(format!("colours  {colour} images in colour, {grey} grey"))?;
    let numbers = |values: &[f32]| values.iter().map(|v| format!("{v:.4}")).collect::<Vec<_>>().join(" ");
    let Normalization { mean, std } = &audit.statistics;
    super::print(format!("mean     {}   standard deviation {}", numbers(mean), numbers(std)))?;
    audit.findings.iter().try_for_each(|finding| super::print(format!("note     {}", finding.title)))
}

impl Summary {
    pub fn run(&self, common: &Common) -> Result<()> {
        if let Some(data) = self.data() {
            return describe(data, common);
        }
        let model = self.model()?;
        if self.plan {
            return self.show_plan(&model, common);
        }
        let device = common.open_device(&common.device)?;
        let needed =
            |update| Session::new(classifier(&model)?, &device, update, 0)?.needed_bytes(self.batch_size as usize);
        let report = Report {
            network: model.summary()?,
            device: device.name(),
            batch: self.batch_size,
            inference_bytes: needed(None)?,
            training_bytes: needed(Some(Optimizer::Adam(Adam::default()).update()))?,
        };
        super::print(if common.json { super::json(&report)? } else { report.to_string() })
    }

    /// Whether it is data: what is there, and neither a run nor a model file.
    fn data(&self) -> Option<&Path> {
        let path = Path::new(&self.network);
        let is_file = path.extension().is_some_and(|e| e == "toml" || e == "onnx") || keras::is_network(path);
        let is_model = is_file || path.join("config.toml").is_file();
        (path.exists() && !is_model).then_some(path)
    }

    /// Of a step that trains a classifier with Adam.
    fn show_plan(&self, model: &Model, common: &Common) -> Result<()> {
        let device = common.open_device(&common.device)?;
        let graph = classifier(model)?.training_graph(self.batch_size as usize, 0)?;
        let update = Optimizer::Adam(Adam::default()).update();
        let passes = Passes { remat: self.remat, ..self.precision.parse::<Precision>()?.passes(&device)? };
        let costs = Costs::of(&device, &graph, Some(update.as_ref()), passes)?;
        if common.json {
            return super::print(super::json(&costs)?);
        }
        super::print(format!(
            "{:>4}  {:<20} {:<24} {:<22} {:<18} {:<24} {:>9}",
            "step", "op", "layer", "kernel", "result", "place", "KiB moved"
        ))?;
        for (i, step) in costs.steps.iter().enumerate() {
            let shape: Vec<String> = step.shape.iter().map(usize::to_string).collect();
            let StepCosts { op, layer, kernel, place, bytes, .. } = step;
            let (shape, kib) = (shape.join("x"), *bytes as f64 / 1024.0);
            super::print(format!("{i:>4}  {op:<20} {layer:<24} {kernel:<22} {shape:<18} {place:<24} {kib:>9.1}"))?;
        }
        super::print(totals(&costs, &device.name(), self.batch_size))
    }

    fn model(&self) -> Result<Model> {
        let path = Path::new(&self.network);
        if path.is_dir() {
            refuse_width(self.width)?;
            return Ok(RunFolder::open(path)?.read()?.model);
        }
        let given = self.image_size.as_deref().map(input_shape).transpose()?;
        if super::train::is_file(&self.network) {
            refuse_width(self.width)?;
            return super::train::open_model(&self.network, given.map(|[h, w, _]| [h, w]));
        }
        let [h, w] = zoo::default_size(&self.network)?.unwrap_or([64, 64]);
        zoo::build_scaled(&self.network, given.unwrap_or([h, w, 3]), self.classes, self.width.unwrap_or(1.0))
    }
}

fn totals(costs: &Costs, device: &str, batch: u32) -> String {
    let Costs { steps, dispatches, bytes_moved, bytes_least, peak_device_bytes, live_bytes } = costs;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let ratio = |a: u64, b: u64| a as f64 / b as f64;
    let dispatches = dispatches.map_or(String::new(), |n| format!(" in {n} dispatches, the optimizer's included"));
    format!(
        "\n{} steps{dispatches}, for batches of {batch} on {device}\n\
         traffic: {:.1} MiB, {:.2} times the least possible of {:.1} MiB\n\
         memory: {:.1} MiB, {:.2} times the {:.1} MiB alive at the worst moment",
        steps.len(),
        mib(*bytes_moved),
        ratio(*bytes_moved, *bytes_least),
        mib(*bytes_least),
        mib(*peak_device_bytes),
        ratio(*peak_device_bytes, *live_bytes),
        mib(*live_bytes),
    )
}

fn input_shape(text: &str) -> Result<[usize; 3]> {
    match text.rsplit_once(['x', 'X']) {
        Some((size, channels @ ("1" | "3"))) => {
            let [h, w] = image_size(size)?;
            Ok([h, w, if channels == "1" { 1 } else { 3 }])
        }
        _ => image_size(text).map(|[h, w]| [h, w, 3]),
    }
}
