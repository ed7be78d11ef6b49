//! Networks of the zoo which give a map, a picture or a sequence for each picture: what they give, and their gradients on every
//! device and against the slope of the loss.

mod common;
#[path = "common/gradients.rs"]
mod gradients;

use gradients::demand_gradients;
use ocellus::error::Result;
use ocellus::graph::{Graph, Value};
use ocellus::nn::layers::{Conv2D, Dense, Flatten};
use ocellus::nn::{Activation, Built, Mode, Model, over_frames, zoo};
use ocellus::ops;
use ocellus::tensor::{DType, Meta, Tensor};

const N: usize = 2;

/// Numbers from 0 to 1 that follow from no simple rule.
fn numbers(seed: u32, n: usize) -> Vec<f32> {
    let hash = |i: u32| (i ^ seed).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519) >> 8;
    (0..n as u32).map(|i| hash(i) as f32 / (1 << 24) as f32).collect()
}

fn pictures(model: &Model) -> Tensor {
    let [h, w, c] = model.input;
    Tensor::new([N, h, w, c], numbers(3, N * h * w * c)).unwrap()
}

fn step() -> Tensor {
    Tensor::from_array(&ocellus::tensor::Array { shape: [2].into(), data: vec![1.0, 0.0] }, DType::I32)
}

/// A training step's graph, gradients included, whose loss `loss` makes of the pictures and what became of them.
fn training(model: &Model, loss: impl FnOnce(&mut Graph, Value, &Built) -> Result<Value>) -> Graph {
    let mut graph = Graph::new();
    let [h, w, c] = model.input;
    let images = graph.input("images", Meta::f32([N, h, w, c]));
    let step = graph.input("step", Meta::i32([2]));
    let built = model.build(&mut graph, images, Mode::Training { step, seed: 7 }).unwrap();
    let losses = loss(&mut graph, images, &built).unwrap();
    let axes: Vec<usize> = (0..graph.shape(losses).rank()).collect();
    let loss = ops::mean(&mut graph, losses, &axes, false).unwrap();
    graph.output("loss", loss);
    graph.differentiate_parameters(loss).unwrap();
    graph
}

/// Cross-entropy with a class for each place, step or whatever stands before the last axis.
fn class_everywhere(graph: &mut Graph, built: &Built) -> Result<Value> {
    let logits = built.logits.expect("it ends in probabilities");
    let dims = graph.shape(logits).dims().to_vec();
    let (&classes, places) = dims.split_last().unwrap();
    let count = places.iter().product();
    let rows = ops::reshape(graph, logits, [count, classes])?;
    let wanted = numbers(11, count).iter().map(|x| (x * classes as f32).floor()).collect::<Vec<f32>>();
    let wanted = Tensor::from_array(&Tensor::new([count], wanted)?.to_array(), DType::I32);
    let labels = graph.constant(wanted);
    ops::cross_entropy_with_logits(graph, rows, labels, 0.0, None)
}

#[test]
fn a_u_net_labels_every_pixel() {
    // Odd extents, so that maps are made to fit.
    let model = zoo::build_scaled("unet", [35, 18, 3], 3, 0.125).unwrap();
    assert_eq!(model.summary().unwrap().layers.last().unwrap().output, [35, 18, 3]);
    let graph = training(&model, |graph, _, built| class_everywhere(graph, built));
    demand_gradients(&graph, &model, &[("images", pictures(&model)), ("step", step())]);
    let two_classes = zoo::build("unet", [32, 48, 1], 2).unwrap();
    assert!(two_classes.ends_in_probabilities());
    assert_eq!(two_classes.summary().unwrap().layers.last().unwrap().output, [32, 48, 1]);
}

#[test]
fn an_autoencoder_gives_pictures() {
    let model = zoo::build_scaled("autoencoder", [13, 18, 3], 2, 0.25).unwrap();
    assert_eq!(model.summary().unwrap().layers.last().unwrap().output, [13, 18, 3]);
    let graph = training(&model, |graph, images, built| ops::mean_squared_error(graph, built.output, images));
    demand_gradients(&graph, &model, &[("images", pictures(&model)), ("step", step())]);
}

#[test]
fn a_variational_autoencoder_gives_pictures_and_adds_to_the_loss() {
    let model = zoo::build_scaled("vae", [13, 18, 3], 2, 0.25).unwrap();
    assert_eq!(model.summary().unwrap().layers.last().unwrap().output, [13, 18, 3]);
    let graph = training(&model, |graph, images, built| {
        let [divergence] = built.losses[..] else { panic!("{:?}", built.losses) };
        let logits = built.logits.expect("it ends in probabilities");
        let losses = ops::binary_cross_entropy_with_logits(graph, logits, images)?;
        ops::add(graph, losses, divergence)
    });
    demand_gradients(&graph, &model, &[("images", pictures(&model)), ("step", step())]);
}

#[test]
fn a_crnn_reads_column_by_column() {
    let model = zoo::build_scaled("crnn", [32, 24, 1], 11, 0.25).unwrap();
    assert_eq!(model.summary().unwrap().layers.last().unwrap().output, [5, 11]);
    let graph = training(&model, |graph, _, built| class_everywhere(graph, built));
    demand_gradients(&graph, &model, &[("images", pictures(&model)), ("step", step())]);
}

#[test]
fn a_small_crnn_reads_column_by_column() {
    let model = zoo::build_scaled("crnn-small", [32, 24, 1], 5, 0.5).unwrap();
    assert_eq!(model.summary().unwrap().layers.last().unwrap().output, [6, 5]);
    let graph = training(&model, |graph, _, built| class_everywhere(graph, built));
    demand_gradients(&graph, &model, &[("images", pictures(&model)), ("step", step())]);
}

#[test]
fn frames_share_the_weights_of_the_network_that_looks_at_them() {
    let mut frame = Model::new([6, 5, 1]);
    frame.layer(Conv2D { activation: Activation::Relu, ..Conv2D::new(3, 3) }, [Model::INPUT]);
    frame.layer(Flatten {}, ["conv2d"]);
    frame.layer(Dense::new(4), ["flatten"]);
    let model = over_frames(&frame, 3, 4, 3).unwrap();
    let graph = training(&model, |graph, _, built| class_everywhere(graph, built));
    demand_gradients(&graph, &model, &[("images", pictures(&model)), ("step", step())]);
}
