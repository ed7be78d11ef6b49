//! Products and convolutions by themselves.

use burn::prelude::*;
use burn::tensor::Distribution;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

use crate::Bench;

pub struct Kernel {
    pub name: &'static str,
    op: Op,
}

enum Op {
    /// Of two squares of this extent.
    Matmul(usize),
    Forward,
    GradInput,
    GradWeight,
}

pub const KERNELS: [Kernel; 5] = [
    Kernel { name: "matmul-512", op: Op::Matmul(512) },
    Kernel { name: "matmul-1024", op: Op::Matmul(1024) },
    Kernel { name: "conv3x3-forward", op: Op::Forward },
    Kernel { name: "conv3x3-grad-input", op: Op::GradInput },
    Kernel { name: "conv3x3-grad-weight", op: Op::GradWeight },
];

const BATCH: usize = 8;
const SIZE: usize = 56;
const CHANNELS: usize = 64;

impl Kernel {
    /// Operations of one run, those of the direct algorithm; a multiply-add counts two.
    pub fn flops(&self) -> f64 {
        match self.op {
            Op::Matmul(n) => 2.0 * (n * n * n) as f64,
            _ => 2.0 * (BATCH * SIZE * SIZE * CHANNELS * CHANNELS * 9) as f64,
        }
    }

    /// Milliseconds of runs.
    pub fn run(&self, bench: &Bench) -> Vec<f64> {
        let device = &bench.device;
        match self.op {
            Op::Matmul(n) => {
                let (a, b) = (noise([n, n], device), noise([n, n], device));
                bench.time(|_| wait(a.clone().matmul(b.clone())))
            }
            Op::Forward => {
                let (input, weight) = operands(device);
                bench.time(|_| wait(conv(input.clone(), weight.clone())))
            }
            Op::GradInput => {
                let (input, weight) = operands(&device.clone().autodiff());
                backward(bench, [input.require_grad(), weight], 0)
            }
            Op::GradWeight => {
                let (input, weight) = operands(&device.clone().autodiff());
                backward(bench, [input, weight.require_grad()], 1)
            }
        }
    }
}

fn noise<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

/// Input and weight of the convolution.
fn operands(device: &Device) -> (Tensor<4>, Tensor<4>) {
    (noise([BATCH, CHANNELS, SIZE, SIZE], device), noise([CHANNELS, CHANNELS, 3, 3], device))
}

fn conv(input: Tensor<4>, weight: Tensor<4>) -> Tensor<4> {
    conv2d(input, weight, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1))
}

/// Times the backward pass to the one operand that wants a gradient; it starts by filling the output's with ones.
fn backward(bench: &Bench, operands: [Tensor<4>; 2], wanted: usize) -> Vec<f64> {
    let [input, weight] = &operands;
    let forward = |_| {
        let output = conv(input.clone(), weight.clone());
        wait(output.clone());
        output
    };
    bench.time_after(forward, |output| {
        let gradient = operands[wanted].grad(&output.backward());
        wait(gradient.expect("the operand wants a gradient"));
    })
}

/// Returns when the tensor has been computed: its first value is read back.
fn wait<const D: usize>(tensor: Tensor<D>) {
    tensor.slice([const { 0..1 }; D]).into_scalar::<f32>();
}
