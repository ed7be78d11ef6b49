//! W1, Keras's first example; W2, a small convolutional network on digits; W3, ResNet-20 in its CIFAR form.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::{BinaryCrossEntropyLossConfig, CrossEntropyLossConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams};
use burn::prelude::*;
use burn::tensor::Distribution;
use burn::tensor::activation::{relu, sigmoid, softmax};

use crate::Bench;

const BATCHES_IN_MEMORY: usize = 8;

/// A network, the shape of its batches and what it must come to.
pub struct Workload {
    pub name: &'static str,
    pub batch: usize,
    /// Channels, height, width.
    image: [usize; 3],
    classes: usize,
    /// As Burn counts them: with the running means and variances.
    parameters: usize,
    network: fn(&Device) -> Network,
}

pub const WORKLOADS: [Workload; 3] = [
    Workload { name: "W1", batch: 32, image: [3, 64, 64], classes: 2, parameters: 3_937_409, network: w1 },
    Workload { name: "W2", batch: 64, image: [1, 28, 28], classes: 10, parameters: 1_199_882, network: w2 },
    Workload { name: "W3", batch: 32, image: [3, 32, 32], classes: 10, parameters: 272_474 + 1568, network: w3 },
];

impl Workload {
    /// Milliseconds of training steps.
    pub fn train(&self, bench: &Bench) -> Vec<f64> {
        let device = bench.device.clone().autodiff();
        let mut model = self.make(&device);
        let mut optimizer = AdamConfig::new().with_epsilon(1e-7).init();
        let images = self.images(&device);
        let labels = self.labels(&device);
        let mut losses = Vec::new();
        let times = bench.time(|i| {
            let i = i % BATCHES_IN_MEMORY;
            let loss = self.loss(model.forward(images[i].clone()), labels[i].clone());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(1e-3, model.clone(), gradients);
            losses.push(loss.into_scalar::<f32>());
            device.sync().expect("the step failed");
        });
        eprintln!("{}: loss {:.4} at first, {:.4} at last", self.name, losses[0], losses[losses.len() - 1]);
        times
    }

    /// Milliseconds of forward passes, probabilities read back.
    pub fn infer(&self, bench: &Bench) -> Vec<f64> {
        let model = self.make(&bench.device);
        let images = self.images(&bench.device);
        bench.time(|i| {
            let logits = model.forward(images[i % BATCHES_IN_MEMORY].clone());
            let probabilities = if self.classes == 2 { sigmoid(logits) } else { softmax(logits, 1) };
            probabilities.try_into_vec_as::<f32>().expect("the forward pass failed");
        })
    }

    fn make(&self, device: &Device) -> Network {
        device.seed(0);
        let model = (self.network)(device);
        assert_eq!(model.num_params(), self.parameters, "{}: parameters", self.name);
        model
    }

    fn images(&self, device: &Device) -> Vec<Tensor<4>> {
        let [channels, height, width] = self.image;
        let batch = |_| Tensor::random([self.batch, channels, height, width], Distribution::Default, device);
        (0..BATCHES_IN_MEMORY).map(batch).collect()
    }

    /// Class ids.
    fn labels(&self, device: &Device) -> Vec<Tensor<1, Int>> {
        let below = self.classes as f64;
        let batch = |_| Tensor::<1>::random([self.batch], Distribution::Uniform(0.0, below), device).int();
        (0..BATCHES_IN_MEMORY).map(batch).collect()
    }

    fn loss(&self, logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let device = logits.device();
        if self.classes == 2 {
            let loss = BinaryCrossEntropyLossConfig::new().with_logits(true).init(&device);
            loss.forward(logits, labels.reshape([self.batch, 1]))
        } else {
            CrossEntropyLossConfig::new().init(&device).forward(logits, labels)
        }
    }
}

#[derive(Module, Debug)]
enum Network {
    Plain(Plain),
    Residual(Residual),
}

impl Network {
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Plain(network) => network.forward(x),
            Self::Residual(network) => network.forward(x),
        }
    }
}

/// Convolutions with relu, a pooling, two dense layers.
#[derive(Module, Debug)]
struct Plain {
    convs: Vec<Conv2d>,
    pool: MaxPool2d,
    hidden: Linear,
    head: Linear,
}

impl Plain {
    fn new(channels: &[usize], features: usize, outputs: usize, device: &Device) -> Network {
        let conv = |pair: &[usize]| Conv2dConfig::new([pair[0], pair[1]], [3, 3]).init(device);
        Network::Plain(Self {
            convs: channels.windows(2).map(conv).collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            hidden: LinearConfig::new(features, 128).init(device),
            head: LinearConfig::new(128, outputs).init(device),
        })
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.convs.iter().fold(x, |x, conv| relu(conv.forward(x)));
        let x = self.pool.forward(x).flatten(1, 3);
        self.head.forward(relu(self.hidden.forward(x)))
    }
}

fn w1(device: &Device) -> Network {
    Plain::new(&[3, 32], 31 * 31 * 32, 1, device)
}

fn w2(device: &Device) -> Network {
    Plain::new(&[1, 32, 64], 12 * 12 * 64, 10, device)
}

/// ResNet-20 for CIFAR: no biases but the last, 1×1 stride-2 shortcuts with batch-norm.
fn w3(device: &Device) -> Network {
    let mut blocks = Vec::new();
    for (inputs, filters) in [(16, 16), (16, 32), (32, 64)] {
        blocks.push(Block::new(inputs, filters, device));
        blocks.extend((1..3).map(|_| Block::new(filters, filters, device)));
    }
    Network::Residual(Residual {
        stem: ConvNorm::new(3, 16, 3, 1, device),
        blocks,
        head: LinearConfig::new(64, 10).init(device),
    })
}

#[derive(Module, Debug)]
struct Residual {
    stem: ConvNorm,
    blocks: Vec<Block>,
    head: Linear,
}

impl Residual {
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = relu(self.stem.forward(x));
        let x = self.blocks.iter().fold(x, |x, block| block.forward(x));
        let means: Tensor<3> = x.flatten(2, 3).mean_dim(2);
        self.head.forward(means.flatten(1, 2))
    }
}

#[derive(Module, Debug)]
struct Block {
    first: ConvNorm,
    second: ConvNorm,
    shortcut: Option<ConvNorm>,
}

impl Block {
    /// Halves height and width where it changes the number of channels.
    fn new(inputs: usize, filters: usize, device: &Device) -> Self {
        let stride = if inputs == filters { 1 } else { 2 };
        Self {
            first: ConvNorm::new(inputs, filters, 3, stride, device),
            second: ConvNorm::new(filters, filters, 3, 1, device),
            shortcut: (stride == 2).then(|| ConvNorm::new(inputs, filters, 1, 2, device)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = relu(self.first.forward(x.clone()));
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        relu(self.second.forward(y) + shortcut)
    }
}

#[derive(Module, Debug)]
struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

impl ConvNorm {
    fn new(inputs: usize, filters: usize, kernel: usize, stride: usize, device: &Device) -> Self {
        let pad = kernel / 2;
        let conv = Conv2dConfig::new([inputs, filters], [kernel, kernel])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
            .with_bias(false);
        Self { conv: conv.init(device), norm: BatchNormConfig::new(filters).init(device) }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(self.conv.forward(x))
    }
}
