use std::path::Path;

use clap::Args;

use super::Common;
use crate::bench::{Costs, StepCosts};
use crate::data::Normalization;
use crate::error::Result;
use crate::nn::{Model, zoo};
use crate::tasks::Classifier;
use crate::train::{Adam, Optimizer, RunFolder, Task};

#[derive(Args)]
pub(super) struct Summary {
    /// A zoo name, a model file, or a run folder.
    network: String,
    /// Height, width and channels of the pictures, for a zoo network: N, HxW or HxWxC.
    #[arg(long, value_name = "SIZE")]
    image_size: Option<String>,
    /// Number of classes, for a zoo network.
    #[arg(long, default_value_t = 2, value_name = "N")]
    classes: usize,
    /// Batch size for which memory is given.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    batch_size: u32,
    /// Show the training step instead, as it is planned for DEVICE: each op with its kernel, place and memory traffic.
    #[arg(long)]
    plan: bool,
}

impl Summary {
    pub fn run(&self, common: &Common) -> Result<()> {
        let model = self.model()?;
        if self.plan {
            return self.show_plan(model, common);
        }
        let summary = model.summary(self.batch_size as usize)?;
        super::print(if common.json { super::json(&summary)? } else { summary.to_string().trim_end().to_owned() })
    }

    /// Of a step that trains a classifier with Adam.
    fn show_plan(&self, model: Model, common: &Common) -> Result<()> {
        let device = common.open_device(&common.device)?;
        let units = model.summary(1)?.layers.last().map_or(1, |layer| layer.output.iter().product());
        let classes = (0..units.max(2)).map(|i: usize| i.to_string()).collect();
        let normalization = Normalization { mean: vec![0.0; model.input[2]], std: vec![1.0; model.input[2]] };
        let graph = Classifier::new(model, classes, normalization)?.training_graph(self.batch_size as usize, 0)?;
        let update = Optimizer::Adam(Adam::default()).update();
        let costs = Costs::of(&device, &graph, Some(update.as_ref()))?;
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
            return Ok(RunFolder::open(path)?.read()?.model);
        }
        if super::train::is_file(&self.network) {
            return Model::open(path);
        }
        let default = zoo::default_size(&self.network)?.unwrap_or([64, 64]);
        let input = self.image_size.as_deref().map_or(Ok([default[0], default[1], 3]), input_shape)?;
        zoo::build(&self.network, input, self.classes)
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
            let [h, w] = super::train::image_size(size)?;
            Ok([h, w, if channels == "1" { 1 } else { 3 }])
        }
        _ => super::train::image_size(text).map(|[h, w]| [h, w, 3]),
    }
}
