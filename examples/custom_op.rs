//! An op of one's own, with everything an op has, held against finite differences, on the CPU and on a GPU.
//!
//!     cargo run --example custom_op

use ocellus::check::{sample_gradient, sample_on_cpu, sample_on_gpu};
use ocellus::device::Device;
use ocellus::error::{Error, Result};
use ocellus::graph::{Backward, Binding, Capabilities, Graph, Kernel, Launch, Op, Tolerance, Value};
use ocellus::ops::{self, Sample};
use ocellus::tensor::{Array, Meta, View, ViewMut};

/// Length of the hypotenuse: `sqrt(x² + y²)`, element by element.
#[derive(Debug)]
struct Hypot;

impl Op for Hypot {
    fn name(&self) -> &'static str {
        "hypot"
    }

    fn infer(&self, inputs: &[&Meta]) -> Result<Meta> {
        if inputs[0] != inputs[1] {
            return Err(Error::shape("hypot", format!("{} and {} differ", inputs[0], inputs[1])));
        }
        Ok(inputs[0].clone())
    }

    fn reference(&self, inputs: &[&Array], output: &Meta) -> Array {
        Array::from_fn(&output.shape, |i| inputs[0].data[i].hypot(inputs[1].data[i]))
    }

    /// d hypot / dx = x / hypot.
    fn gradient(&self, graph: &mut Graph, at: &Backward<'_>, of: usize) -> Result<Option<Value>> {
        let slope = ops::div(graph, at.inputs[of], at.output)?;
        ops::mul(graph, at.grad, slope).map(Some)
    }

    fn cpu(&self, inputs: &[View<'_>], mut output: ViewMut<'_>, _scratch: &mut [f32]) {
        let pairs = inputs[0].f32().iter().zip(inputs[1].f32());
        output.f32().iter_mut().zip(pairs).for_each(|(o, (x, y))| *o = x.hypot(*y));
    }

    fn kernels(&self, _inputs: &[&Meta], output: &Meta, _capabilities: &Capabilities) -> Vec<Kernel> {
        let n = output.elements();
        let launch = Launch::new("hypot.wgsl", SHADER)
            .params([n])
            .bindings([Binding::Input(0), Binding::Input(1), Binding::Output])
            .threads(n, 64);
        vec![Kernel::single("plain", launch)]
    }

    fn tolerance(&self, _inputs: &[&Meta], _output: &Meta) -> Tolerance {
        Tolerance::Transcendental
    }
}

/// In the crate this would be `shaders/hypot.wgsl`.
const SHADER: &str = "
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = id.x + id.y * groups.x * 64u;
    if (i < p.n) {
        output[i] = length(vec2f(x[i], y[i]));
    }
}
";

fn main() -> Result<()> {
    let sample = Sample::new(Hypot, [&[5, 7], &[5, 7]]);
    report("gradient", sample_gradient(&sample, 1)?);
    report("cpu", sample_on_cpu(&sample, 1)?);
    match Device::named("gpu") {
        Ok(Device::Gpu(gpu)) => {
            for (kernel, failure) in sample_on_gpu(&gpu, &sample, 1)? {
                report(&format!("{} on {}", kernel, gpu.summary().name), failure);
            }
        }
        _ => println!("no GPU adapter here"),
    }
    Ok(())
}

fn report(what: &str, failure: Option<String>) {
    println!("{what}: {}", failure.unwrap_or_else(|| "as the reference says".into()));
}
