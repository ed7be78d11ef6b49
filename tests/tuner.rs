//! Kernels are compared with the CPU before they are used, the fastest is remembered, and neither changes a bit of a run
//! that is repeated.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ocellus::device::{Choices, Device, Tuning};
use ocellus::error::Result;
use ocellus::graph::{
    Binding, Capabilities, Ending, Graph, Kernel, Launch, Layout, Op, Tolerance, Update, UpdatePiece,
};
use ocellus::tensor::{Array, Meta, View, ViewMut};

/// `output[i] = 2 input[i]`, with kernels that multiply by other numbers too.
#[derive(Debug)]
struct Double {
    factors: &'static [&'static str],
}

const SHADER: &str = "
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < p.n) {
        output[id.x] = FACTOR * input[id.x];
    }
}
";

impl Op for Double {
    fn name(&self) -> &'static str {
        "double"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Array], _output: &Meta) -> Array {
        inputs[0].map(|x| 2.0 * x)
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        output.f32().iter_mut().zip(inputs[0].f32()).for_each(|(to, x)| *to = 2.0 * x);
    }

    fn kernels(&self, _inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let n = output.elements();
        let kernel = |factor: &&str| {
            let launch = Launch::new("double.wgsl", SHADER).prepend(&format!("const FACTOR: f32 = {factor};\n"));
            let bindings = [Binding::Input(0), Binding::Output];
            Kernel::single(format!("times {factor}"), launch.params([n]).bindings(bindings).threads(n, 64))
        };
        self.factors.iter().map(kernel).collect()
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Exact
    }

    fn flops(&self, inputs: &[&Meta], _output: &Meta) -> u64 {
        inputs[0].elements() as u64
    }
}

fn gpu(cache: Option<&Path>) -> Device {
    let device = common::devices().pop().expect("the second device is a GPU");
    if let Some(folder) = cache {
        device.remember_in(folder.to_owned());
    }
    device
}

/// What a device makes of 1, 2, 3, …
fn double(device: &Device, factors: &'static [&'static str], n: usize) -> Result<Vec<f32>> {
    let mut graph = Graph::new();
    let x = graph.input("x", Meta::f32([n]));
    let y = graph.apply(Double { factors }, &[x])?;
    graph.output("y", y);
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), 0)?;
    let mut program = device.compile(&graph, &weights, Ending::Nothing)?;
    let values: Vec<f32> = (1..=n).map(|i| i as f32).collect();
    Ok(program.execute(&[("x", bytemuck::cast_slice(&values))])?.remove(0).f32().to_vec())
}

fn choices(device: &Device) -> Choices {
    device.choices().expect("it is a GPU")
}

#[test]
fn a_wrong_kernel_is_replaced() {
    let cache = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let device = gpu(Some(cache.path()));
        assert_eq!(double(&device, &["2.001", "2.0"], 3).unwrap(), [2.0, 4.0, 6.0]);
        let known = choices(&device).kernels.into_values().next().unwrap();
        assert_eq!(known.variant, "times 2.0");
        assert!(known.certified.contains("times 2.0"));
        let objection = &known.failed["times 2.001"];
        assert!(objection.contains("element") && objection.contains("instead of"), "{objection}");
    }
}

#[test]
fn wrong_kernels_among_many_are_replaced() {
    const FACTORS: [&[&str]; 6] =
        [&["2.1", "2.0"], &["2.0"], &["2.2", "2.3", "2.0"], &["2.0", "2.4"], &["2.5", "2.0f"], &["2.0f"]];
    let device = gpu(None);
    let mut graph = Graph::new();
    let x = graph.input("x", Meta::f32([3]));
    let y = FACTORS.iter().fold(x, |x, factors| graph.apply(Double { factors }, &[x]).unwrap());
    graph.output("y", y);
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), 0).unwrap();
    let mut program = device.compile(&graph, &weights, Ending::Nothing).unwrap();
    let values = [1.0_f32, 2.0, 3.0];
    let result = program.execute(&[("x", bytemuck::cast_slice(&values))]).unwrap().remove(0);
    assert_eq!(result.f32(), [64.0, 128.0, 192.0]);
    let known = choices(&device).kernels;
    assert_eq!(known.len(), FACTORS.len());
    assert!(known.values().all(|k| k.certified.contains(&k.variant)));
    assert_eq!(known.values().map(|k| k.failed.len()).sum::<usize>(), 4);
}

#[test]
fn without_a_right_kernel_the_run_is_refused() {
    let device = gpu(None);
    let message = double(&device, &["2.5", "3.0"], 5).unwrap_err().to_string();
    let Device::Gpu(adapter) = &device else { unreachable!("it was asked for by name") };
    let expected = ["double", "times 2.5", "times 3.0", "f32[5]", &adapter.summary().name, "driver", "element"];
    for part in expected {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    // Other ops run all the same.
    assert_eq!(double(&device, &["2.0"], 1).unwrap(), [2.0]);
}

/// Gradient descent whose kernel takes other steps than the CPU.
#[derive(Debug)]
struct Descent {
    step: &'static str,
    clip_norm: Option<f32>,
}

impl Update for Descent {
    fn moments(&self) -> usize {
        0
    }

    fn scalars(&self, learning_rate: f64, _step: u64) -> Vec<f32> {
        vec![learning_rate as f32]
    }

    fn cpu(&self, scalars: &[f32], piece: UpdatePiece<'_>) {
        let rate = scalars[0] * piece.gradient_scale;
        piece.parameters.iter_mut().zip(piece.gradients).for_each(|(p, g)| *p -= rate * g);
    }

    fn launch(&self, layout: &Layout) -> Launch {
        let text = "
            struct Params { rate: f32, n: u32 }
            @group(0) @binding(0) var<uniform> p: Params;
            @group(0) @binding(1) var<storage, read_write> parameters: array<f32>;
            @group(0) @binding(2) var<storage, read> gradients: array<f32>;
            @group(0) @binding(3) var<storage, read> scale: array<f32>;

            @compute @workgroup_size(64)
            fn main(@builtin(global_invocation_id) id: vec3u) {
                if (id.x < p.n) {
                    parameters[id.x] -= STEP * p.rate * scale[0] * gradients[id.x];
                }
            }";
        let launch = Launch::new("descent.wgsl", text).prepend(&format!("const STEP: f32 = {};\n", self.step));
        launch.params([layout.len()]).threads(layout.len(), 64)
    }

    fn clip_norm(&self) -> Option<f32> {
        self.clip_norm
    }
}

#[test]
fn a_wrong_optimizer_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let device = gpu(Some(cache.path()));
    let mut graph = Graph::new();
    let weight = graph.parameter("weight", [5]);
    let loss = ocellus::ops::sum(&mut graph, weight, &[0], false).unwrap();
    graph.differentiate_parameters(loss).unwrap();
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), 0).unwrap();
    let compile = |ending: Ending| device.compile(&graph, &weights, ending).map(|_| ());
    for clip_norm in [None, Some(0.5)] {
        let update = |step| Arc::new(Descent { step, clip_norm }) as Arc<dyn Update>;
        for ending in [Ending::Update, Ending::UpdateBySum] {
            let message = compile(ending(update("1.001"))).unwrap_err().to_string();
            for part in ["optimizer", "Descent", "parameters: element", "instead of", "driver"] {
                assert!(message.contains(part), "{part} is missing in: {message}");
            }
            compile(ending(update("1.0"))).unwrap();
        }
    }
    // One entry for each, of the right ones alone.
    let file = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap();
    let known: Choices = toml::from_str(&std::fs::read_to_string(file.path()).unwrap()).unwrap();
    let of_updates: Vec<_> = known.kernels.iter().filter(|(key, _)| key.starts_with("update-")).collect();
    assert_eq!(of_updates.len(), 4);
    assert!(of_updates.iter().all(|(_, known)| known.certified.len() == 1 && known.failed.is_empty()));
}

#[test]
fn what_is_not_compared_in_time_is_compared_by_the_next_program() {
    let device = gpu(None);
    let Device::Gpu(adapter) = &device else { unreachable!("it was asked for by name") };
    adapter.compare_within(Duration::ZERO);
    assert_eq!(double(&device, &["2.25", "2.0"], 2).unwrap(), [2.25, 4.5]);
    assert!(choices(&device).kernels.into_values().all(|known| known.certified.is_empty()));
    adapter.compare_within(Duration::from_secs(10));
    assert_eq!(double(&device, &["2.25", "2.0"], 2).unwrap(), [2.0, 4.0]);
    let known = choices(&device).kernels.into_values().next().unwrap();
    assert!(known.certified.contains("times 2.0") && known.failed.contains_key("times 2.25"));
}

#[test]
fn what_was_measured_is_remembered() {
    let cache = tempfile::tempdir().unwrap();
    let known = |device: &Device| choices(device).kernels.into_values().next().unwrap();
    let cold = gpu(Some(cache.path()));
    double(&cold, &["2.0", "2.0f"], 100).unwrap();
    assert!(known(&cold).measured_ms.is_empty(), "nothing is measured unless asked for");
    let tuned = gpu(Some(cache.path()));
    tuned.tune(Tuning::Full);
    double(&tuned, &["2.0", "2.0f"], 100).unwrap();
    let measured = known(&tuned);
    assert_eq!(measured.measured_ms.len(), 2);
    assert!(measured.measured_ms.iter().all(|(_, ms)| measured.measured_ms[&measured.variant] <= *ms));
    let warm = gpu(Some(cache.path()));
    // Another batch size is served by the same entry.
    double(&warm, &["2.0", "2.0f"], 7).unwrap();
    assert_eq!(known(&warm), measured);
}

#[test]
fn kernels_of_another_run_go_first() {
    let device = gpu(None);
    double(&device, &["2.0", "2.0f"], 4).unwrap();
    let mut earlier = choices(&device);
    earlier.kernels.values_mut().for_each(|known| known.variant = "times 2.0f".into());
    let again = gpu(None);
    assert!(again.adopt(&earlier));
    double(&again, &["2.0", "2.0f"], 4).unwrap();
    assert_eq!(choices(&again).kernels.into_values().next().unwrap().variant, "times 2.0f");
    earlier.driver += " of another machine";
    let elsewhere = gpu(None);
    assert!(!elsewhere.adopt(&earlier));
    double(&elsewhere, &["2.0", "2.0f"], 4).unwrap();
    assert_eq!(choices(&elsewhere).kernels.into_values().next().unwrap().variant, "times 2.0");
    assert!(!Device::Cpu.adopt(&earlier));
}

/// Losses and weights of a few steps of a small network, bit by bit.
fn train(device: &Device) -> Vec<u32> {
    use ocellus::data::{Normalization, Seed};
    use ocellus::device::Arena;
    use ocellus::nn::Model;
    use ocellus::train::{Adam, Optimizer, Session};
    let model = Model::parse(
        "input = [12, 12, 3]\n\
         [[layer]]\ntype = \"conv2d\"\nfilters = 8\nkernel = 3\nactivation = \"relu\"\n\
         [[layer]]\ntype = \"conv2d\"\nfilters = 12\nkernel = 3\n\
         [[layer]]\ntype = \"batch_normalization\"\n\
         [[layer]]\ntype = \"flatten\"\n\
         [[layer]]\ntype = \"dense\"\nunits = 10\nactivation = \"softmax\"\n",
    )
    .unwrap();
    let initial = model.initialize(Seed(3)).unwrap();
    let normalization = Normalization { mean: vec![0.5; 3], std: vec![0.25; 3] };
    let classes = (0..10).map(|i| i.to_string()).collect();
    let classifier = ocellus::tasks::Classifier::new(model, classes, normalization).unwrap();
    let update: Arc<dyn Update> = Optimizer::Adam(Adam::default()).update();
    let mut session = Session::new(classifier, device, Some(update), 3).unwrap();
    session.weights().set(|name| initial.get(name)).unwrap();
    for step in 1..=4_u32 {
        let n = if step == 4 { 3 } else { 5 };
        let pixels = (0..n * 432).map(|i| ((i * 2_654_435 + step as usize * 77) >> 5) as u8).collect();
        let labels = (0..n as i32).collect();
        session.train(&common::batch(pixels, labels), u64::from(step), 0.01).unwrap();
    }
    session.results(0).unwrap();
    session.weights().read(Arena::Parameters).unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn recorded_choices_give_the_same_bits() {
    let cache = tempfile::tempdir().unwrap();
    let first = gpu(Some(cache.path()));
    first.tune(Tuning::Full);
    let bits = train(&first);
    let record = choices(&first);
    assert!(bits.iter().any(|&b| b != 0));
    // With a warm cache, and with a cold one and the record of the first run, even if that now prefers other kernels.
    let warm = gpu(Some(cache.path()));
    assert!(train(&warm) == bits);
    let cold = gpu(None);
    assert!(cold.adopt(&record));
    assert!(train(&cold) == bits);
    let variants = |c: Choices| c.kernels.into_iter().map(|(key, k)| (key, k.variant)).collect::<Vec<_>>();
    assert_eq!(variants(choices(&cold)), variants(record));
}
