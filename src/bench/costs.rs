use serde::Serialize;

use crate::device::Device;
use crate::error::Result;
use crate::graph::{Graph, Kind, Layout, Passes, Place, Plan, Update, least_traffic, optimize};

/// What a program costs as far as that follows from its plan: the same on every machine with such a device.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// In order of execution, without the update.
    pub steps: Vec<StepCosts>,
    /// Dispatches of a run, on a GPU; the update's included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatches: Option<usize>,
    /// Bytes that a run moves through memory; see [`Plan::bytes_moved`].
    pub bytes_moved: u64,
    /// What it would have to move at least; see [`least_traffic`].
    pub bytes_least: u64,
    /// Bytes of device memory: intermediate values and scratch, inputs, constants, weights, gradients, moments.
    pub peak_device_bytes: u64,
    /// The same, if intermediate values took no more than those alive at the worst moment do.
    pub live_bytes: u64,
}

/// One step of a [`Costs`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct StepCosts {
    /// The op.
    pub op: &'static str,
    /// The layer it belongs to.
    pub layer: String,
    /// The kernel; `cpu` on the CPU.
    pub kernel: String,
    /// The result's extents.
    pub shape: Vec<usize>,
    /// Where the result stands.
    pub place: String,
    /// Bytes read and written.
    pub bytes: u64,
    /// Floating-point operations of the op's definition.
    pub flops: u64,
    /// Dispatches, on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatches: Option<usize>,
}

impl Costs {
    /// Plans `graph` as [`Device::compile_with`] would, and compiles nothing.
    ///
    /// Errors: if an op cannot be lowered.
    pub fn of(device: &Device, graph: &Graph, update: Option<&dyn Update>, passes: Passes) -> Result<Self> {
        let bytes_least = least_traffic(graph, update)?;
        let graph = optimize(graph, passes)?;
        let (plan, kernels) = match device {
            Device::Gpu(gpu) => {
                let (plan, kernels) = gpu.plan(&graph)?;
                (plan, Some(kernels))
            }
            Device::Cpu => {
                let (parameters, states) = (Layout::parameters(&graph), Layout::states(&graph));
                (Plan::new(&graph, &parameters, &states, false, |_, _| Vec::new())?, None)
            }
        };
        let steps: Vec<StepCosts> = (plan.steps.iter().enumerate())
            .map(|(i, step)| {
                let node = plan.graph.node(step.value);
                let kernel = kernels.as_ref().map(|kernels| &kernels[i]);
                StepCosts {
                    op: node.op().map_or("", |op| op.name()),
                    layer: node.name.clone(),
                    kernel: kernel.map_or("cpu", |k| k.variant.as_str()).to_owned(),
                    shape: node.meta.dims().to_vec(),
                    place: describe(plan.place(step.value)),
                    bytes: plan.step_bytes(step),
                    flops: plan.step_flops(step),
                    dispatches: kernel.map(|k| k.launches.len()),
                }
            })
            .collect();
        let of_update = update.map_or(0, |u| if u.clip_norm().is_some() { 3 } else { 1 });
        let fixed = fixed_bytes(&plan, update);
        Ok(Self {
            dispatches: steps.iter().map(|s| s.dispatches).sum::<Option<usize>>().map(|n| n + of_update),
            steps,
            bytes_moved: plan.bytes_moved(update),
            bytes_least,
            peak_device_bytes: fixed + plan.pool_bytes() as u64,
            live_bytes: fixed + plan.live_bytes as u64,
        })
    }
}

/// Bytes that a program takes besides its intermediate values.
fn fixed_bytes(plan: &Plan, update: Option<&dyn Update>) -> u64 {
    let graph = &plan.graph;
    let inputs = graph.nodes().iter().filter(|n| matches!(n.kind, Kind::Input)).map(|n| n.meta.bytes());
    // Values and, in training, gradients and moments; states and what replaces them.
    let copies = 1 + update.map_or(0, |u| 1 + u.moments());
    let states = if graph.updates().is_empty() { 1 } else { 2 };
    let arenas = copies * Layout::parameters(graph).len() + states * Layout::states(graph).len();
    (inputs.sum::<usize>() + plan.constants.len() + 4 * arenas) as u64
}

fn describe(place: Place) -> String {
    match place {
        Place::Pool { pool, offset } => format!("pool {pool} + {offset}"),
        Place::Parameter(offset) => format!("parameters + {offset}"),
        Place::Gradient(offset) => format!("gradients + {offset}"),
        Place::State(offset) => format!("states + {offset}"),
        Place::NextState(offset) => format!("next states + {offset}"),
        Place::Input(i) => format!("input {i}"),
        Place::Constant(offset) => format!("constants + {offset}"),
    }
}
