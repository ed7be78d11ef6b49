use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::Common;
use crate::check::{Outcome, check_cpu, check_gpu};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu::{AdapterSummary, adapters, describe};

#[derive(Args)]
pub(super) struct Devices {
    /// Run every op in every kernel variant on DEVICE (default: the one --device names) and compare with the reference.
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, default_missing_value = "")]
    check: Option<String>,
}

/// A line of the list for machines.
#[derive(Serialize)]
struct Listed {
    index: usize,
    #[serde(flatten)]
    adapter: AdapterSummary,
}

impl Devices {
    pub fn run(&self, common: &Common) -> Result<()> {
        match &self.check {
            Some(name) if name.is_empty() => check(common, &common.device),
            Some(name) => check(common, name),
            None => list(common),
        }
    }
}

fn list(common: &Common) -> Result<()> {
    let found: Vec<AdapterSummary> = adapters().iter().map(describe).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if common.json {
        let adapters: Vec<Listed> =
            found.into_iter().enumerate().map(|(index, adapter)| Listed { index, adapter }).collect();
        return super::print(super::json(&serde_json::json!({ "adapters": adapters, "cpu": { "cores": cores } }))?);
    }
    for (index, a) in found.iter().enumerate() {
        let mib = |bytes: u64| bytes >> 20;
        super::print(format!("{index}  {} ({}, {})", a.name, a.backend, kind(a)))?;
        super::print(format!("     driver             {}", a.driver))?;
        super::print(format!(
            "     largest binding    {} MiB; buffer {} MiB",
            mib(a.max_binding_bytes),
            mib(a.max_buffer_bytes)
        ))?;
        super::print(format!(
            "     workgroup          {} invocations, {} KiB; {} storage buffers",
            a.workgroup_invocations,
            a.workgroup_bytes >> 10,
            a.storage_buffers
        ))?;
        super::print(format!("     subgroup           {} to {}", a.subgroup[0], a.subgroup[1]))?;
        super::print(format!("     features           {}", a.features.join(", ")))?;
    }
    super::print(format!("cpu  this machine's {cores} cores"))?;
    let auto = found.iter().find(|a| !a.software).map_or("cpu", |a| a.name.as_str());
    super::print(format!("auto means {auto}"))
}

fn kind(adapter: &AdapterSummary) -> &str {
    match adapter.kind.as_str() {
        _ if adapter.software => "software",
        "DiscreteGpu" => "discrete GPU",
        "IntegratedGpu" => "integrated GPU",
        "VirtualGpu" => "virtual GPU",
        _ => "other",
    }
}

/// Counts of one family in one kernel variant.
#[derive(Default, Serialize)]
struct Row {
    passed: usize,
    failed: usize,
}

fn check(common: &Common, name: &str) -> Result<()> {
    let device = Device::named(name)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut report = |o: Outcome| {
        common.say_more(format!("{} #{} [{}]", o.family, o.sample, o.variant));
        outcomes.push(o);
    };
    let seed = common.seed.unwrap_or(0);
    match &device {
        Device::Cpu => check_cpu("", seed, &mut report)?,
        Device::Gpu(gpu) => check_gpu(gpu, "", seed, &mut report)?,
    }
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    for outcome in &outcomes {
        let row = rows.entry((outcome.family, &outcome.variant)).or_default();
        *(if outcome.failure.is_some() { &mut row.failed } else { &mut row.passed }) += 1;
    }
    super::print(format!("ocellus {} on {}", env!("CARGO_PKG_VERSION"), device.name()))?;
    if let Device::Gpu(gpu) = &device {
        super::print(format!("driver {}", gpu.summary().driver))?;
    }
    super::print(format!("{:<22} {:<28} {:>7} {:>7}", "op", "kernel", "passed", "failed"))?;
    for ((family, variant), row) in &rows {
        super::print(format!("{family:<22} {variant:<28} {:>7} {:>7}", row.passed, row.failed))?;
    }
    let failures: Vec<&Outcome> = outcomes.iter().filter(|o| o.failure.is_some()).collect();
    for outcome in failures.iter().take(20) {
        let failure = outcome.failure.as_deref().unwrap_or_default();
        super::print(format!(
            "failed: {} #{} [{}] {}: {failure}",
            outcome.family, outcome.sample, outcome.variant, outcome.what
        ))?;
    }
    if failures.is_empty() {
        return super::print(format!("all {} passed", outcomes.len()));
    }
    Err(Error::device(format!(
        "{} of {} checks failed on {}: please report the table above",
        failures.len(),
        outcomes.len(),
        device.name()
    )))
}
