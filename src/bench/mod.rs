//! How fast is a device? Kernels and whole training steps, in GFLOP/s and images/s and as a share of what the device was
//! measured to reach at best. What goes out is a list of [`Measurement`]s.

mod costs;
mod network;
mod peak;
mod profile;

use std::time::Instant;

use serde::Serialize;

use crate::device::{Device, Program};
use crate::error::{Error, Result};
use crate::graph::{Ending, Graph, Layout, Value};
use crate::ops::{self, Conv2d};
use crate::tensor::{Array, DType, Meta, Tensor};
use crate::train::Precision;

pub use costs::{Costs, StepCosts};
pub use peak::Peak;
pub use profile::{Profile, StepTime};

/// One line of a report; what does not apply is left out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measurement {
    /// `kernel`, `training`, `inference` or `peak`.
    pub suite: &'static str,
    /// What was measured.
    pub name: String,
    /// Where.
    pub device: String,
    /// Median time of one run.
    pub ms: f64,
    /// Shortest.
    pub min_ms: f64,
    /// Longest.
    pub max_ms: f64,
    /// 10^9 floating-point operations a second, by the definition of the op: a multiply-add counts two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// 10^9 bytes a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gbytes_per_s: Option<f64>,
    /// Of the device's measured multiply-add peak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_peak: Option<f64>,
    /// Of the device's measured bandwidth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_bandwidth: Option<f64>,
    /// Images a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_s: Option<f64>,
    /// Bytes of device memory: intermediate values, inputs, constants, weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_device_bytes: Option<u64>,
    /// Dispatches of a run, on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatches: Option<usize>,
    /// Bytes that a run moves through memory; see [`Costs::bytes_moved`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_moved: Option<u64>,
    /// What it would have to move at least; see [`Costs::bytes_least`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_least: Option<u64>,
}

/// A group of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// What the device reaches at best.
    Peak,
    /// Products and convolutions by themselves.
    Kernel,
    /// Whole training steps.
    Training,
    /// Forward passes.
    Inference,
}

/// Everything that can be measured: suite and name.
pub const NAMES: &[(Suite, &str)] = &[
    (Suite::Peak, "fma"),
    (Suite::Peak, "bandwidth"),
    (Suite::Kernel, "matmul-512"),
    (Suite::Kernel, "matmul-1024"),
    (Suite::Kernel, "conv3x3-forward"),
    (Suite::Kernel, "conv3x3-grad-input"),
    (Suite::Kernel, "conv3x3-grad-weight"),
    (Suite::Training, "W1"),
    (Suite::Training, "W2"),
    (Suite::Training, "W3"),
    (Suite::Inference, "W1"),
    (Suite::Inference, "W2"),
    (Suite::Inference, "W3"),
];

/// Measures on one device; knows its peaks.
pub struct Bench {
    device: Device,
    precision: Precision,
    peak: Peak,
}

impl Bench {
    /// Measures the device's peaks first. Training steps keep intermediate values as `precision` says.
    ///
    /// Errors: if the device fails, or does not have the precision.
    pub fn new(device: &Device, precision: Precision) -> Result<Self> {
        precision.passes(device)?;
        Ok(Self { device: device.clone(), precision, peak: Peak::measure(device)? })
    }

    /// Measures one of [`NAMES`].
    ///
    /// Errors: if the device fails, or there is no such thing to measure.
    pub fn measure(&self, suite: Suite, name: &str) -> Result<Measurement> {
        let mut measurement = match suite {
            Suite::Peak => self.peak.measurement(name)?,
            Suite::Kernel => self.kernel(name)?,
            Suite::Training => network::measure(&self.device, name, Some(self.precision))?,
            Suite::Inference => network::measure(&self.device, name, None)?,
        };
        measurement.suite = match suite {
            Suite::Peak => "peak",
            Suite::Kernel => "kernel",
            Suite::Training => "training",
            Suite::Inference => "inference",
        };
        measurement.name = name.to_owned();
        measurement.device = self.device.name();
        if suite != Suite::Peak {
            measurement.share_of_peak = measurement.gflops.map(|g| g / self.peak.gflops);
            measurement.gbytes_per_s = measurement.bytes_moved.map(|bytes| bytes as f64 / measurement.ms / 1e6);
            measurement.share_of_bandwidth = measurement.gbytes_per_s.map(|g| g / self.peak.gbytes_per_s);
        }
        Ok(measurement)
    }

    fn kernel(&self, name: &str) -> Result<Measurement> {
        let mut graph = Graph::new();
        let (result, flops) = kernel_graph(&mut graph, name)?;
        graph.keep(result);
        let weights = self.device.weights(Layout::parameters(&graph), Layout::states(&graph), 0)?;
        let mut program = self.device.compile(&graph, &weights, Ending::Nothing)?;
        feed_noise(&mut program)?;
        let times = time(&mut program, &[])?;
        Ok(Measurement {
            gflops: Some(flops / times.median / 1e6),
            bytes_moved: Some(program.plan().bytes_moved(None)),
            ..times.measurement()
        })
    }
}

/// The op to measure and its operations.
fn kernel_graph(graph: &mut Graph, name: &str) -> Result<(Value, f64)> {
    if let Some(n) = name.strip_prefix("matmul-").and_then(|n| n.parse::<usize>().ok()) {
        let (a, b) = (graph.input("a", Meta::f32([n, n])), graph.input("b", Meta::f32([n, n])));
        return Ok((ops::matmul(graph, a, b, false, false)?, 2.0 * (n * n * n) as f64));
    }
    let (n, size, channels) = (8, 56, 64);
    let input = graph.input("input", Meta::f32([n, size, size, channels]));
    let weight = graph.input("weight", Meta::f32([3, 3, channels, channels]));
    let conv = Conv2d { padding: [1; 4], ..Conv2d::default() };
    let flops = 2.0 * (n * size * size * channels * channels * 9) as f64;
    if name == "conv3x3-forward" {
        return Ok((ops::conv2d(graph, input, weight, conv)?, flops));
    }
    let grad = graph.input("grad", Meta::f32([n, size, size, channels]));
    match name {
        "conv3x3-grad-input" => Ok((ops::conv2d_grad_input(graph, grad, weight, conv, [size, size])?, flops)),
        "conv3x3-grad-weight" => Ok((ops::conv2d_grad_weight(graph, input, grad, conv, [3, 3])?, flops)),
        _ => Err(Error::config(format!("there is no benchmark \"{name}\""))),
    }
}

/// Gives every input numbers between -1 and 1; class ids and bytes get small whole ones.
fn feed_noise(program: &mut Program) -> Result<()> {
    let inputs: Vec<(String, Meta)> = program
        .plan()
        .graph
        .nodes()
        .iter()
        .filter(|n| matches!(n.kind, crate::graph::Kind::Input))
        .map(|n| (n.name.clone(), n.meta.clone()))
        .collect();
    for (name, meta) in inputs {
        let noise = |i: usize| (i as u32).wrapping_mul(2_654_435_761) >> 8;
        let value = |i: usize| match meta.dtype {
            DType::F32 | DType::F16 => f64::from(noise(i)) / f64::from(1 << 23) - 1.0,
            DType::I32 => f64::from(noise(i) % 2),
            DType::U8 => f64::from(noise(i) % 256),
        };
        program.feed(&name, Tensor::from_array(&Array::from_fn(&meta.shape, value), meta.dtype).bytes())?;
    }
    Ok(())
}

/// Times of several runs, in milliseconds.
struct Times {
    median: f64,
    least: f64,
    most: f64,
}

impl Times {
    fn of(mut samples: Vec<f64>) -> Self {
        samples.sort_by(f64::total_cmp);
        let [least, .., most] = samples[..] else {
            return Self { median: samples[0], least: samples[0], most: samples[0] };
        };
        Self { median: samples[samples.len() / 2], least, most }
    }

    fn measurement(&self) -> Measurement {
        Measurement { ms: self.median, min_ms: self.least, max_ms: self.most, ..Measurement::default() }
    }
}

/// Rounds that are timed.
const ROUNDS: usize = 7;
/// Least length of a round, so that the clock and one submit do not count.
const ROUND_SECONDS: f64 = 0.15;

/// Times runs of a program after warming up: rounds of several runs each, submitted together.
fn time(program: &mut Program, scalars: &[f32]) -> Result<Times> {
    program.repeat(1, scalars)?;
    let start = Instant::now();
    program.repeat(2, scalars)?;
    let once = start.elapsed().as_secs_f64() / 2.0;
    let runs = (ROUND_SECONDS / once).clamp(1.0, 1000.0) as usize;
    let round = |_| {
        let start = Instant::now();
        program.repeat(runs, scalars)?;
        Ok(start.elapsed().as_secs_f64() * 1e3 / runs as f64)
    };
    Ok(Times::of((0..ROUNDS).map(round).collect::<Result<_>>()?))
}
