//! What a device reaches at best: multiply-adds on values in registers, and a copy through memory.

use std::time::Instant;

use rayon::prelude::*;

use super::{Measurement, Times, time};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::{Binding, Capabilities, Ending, Graph, Kernel, Launch, Layout, Op, Tolerance};
use crate::tensor::{Array, Meta, View, ViewMut};

/// A device's measured peaks.
#[derive(Clone, Debug)]
pub struct Peak {
    /// 10^9 floating-point operations a second.
    pub gflops: f64,
    /// 10^9 bytes a second, read and written together.
    pub gbytes_per_s: f64,
    fma: Measurement,
    bandwidth: Measurement,
}

/// Multiply-adds of one lane in one run.
const STEPS: usize = 4096;
/// Bytes that the bandwidth measurement copies: beyond any cache.
const COPIED: usize = 64 << 20;

impl Peak {
    /// Measures both.
    ///
    /// Errors: if the device fails.
    pub fn measure(device: &Device) -> Result<Self> {
        let fma = match device {
            Device::Cpu => cpu_fma(),
            Device::Gpu(_) => gpu_fma(device)?,
        };
        let bandwidth = copy(device)?;
        let known = |x: Option<f64>| x.unwrap_or(f64::NAN);
        Ok(Self { gflops: known(fma.gflops), gbytes_per_s: known(bandwidth.gbytes_per_s), fma, bandwidth })
    }

    pub(super) fn measurement(&self, name: &str) -> Result<Measurement> {
        match name {
            "fma" => Ok(self.fma.clone()),
            "bandwidth" => Ok(self.bandwidth.clone()),
            _ => Err(Error::config(format!("there is no benchmark \"{name}\""))),
        }
    }
}

/// A kernel that only multiplies and adds: its own op, so that it runs like any other.
#[derive(Debug)]
struct MultiplyAdd;

/// Invocations of the kernel; each works on eight vectors of four.
const INVOCATIONS: usize = 1 << 14;

impl Op for MultiplyAdd {
    fn name(&self) -> &'static str {
        "multiply_add"
    }

    fn infer(&self, _inputs: &[&Meta]) -> Result<Meta> {
        Ok(Meta::f32([INVOCATIONS]))
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        Array::from_fn(&output.shape, |_| inputs[0].data[0])
    }

    fn cpu(&self, _inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        output.f32().fill(0.0);
    }

    fn kernels(&self, _inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let launch = Launch::new("peak_fma.wgsl", include_str!("../../shaders/peak_fma.wgsl"))
            .constants([("STEPS", STEPS)])
            .params([output.elements()])
            .bindings([Binding::Input(0), Binding::Output])
            .threads(output.elements(), 64);
        vec![Kernel::single("registers", launch)]
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Transcendental
    }
}

fn gpu_fma(device: &Device) -> Result<Measurement> {
    let mut graph = Graph::new();
    let x = graph.input("x", Meta::f32([4]));
    let y = graph.apply(MultiplyAdd, &[x])?;
    let times = timed(device, graph, y)?;
    let flops = (INVOCATIONS * STEPS * 8 * 4 * 2) as f64;
    Ok(Measurement { gflops: Some(flops / times.median / 1e6), ..times.measurement() })
}

fn copy(device: &Device) -> Result<Measurement> {
    let mut graph = Graph::new();
    let x = graph.input("x", Meta::f32([COPIED / 4]));
    let y = crate::ops::copy(&mut graph, x)?;
    let times = timed(device, graph, y)?;
    Ok(Measurement { gbytes_per_s: Some(2.0 * COPIED as f64 / times.median / 1e6), ..times.measurement() })
}

fn timed(device: &Device, mut graph: Graph, result: crate::graph::Value) -> Result<Times> {
    graph.keep(result);
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), 0)?;
    let mut program = device.compile(&graph, &weights, Ending::Nothing)?;
    super::feed_noise(&mut program)?;
    time(&mut program, &[])
}

/// All cores at once, with the widest vectors they have.
fn cpu_fma() -> Measurement {
    let threads = rayon::current_num_threads();
    let round = || {
        let start = Instant::now();
        let sum: f32 = (0..threads).into_par_iter().with_max_len(1).map(|i| fma_chains(1.0 + i as f32 * 1e-6)).sum();
        std::hint::black_box(sum);
        start.elapsed().as_secs_f64() * 1e3
    };
    round();
    let times = Times::of((0..super::ROUNDS).map(|_| round()).collect());
    let flops = (threads * CHAIN_STEPS * LANES * 2) as f64;
    Measurement { gflops: Some(flops / times.median / 1e6), ..times.measurement() }
}

/// Independent chains of multiply-adds: enough to hide their latency with 16 lanes a vector.
const LANES: usize = 192;
const CHAIN_STEPS: usize = 1 << 20;

fn fma_chains(factor: f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function is compiled for.
            return unsafe { fma_chains_avx512(factor) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { fma_chains_avx2(factor) };
        }
    }
    chains(factor, |x, a, b| x * a + b)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn fma_chains_avx512(factor: f32) -> f32 {
    chains(factor, f32::mul_add)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn fma_chains_avx2(factor: f32) -> f32 {
    chains(factor, f32::mul_add)
}

#[inline(always)]
fn chains(factor: f32, f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut x = [1.0_f32; LANES];
    let shift = std::hint::black_box(1e-7);
    for _ in 0..CHAIN_STEPS {
        for x in &mut x {
            *x = f(*x, factor, shift);
        }
    }
    x.iter().sum()
}
