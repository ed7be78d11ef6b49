//! Does an adapter compute what it should? Every op, on all its samples, in every kernel variant, against the f64
//! reference. `ocellus devices --check` prints the outcome on a user's machine; the tests demand it of the adapters they
//! find.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cpu;
use crate::error::{Error, Result};
use crate::gpu::{self, Gpu};
use crate::graph::{
    self, Comparison, Ending, Graph, Kind, Layout, Passes, Tolerance, Value, evaluate, narrow_where, optimize,
};
use crate::ops::{FAMILIES, Sample};
use crate::tensor::{Array, DType, Meta, Tensor};

/// Outcome of one sample in one variant.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The family's name.
    pub family: &'static str,
    /// Which of its samples.
    pub sample: usize,
    /// The op with its attributes and input shapes.
    pub what: String,
    /// The kernel variant; `cpu` on the CPU.
    pub variant: String,
    /// What is wrong: the worst element with both numbers and the allowed difference.
    pub failure: Option<String>,
}

/// A sample as a graph, with values and the result they should give.
struct Case {
    graph: Graph,
    inputs: Vec<Tensor>,
    expected: Array,
    magnitude: Array,
    tolerance: Tolerance,
    half: bool,
}

impl Case {
    fn new(sample: &Sample, seed: u64) -> Result<Self> {
        Self::of_values(sample, sample.draw(seed))
    }

    /// With maps of features, the op's inputs and results of three dimensions and more, kept in 16 bits.
    fn in_half(sample: &Sample, seed: u64) -> Result<Option<Self>> {
        let is_map = |meta: &Meta| meta.dtype == DType::F32 && meta.dims().len() >= 3;
        let mut values = sample.draw(seed);
        for (value, _) in values.iter_mut().zip(sample.metas()).filter(|(_, meta)| is_map(meta)) {
            let within = value.map(|x| x.clamp(-65504.0, 65504.0));
            *value = Tensor::from_array(&within, DType::F16).to_array();
        }
        let mut case = Self::of_values(sample, values)?;
        case.graph = optimize(&case.graph, Passes::NONE)?;
        let before = case.graph.clone();
        narrow_where(&mut case.graph, |_, node| is_map(&node.meta) && !matches!(node.kind, Kind::Constant(_)));
        let changed = case.graph.nodes().iter().zip(before.nodes()).any(|(new, old)| new.meta != old.meta);
        let inputs = case.graph.nodes().iter().filter(|node| matches!(node.kind, Kind::Input));
        case.inputs = inputs.zip(&case.inputs).map(|(n, t)| Tensor::from_array(&t.to_array(), n.meta.dtype)).collect();
        case.half = case.graph.outputs().iter().any(|&(_, value)| case.graph.meta(value).dtype == DType::F16);
        Ok(changed.then_some(case))
    }

    fn of_values(sample: &Sample, values: Vec<Array>) -> Result<Self> {
        let metas: Vec<Meta> = sample.metas().into_iter().cloned().collect();
        let (graph, output) = gpu::lone_graph(&sample.op, &metas)?;
        let inputs = values.iter().zip(&metas).map(|(value, meta)| Tensor::from_array(value, meta.dtype)).collect();
        let handles = graph.iter().filter(|(_, node)| matches!(node.kind, Kind::Input)).map(|(value, _)| value);
        let given = handles.zip(values.iter().cloned()).collect();
        let expected = evaluate(&graph, &given)[output.index()].clone();
        let absolute: Vec<Array> = values.iter().map(|v| v.map(f64::abs)).collect();
        let op = sample.op.magnitude().unwrap_or_else(|| sample.op.clone());
        let magnitude = op.reference(&absolute.iter().collect::<Vec<_>>(), graph.meta(output));
        let tolerance = sample.op.tolerance(&sample.metas(), graph.meta(output));
        Ok(Self { graph, inputs, expected, magnitude, tolerance, half: false })
    }

    /// What is wrong with each kernel variant, whose name `how` follows.
    fn variants(&self, gpu: &Arc<Gpu>, how: &str) -> Vec<(String, Option<String>)> {
        let run = |variant| {
            let program = gpu::lone_program(gpu, &self.graph, variant);
            let name = program.as_ref().ok().and_then(|p| p.variants().last()).map_or("", |(_, name)| name);
            let name = format!("{name}{how}");
            (name, self.judge(program.and_then(|mut program| gpu::lone_result(&mut program, &self.inputs))))
        };
        (0..variants(&self.graph, gpu)).map(run).collect()
    }

    /// What is wrong with a result.
    fn judge(&self, result: Result<Tensor>) -> Option<String> {
        let Self { expected, magnitude, tolerance, half, .. } = self;
        let comparison = Comparison { expected, magnitude, tolerance: *tolerance, half: *half };
        match result {
            Ok(tensor) => comparison.objection(&tensor.to_array(), |_, bound| Some(bound)),
            Err(error) => Some(error.to_string()),
        }
    }
}

struct At<'a> {
    family: &'static str,
    index: usize,
    sample: &'a Sample,
    seed: u64,
}

impl At<'_> {
    fn outcome(&self, variant: String, failure: Option<String>) -> Outcome {
        let failure = failure.map(|f| format!("{f} (seed {})", self.seed));
        Outcome { family: self.family, sample: self.index, what: self.sample.describe(), variant, failure }
    }
}

/// Calls `f` for every sample of the families whose name contains `only`.
fn each_sample(only: &str, seed: u64, mut f: impl FnMut(&At<'_>) -> Result<()>) -> Result<()> {
    for family in FAMILIES.iter().filter(|f| f.name.contains(only)) {
        for (index, sample) in (family.samples)().iter().enumerate() {
            f(&At { family: family.name, index, sample, seed: seed + index as u64 })?;
        }
    }
    Ok(())
}

/// Compares the `cpu` backend with the reference.
pub fn check_cpu(only: &str, seed: u64, mut report: impl FnMut(Outcome)) -> Result<()> {
    each_sample(only, seed, |at| {
        report(at.outcome("cpu".into(), sample_on_cpu(at.sample, at.seed)?));
        Ok(())
    })
}

/// What is wrong with one sample on the CPU.
pub fn sample_on_cpu(sample: &Sample, seed: u64) -> Result<Option<String>> {
    let case = Case::new(sample, seed)?;
    let graph = optimize(&case.graph, Passes::NONE)?;
    let weights = cpu::Weights::new(Arc::new(Layout::parameters(&graph)), Arc::new(Layout::states(&graph)), 0);
    let mut program = cpu::Program::new(&graph, &weights, Ending::Nothing)?;
    program.poison();
    for (i, tensor) in case.inputs.iter().enumerate() {
        program.feed(&format!("x{i}"), tensor.bytes())?;
    }
    program.run(&[])?;
    let result = program.take_result().and_then(|mut r| r.pop());
    Ok(case.judge(result.ok_or_else(|| Error::device("the program gave no result"))))
}

/// Compares every kernel variant on an adapter with the reference.
pub fn check_gpu(gpu: &Arc<Gpu>, only: &str, seed: u64, mut report: impl FnMut(Outcome)) -> Result<()> {
    each_sample(only, seed, |at| {
        for (variant, failure) in sample_on_gpu(gpu, at.sample, at.seed)? {
            report(at.outcome(variant, failure));
        }
        Ok(())
    })
}

/// What is wrong with one sample on a GPU, for each kernel variant.
pub fn sample_on_gpu(gpu: &Arc<Gpu>, sample: &Sample, seed: u64) -> Result<Vec<(String, Option<String>)>> {
    let mut case = Case::new(sample, seed)?;
    case.graph = optimize(&case.graph, Passes::NONE)?;
    let mut outcomes = case.variants(gpu, "");
    if let Some(half) = if gpu.has_half() { Case::in_half(sample, seed)? } else { None } {
        outcomes.extend(half.variants(gpu, " in 16 bits"));
    }
    Ok(outcomes)
}

/// The most kernels any op of the graph offers on this adapter; none if one of them is for the CPU only.
fn variants(graph: &Graph, gpu: &Gpu) -> usize {
    let count = |node: &graph::Node| {
        let metas: Vec<&Meta> = node.inputs.iter().map(|&v| graph.meta(v)).collect();
        let op = node.op().filter(|op| !op.is_alias())?;
        Some(graph::kernels(op.as_ref(), &metas, &node.meta, gpu.capabilities()).len())
    };
    let counts: Vec<usize> = graph.nodes().iter().filter_map(count).collect();
    if counts.contains(&0) { 0 } else { counts.into_iter().max().unwrap_or(1) }
}

/// Compares each op's gradient rule with central finite differences, in f64, along random directions.
pub fn check_gradients(only: &str, seed: u64, mut report: impl FnMut(Outcome)) -> Result<()> {
    each_sample(only, seed, |at| {
        if !at.sample.differentiable {
            return Ok(());
        }
        report(at.outcome("gradient".into(), sample_gradient(at.sample, at.seed)?));
        Ok(())
    })
}

/// What is wrong with the gradient of one sample: of `loss = sum(op(x) * v)` with fixed random weights `v`.
pub fn sample_gradient(sample: &Sample, seed: u64) -> Result<Option<String>> {
    let values = sample.draw(seed);
    let mut graph = Graph::new();
    let handles: Vec<Value> =
        sample.metas().iter().enumerate().map(|(i, m)| graph.input(&format!("x{i}"), (*m).clone())).collect();
    let output = graph.apply_shared(sample.op.clone(), &handles)?;
    let shape = graph.shape(output).clone();
    let noise = |seed: u64, shape: &[usize]| {
        let direction =
            Sample::of(crate::ops::Pointwise::identity(shape.into()), [crate::ops::Given::uniform(shape, -1.0, 1.0)]);
        direction.draw(seed).remove(0)
    };
    let projection = noise(seed ^ 0x5eed, shape.dims());
    let weights = graph.constant(Tensor::from_array(&projection, DType::F32));
    let product = crate::ops::mul(&mut graph, output, weights)?;
    let axes: Vec<usize> = (0..shape.rank()).collect();
    let loss = crate::ops::sum(&mut graph, product, &axes, false)?;
    let trained: Vec<usize> = (0..handles.len()).filter(|&i| sample.inputs[i].meta.dtype == DType::F32).collect();
    let wrt: Vec<Value> = trained.iter().map(|&i| handles[i]).collect();
    let gradients = graph.differentiate(loss, &wrt)?;

    let run = |values: &[Array]| {
        let given: HashMap<Value, Array> = handles.iter().copied().zip(values.iter().cloned()).collect();
        evaluate(&graph, &given)
    };
    let result = run(&values);
    let step = 1e-5;
    for (&i, gradient) in trained.iter().zip(&gradients) {
        let direction = noise(seed ^ (0xd1ce + i as u64), values[i].shape.dims());
        let moved = |sign: f64| {
            let mut moved = values.clone();
            moved[i].data.iter_mut().zip(&direction.data).for_each(|(x, d)| *x += sign * step * d);
            run(&moved)[loss.index()].data[0]
        };
        let numeric = (moved(1.0) - moved(-1.0)) / (2.0 * step);
        let terms = || result[gradient.index()].data.iter().zip(&direction.data).map(|(g, d)| g * d);
        let (analytic, scale) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
        let allowed = 1e-6 * scale.max(1e-3);
        let off = (numeric - analytic).abs();
        if off > allowed || off.is_nan() {
            let text = format!(
                "input {i}: gradient {analytic:e}, finite difference {numeric:e}, allowed difference {allowed:e}"
            );
            return Ok(Some(text));
        }
    }
    Ok(None)
}
