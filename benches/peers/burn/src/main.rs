//! Time Burn on the networks and kernels of `ocellus bench`.
//!
//! ```text
//! cargo build --release
//! target/release/burn-bench [--device cpu|gpu] [--steps 50] [--repeats 3] [W1 W2 W3 matmul-512 …]
//! ```
//!
//! Prints one JSON object a line, with the keys of `ocellus bench --json`: median, least and most milliseconds of a step;
//! images a second of a network, in training and in inference; GFLOP/s of a kernel. Data are in memory, numbers float32,
//! the optimizer Adam. Run it on a machine that does nothing else.
//!
//! On a GPU, Burn tunes a kernel when it first meets it, for minutes where the adapter is software, and keeps what it found
//! in `target/environment` of the package that it is run in. Let it tune on a quiet machine too: what it chose beside other
//! work made W2 and W3 1.3 to 1.9 times slower. `CUBECL_ENVIRONMENT=NAME` starts another such record.

mod kernel;
mod network;

use std::time::Instant;

use burn::tensor::{Device, DeviceKind};
use clap::{Parser, ValueEnum};
use serde_json::json;

use crate::kernel::KERNELS;
use crate::network::WORKLOADS;

/// Time Burn on the networks and kernels of `ocellus bench`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// W1, W2, W3, matmul-512, conv3x3-forward, … [default: all]
    names: Vec<String>,
    /// Where to run.
    #[arg(long, value_enum, default_value = "cpu")]
    device: Place,
    /// Steps timed, each repeat.
    #[arg(long, default_value_t = 50)]
    steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Times that each is run.
    #[arg(long, default_value_t = 3)]
    repeats: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Place {
    /// Flex, on every core.
    Cpu,
    /// WGSL through wgpu, with fusion and autotuning.
    Gpu,
}

impl Place {
    fn open(self) -> Device {
        match self {
            Self::Cpu => Device::flex(),
            Self::Gpu => Device::wgpu(DeviceKind::DefaultDevice),
        }
    }

    fn mode(self) -> &'static str {
        match self {
            Self::Cpu => "flex",
            Self::Gpu => "wgpu-fusion-autotune",
        }
    }
}

/// What one step does, to be given as a rate.
enum Work {
    Images(usize),
    Flops(f64),
}

/// Measures and prints.
struct Bench {
    arguments: Arguments,
    device: Device,
}

impl Bench {
    fn asked(&self, name: &str) -> bool {
        self.arguments.names.is_empty() || self.arguments.names.iter().any(|asked| asked == name)
    }

    /// Milliseconds of each timed call; `step` gets its number and returns only when its result is there.
    fn time(&self, step: impl FnMut(usize)) -> Vec<f64> {
        self.time_after(|i| i, step)
    }

    /// The same, where a call begins with what `prepare` made for it outside the clock.
    fn time_after<T>(&self, mut prepare: impl FnMut(usize) -> T, mut step: impl FnMut(T)) -> Vec<f64> {
        let Arguments { steps, warmup, .. } = self.arguments;
        let timed = |i| {
            let prepared = prepare(i);
            let start = Instant::now();
            step(prepared);
            1e3 * start.elapsed().as_secs_f64()
        };
        (0..warmup + steps).map(timed).collect::<Vec<f64>>().split_off(warmup)
    }

    fn report(&self, suite: &str, name: &str, work: Work, run: impl Fn() -> Vec<f64>) {
        let mut times: Vec<f64> = (0..self.arguments.repeats).flat_map(|_| run()).collect();
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let rounded = |x: f64| (x * 1e4).round() / 1e4;
        let mut line = json!({
            "suite": suite,
            "name": name,
            "device": self.name(),
            "mode": self.arguments.device.mode(),
            "ms": rounded(median),
            "min_ms": rounded(times[0]),
            "max_ms": rounded(times[times.len() - 1]),
        });
        match work {
            Work::Images(images) => line["images_per_s"] = json!(rounded(1e3 * images as f64 / median)),
            Work::Flops(flops) => line["gflops"] = json!(rounded(flops / median / 1e6)),
        }
        println!("{line}");
    }

    fn name(&self) -> String {
        match self.device.identity() {
            Some(identity) => format!("burn-gpu: {}", identity.name),
            None => "burn-cpu".to_owned(),
        }
    }
}

fn main() {
    let arguments = Arguments::parse();
    let known = || WORKLOADS.iter().map(|w| w.name).chain(KERNELS.iter().map(|k| k.name));
    if let Some(unknown) = arguments.names.iter().find(|name| !known().any(|known| known == *name)) {
        eprintln!("unknown: {unknown}; there are {}", known().collect::<Vec<_>>().join(", "));
        std::process::exit(2);
    }
    let bench = Bench { device: arguments.device.open(), arguments };
    eprintln!("Burn {}, {}", env!("CARGO_PKG_VERSION"), bench.name());
    for workload in WORKLOADS.iter().filter(|w| bench.asked(w.name)) {
        bench.report("training", workload.name, Work::Images(workload.batch), || workload.train(&bench));
        bench.report("inference", workload.name, Work::Images(workload.batch), || workload.infer(&bench));
    }
    for kernel in KERNELS.iter().filter(|k| bench.asked(k.name)) {
        bench.report("kernel", kernel.name, Work::Flops(kernel.flops()), || kernel.run(&bench));
    }
}
