//! Whole training programs: fusion and sharing change no result, the memory plan lets nothing overlap, and the same seed
//! gives the same bits.

mod common;
#[path = "common/gradients.rs"]
mod gradients;

use common::{batch, devices};
use gradients::{demand_gradients, gradients};
use ocellus::data::{Normalization, Seed};
use ocellus::device::{Arena, Device};
use ocellus::graph::{Layout, Passes, Place, Plan, optimize};
use ocellus::nn::{Model, zoo};
use ocellus::ops::AugmentRow;
use ocellus::tasks::Classifier;
use ocellus::tensor::{DType, Meta, Tensor};
use ocellus::train::{Adam, Optimizer, Session, Task};

const N: usize = 4;

fn classifier(model: Model) -> Classifier {
    let normalization = Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] };
    Classifier::new(model, (0..10).map(|i| i.to_string()).collect(), normalization).unwrap()
}

fn resnet() -> Model {
    zoo::build("resnet20", [16, 16, 3], 10).unwrap()
}

fn pixels(seed: u32, n: usize) -> Vec<u8> {
    let hash = |i: u32| (i ^ seed).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519) >> 24;
    (0..(n * 16 * 16 * 3) as u32).map(|i| hash(i) as u8).collect()
}

fn labels(seed: u32, n: usize) -> Vec<i32> {
    (0..n as u32).map(|i| ((i * 7 + seed) % 10) as i32).collect()
}

/// What a training graph is fed.
fn given() -> Vec<(&'static str, Tensor)> {
    let batch = batch(pixels(5, N), labels(5, N));
    let tensor = |meta: Meta, bytes: &[u8]| Tensor::from_bytes(&meta, bytes).unwrap();
    vec![
        ("images", tensor(Meta::new([N, 16, 16, 3], DType::U8), &batch.images)),
        ("rows", tensor(Meta::f32([N, AugmentRow::LEN]), bytemuck::cast_slice(&batch.rows))),
        ("labels", tensor(Meta::i32([N]), bytemuck::cast_slice(&batch.labels))),
        ("step", tensor(Meta::i32([2]), bytemuck::bytes_of(&[1_i32, 0]))),
    ]
}

#[test]
fn passes_change_no_result() {
    let model = resnet();
    let graph = classifier(model.clone()).training_graph(N, 0).unwrap();
    for device in devices() {
        let (loss, plain) = gradients(&device, &graph, &model, &given(), Passes::NONE);
        let (fused_loss, fused) = gradients(&device, &graph, &model, &given(), device.passes());
        assert!(loss.is_finite() && loss > 0.5);
        assert!((loss - fused_loss).abs() < 1e-5 * loss, "{}: loss {loss}, fused {fused_loss}", device.name());
        let largest = plain.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        assert!(largest > 0.0);
        for (i, (a, b)) in plain.iter().zip(&fused).enumerate() {
            // Rounding differs where operations were regrouped, and twenty layers of it add up.
            assert!((a - b).abs() < 1e-4 * largest, "{}: gradient {i}: {a}, fused {b}", device.name());
        }
    }
}

/// Of every layer that normalises, enlarges, cuts, weighs, merges or drops.
const MANY: &str = r#"
input = [16, 16, 3]
[[layer]]
name = "stem"
type = "conv2d"
filters = 8
kernel = 3
strides = 2
padding = "same"
[[layer]]
name = "group"
type = "group_normalization"
groups = 4
[[layer]]
type = "prelu"
shared_axes = [1, 2]
[[layer]]
name = "weigh"
type = "squeeze_excite"
units = 4
gate = "hard_sigmoid"
[[layer]]
type = "spatial_dropout2d"
rate = 0.2
[[layer]]
name = "branch"
type = "layer_normalization"
[[layer]]
type = "drop_path"
rate = 0.3
[[layer]]
name = "residual"
type = "add"
inputs = ["drop_path", "weigh"]
[[layer]]
name = "up"
type = "conv2d_transpose"
filters = 5
kernel = 3
strides = 2
padding = "same"
activation = "mish"
inputs = ["residual"]
[[layer]]
name = "repeated"
type = "up_sampling2d"
inputs = ["residual"]
[[layer]]
name = "narrow"
type = "conv2d"
filters = 5
kernel = 1
inputs = ["repeated"]
[[layer]]
name = "product"
type = "multiply"
inputs = ["up", "narrow"]
[[layer]]
name = "largest"
type = "maximum"
inputs = ["up", "narrow"]
[[layer]]
name = "mean"
type = "average"
inputs = ["product", "largest"]
[[layer]]
type = "cropping2d"
cropping = [[1, 2], [3, 0]]
[[layer]]
type = "permute"
dims = [2, 1, 3]
[[layer]]
type = "rms_normalization"
[[layer]]
type = "global_average_pool2d"
[[layer]]
type = "dense"
units = 10
activation = "softmax"
"#;

#[test]
fn many_layers_train_the_same_on_every_device_and_by_the_slope_of_the_loss() {
    let model = Model::parse(MANY).unwrap();
    let graph = classifier(model.clone()).training_graph(N, 0).unwrap();
    demand_gradients(&graph, &model, &given());
}

/// Of every layer that reads sequences or resizes, but those that are unrolled.
const SEQUENCES: &str = r#"
input = [16, 16, 3]
[[layer]]
type = "resizing"
height = 12
width = 9
[[layer]]
type = "instance_normalization"
[[layer]]
type = "up_sampling2d"
size = [1, 2]
interpolation = "bilinear"
[[layer]]
name = "smaller"
type = "resizing"
height = 5
width = 20
interpolation = "nearest"
[[layer]]
name = "rows"
type = "reshape"
target_shape = [20, 15]
[[layer]]
name = "conv"
type = "conv1d"
filters = 8
kernel = 3
padding = "causal"
dilation = 2
activation = "tanh"
[[layer]]
type = "max_pool1d"
[[layer]]
name = "strided"
type = "conv1d"
filters = 6
kernel = 3
strides = 2
padding = "same"
groups = 2
inputs = ["conv"]
[[layer]]
type = "average_pool1d"
size = 3
strides = 2
padding = "same"
[[layer]]
name = "whole"
type = "activation"
activation = "relu"
inputs = ["max_pooling1d"]
[[layer]]
type = "cross_attention"
heads = 2
inputs = ["whole", "average_pooling1d"]
[[layer]]
name = "mean"
type = "global_average_pool1d"
[[layer]]
name = "largest"
type = "global_max_pool1d"
inputs = ["cross_attention"]
[[layer]]
type = "concatenate"
inputs = ["mean", "largest"]
[[layer]]
type = "dense"
units = 10
activation = "softmax"
"#;

#[test]
fn layers_for_sequences_train_the_same_on_every_device_and_by_the_slope_of_the_loss() {
    let model = Model::parse(SEQUENCES).unwrap();
    let graph = classifier(model.clone()).training_graph(N, 0).unwrap();
    demand_gradients(&graph, &model, &given());
}

#[test]
fn an_embedding_trains_by_the_slope_of_the_loss() {
    let text = "input = [16, 16, 3]\n\
         [[layer]]\ntype = \"max_pool2d\"\nsize = 4\n\
         [[layer]]\ntype = \"embedding\"\ninput_dim = 256\noutput_dim = 4\n\
         [[layer]]\ntype = \"flatten\"\n\
         [[layer]]\ntype = \"dense\"\nunits = 10\nactivation = \"softmax\"\n";
    let model = Model::parse(text).unwrap();
    // Bytes as they are.
    let raw = Normalization { mean: vec![0.0; 3], std: vec![1.0 / 255.0; 3] };
    let classifier = Classifier { normalization: raw, ..classifier(model.clone()) };
    demand_gradients(&classifier.training_graph(N, 0).unwrap(), &model, &given());
}

#[test]
fn a_classifier_counts_what_its_layers_add_to_the_loss() {
    let network = |kl_weight: f64| {
        let text = format!(
            "input = [16, 16, 3]\n\
             [[layer]]\ntype = \"global_average_pool2d\"\n\
             [[layer]]\ntype = \"dense\"\nname = \"mean\"\nunits = 5\n\
             [[layer]]\ntype = \"dense\"\nname = \"log_variance\"\nunits = 5\ninputs = [\"global_average_pooling2d\"]\n\
             [[layer]]\ntype = \"sampling\"\nkl_weight = {kl_weight:?}\ninputs = [\"mean\", \"log_variance\"]\n\
             [[layer]]\ntype = \"dense\"\nunits = 10\nactivation = \"softmax\"\n"
        );
        Model::parse(&text).unwrap()
    };
    let loss = |kl_weight: f64| {
        let model = network(kl_weight);
        let graph = classifier(model.clone()).training_graph(N, 0).unwrap();
        demand_gradients(&graph, &model, &given());
        gradients(&Device::Cpu, &graph, &model, &given(), Passes::NONE).0
    };
    let (without, once, twice) = (loss(0.0), loss(10.0), loss(20.0));
    assert!(once > without + 0.01, "{without}, {once}");
    assert!(((twice - once) - (once - without)).abs() < 1e-5, "{without}, {once}, {twice}");
}

#[test]
fn fusion_shortens_programs() {
    let graph = classifier(resnet()).training_graph(N, 0).unwrap();
    let steps = |passes| {
        let graph = optimize(&graph, passes).unwrap();
        let (parameters, states) = (Layout::parameters(&graph), Layout::states(&graph));
        Plan::new(&graph, &parameters, &states, true, |_, _| Vec::new()).unwrap().steps.len()
    };
    let (plain, fused) = (steps(Passes::NONE), steps(Passes::ALL));
    assert!(fused * 10 < plain * 7, "{plain} steps became {fused}");
}

#[test]
fn plans_keep_living_values_apart() {
    let graph = classifier(resnet()).training_graph(N, 0).unwrap();
    let graph = optimize(&graph, Passes::ALL).unwrap();
    let (parameters, states) = (Layout::parameters(&graph), Layout::states(&graph));
    let plan = Plan::new(&graph, &parameters, &states, true, |g, v| vec![g.meta(v).bytes() / 2]).unwrap();
    // Replay: every byte of a pool belongs to the last value written there; an input must still own all of its bytes.
    let mut owner: Vec<Vec<u32>> = plan.pools.iter().map(|&bytes| vec![u32::MAX; bytes / 4]).collect();
    let source = |mut v: ocellus::graph::Value| {
        while plan.graph.node(v).op().is_some_and(|op| op.is_alias()) {
            v = plan.graph.node(v).inputs[0];
        }
        v.index() as u32
    };
    for step in &plan.steps {
        let node = plan.graph.node(step.value);
        for &input in &node.inputs {
            let Place::Pool { pool, offset } = plan.place(input) else { continue };
            let words = plan.graph.meta(input).bytes().div_ceil(4);
            let intact = owner[pool][offset / 4..][..words].iter().all(|&o| o == source(input));
            assert!(intact, "an input of {} was overwritten", node.op().unwrap().name());
        }
        let mut write = |place: Place, words: usize, by: u32| {
            let Place::Pool { pool, offset } = place else { return };
            let read = node.inputs.iter().any(|&v| matches!(plan.place(v), Place::Pool { pool: p, .. } if p == pool));
            assert!(!read, "{} reads the buffer it writes to", node.op().unwrap().name());
            owner[pool][offset / 4..][..words].fill(by);
        };
        step.scratch.iter().for_each(|&place| write(place, node.meta.bytes() / 8, u32::MAX - 1));
        write(plan.place(step.value), node.meta.bytes().div_ceil(4), step.value.index() as u32);
    }
    for (name, value) in plan.graph.outputs() {
        let Place::Pool { pool, offset } = plan.place(*value) else { continue };
        assert_eq!(owner[pool][offset / 4], source(*value), "result {name} was overwritten");
    }
    assert!(
        plan.pool_bytes() * 100 <= plan.live_bytes * 130,
        "{} bytes for {} alive",
        plan.pool_bytes(),
        plan.live_bytes
    );
}

/// Weights after a few steps with dropout, two batch sizes and Adam.
fn train(device: &Device) -> Vec<f32> {
    let model = Model::parse(
        "input = [16, 16, 3]\n\
         [[layer]]\ntype = \"conv2d\"\nfilters = 8\nkernel = 3\n\
         [[layer]]\ntype = \"batch_normalization\"\n\
         [[layer]]\ntype = \"max_pool2d\"\nsize = 2\n\
         [[layer]]\ntype = \"flatten\"\n\
         [[layer]]\ntype = \"dropout\"\nrate = 0.5\n\
         [[layer]]\ntype = \"dense\"\nunits = 10\nactivation = \"softmax\"\n",
    )
    .unwrap();
    let initial = model.initialize(Seed(9)).unwrap();
    let update = Optimizer::Adam(Adam::default()).update();
    let mut session = Session::new(classifier(model), device, Some(update), 9).unwrap();
    session.weights().set(|name| initial.get(name)).unwrap();
    for step in 1..=6 {
        let n = if step % 3 == 0 { 3 } else { N };
        session.train(&batch(pixels(step, n), labels(step, n)), u64::from(step), 0.01).unwrap();
    }
    session.results(0).unwrap();
    [Arena::Parameters, Arena::States, Arena::Moment(0), Arena::Moment(1)]
        .into_iter()
        .flat_map(|arena| session.weights().read(arena).unwrap())
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    for device in devices() {
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let (first, second) = (bits(train(&device)), bits(train(&device)));
        assert!(first.iter().any(|&b| b != 0));
        assert!(first == second, "{}: two runs differ", device.name());
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(&Device::Cpu))
    };
    let (one, three) = (with(1), with(3));
    assert!(one.iter().zip(&three).all(|(a, b)| a.to_bits() == b.to_bits()));
}
