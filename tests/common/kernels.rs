//! Every kernel there is, as data.

use std::collections::BTreeMap;

use ocellus::graph::{
    self, Binding, Capabilities, Graph, Kernel, Launch, Layout, Passes, accumulate_launch, clip_launches, optimize,
};
use ocellus::ops::{FAMILIES, Sample};
use ocellus::tensor::{DType, Meta};
use ocellus::train::Optimizer;

/// One launch with what it binds.
pub struct Described {
    /// Op, variant, shader file.
    pub name: String,
    pub launch: Launch,
    /// Element type and words of each binding.
    pub buffers: Vec<(&'static str, usize)>,
}

/// Adapters that differ in what kernels they are offered.
pub fn capabilities() -> Vec<Capabilities> {
    let large = Capabilities { workgroup_memory: 32 << 10, invocations: 1024, ..Capabilities::baseline() };
    let software = Capabilities { subgroup: Some(8), software: true, ..large };
    let hardware = Capabilities { subgroup: Some(32), cooperative: true, ..large };
    vec![Capabilities::baseline(), software, hardware]
}

/// The launches of every op on every sample in every variant, and of the optimizers; each text once, with the smallest
/// buffers it occurs with. Maps of features are kept in each of `maps`.
pub fn launches(maps: &[DType]) -> Vec<Described> {
    let mut found: BTreeMap<String, Described> = BTreeMap::new();
    let mut keep = |d: Described| {
        let words = |d: &Described| d.buffers.iter().map(|b| b.1).sum::<usize>();
        match found.get(&d.launch.source) {
            Some(known) if words(known) <= words(&d) => {}
            _ => drop(found.insert(d.launch.source.clone(), d)),
        }
    };
    for capabilities in capabilities() {
        for sample in FAMILIES.iter().flat_map(|f| (f.samples)()) {
            for &dtype in maps {
                of_sample(&sample, dtype, &capabilities).into_iter().for_each(&mut keep);
            }
        }
    }
    optimizers().into_iter().for_each(&mut keep);
    found.into_values().collect()
}

fn of_sample(sample: &Sample, maps: DType, capabilities: &Capabilities) -> Vec<Described> {
    let kept = |meta: &Meta| match meta.dtype {
        DType::F32 if meta.dims().len() >= 3 => Meta::new(meta.shape.clone(), maps),
        dtype => Meta::new(meta.shape.clone(), dtype),
    };
    let mut graph = Graph::new();
    let inputs: Vec<_> =
        sample.metas().iter().enumerate().map(|(i, m)| graph.input(&format!("x{i}"), (*m).clone())).collect();
    let output = graph.apply_shared(sample.op.clone(), &inputs).unwrap();
    graph.output("output", output);
    // Some ops are made of others.
    let graph = optimize(&graph, Passes::NONE).unwrap();
    let mut all = Vec::new();
    for node in graph.nodes() {
        let Some(op) = node.op().filter(|op| !op.is_alias()) else { continue };
        let metas: Vec<Meta> = node.inputs.iter().map(|&v| kept(graph.meta(v))).collect();
        let (metas, output): (Vec<&Meta>, _) = (metas.iter().collect(), kept(&node.meta));
        let kernels = graph::kernels(op.as_ref(), &metas, &output, capabilities);
        let for_cpu_only = op.name().starts_with("conv2d_max_pool2d");
        assert_eq!(kernels.is_empty(), for_cpu_only, "{} on {}", op.name(), sample.describe());
        for kernel in &kernels {
            all.extend(of_kernel(op.name(), kernel, &metas, &output));
        }
    }
    all
}

fn of_kernel(op: &str, kernel: &Kernel, inputs: &[&Meta], output: &Meta) -> Vec<Described> {
    let words = |meta: &Meta| meta.bytes().div_ceil(16) * 4;
    let buffer = |binding: &Binding| match *binding {
        Binding::Input(i) => (inputs[i].dtype.wgsl(), words(inputs[i])),
        Binding::Output => (output.dtype.wgsl(), words(output)),
        Binding::Scratch(i) => ("f32", kernel.scratch[i].div_ceil(16) * 4),
        ref other => panic!("{op} binds {other:?}"),
    };
    let describe = |launch: &Launch| Described {
        name: format!("{op} [{}] {}", kernel.variant, launch.shader),
        buffers: launch.bindings.iter().map(buffer).collect(),
        launch: launch.clone(),
    };
    kernel.launches.iter().map(describe).collect()
}

fn optimizers() -> Vec<Described> {
    let mut graph = Graph::new();
    graph.parameter("weight", [9, 13]);
    graph.parameter("bias", [5]);
    let layout = Layout::parameters(&graph);
    let describe = |name: &str, launch: Launch| Described {
        name: format!("{name} {}", launch.shader),
        buffers: launch
            .bindings
            .iter()
            .map(|b| ("f32", if *b == Binding::GradientScale { 512 } else { layout.len() }))
            .collect(),
        launch,
    };
    let mut all: Vec<Described> = clip_launches(&layout, 1.0, 1.0).into_iter().map(|l| describe("clip", l)).collect();
    all.push(describe("sum of gradients", accumulate_launch(&layout)));
    for name in ["sgd", "adam", "rmsprop"] {
        let update = Optimizer::named(name).unwrap().update();
        let mut launch = update.launch(&layout);
        launch.bindings = [Binding::Parameters, Binding::Gradients, Binding::GradientScale]
            .into_iter()
            .chain((0..update.moments()).map(Binding::Moment))
            .collect();
        launch.params = [vec![0; update.scalars(0.1, 1).len()], launch.params].concat();
        all.push(describe(name, launch));
    }
    all
}
