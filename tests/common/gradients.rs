//! Gradients of a training graph, on every device and against the slope of its loss.

use std::collections::HashMap;

use super::common::devices;
use ocellus::data::Seed;
use ocellus::device::{Arena, Device};
use ocellus::graph::{Ending, Graph, Layout, Passes, evaluate};
use ocellus::nn::Model;
use ocellus::tensor::{Array, Tensor};

/// What a training graph is fed, by name.
pub type Given<'a> = [(&'a str, Tensor)];

/// Loss and gradients of one step from the weights of seed 1, without an optimizer.
pub fn gradients(device: &Device, graph: &Graph, model: &Model, given: &Given<'_>, passes: Passes) -> (f32, Vec<f32>) {
    let weights = device.weights(Layout::parameters(graph), Layout::states(graph), 0).unwrap();
    let initial = model.initialize(Seed(1)).unwrap();
    weights.set(|name| initial.get(name)).unwrap();
    let mut program = device.compile_with(graph, &weights, Ending::Nothing, passes).unwrap();
    program.poison();
    let inputs: Vec<(&str, &[u8])> = given.iter().map(|(name, tensor)| (*name, tensor.bytes())).collect();
    let outputs = program.execute(&inputs).unwrap();
    (outputs[0].f32()[0], weights.read(Arena::Gradients).unwrap())
}

/// Fused or not, on every device the same; and a step against the gradient lowers the loss by what the gradient says: in f64,
/// as far as the curve is straight.
pub fn demand_gradients(graph: &Graph, model: &Model, given: &Given<'_>) {
    let devices = devices();
    let (loss, expected) = gradients(&devices[0], graph, model, given, Passes::NONE);
    let largest = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
    assert!(loss.is_finite() && largest > 0.0, "loss {loss}, largest gradient {largest}");
    for device in &devices {
        let (found_loss, found) = gradients(device, graph, model, given, device.passes());
        assert!((found_loss - loss).abs() < 1e-5 * loss, "{}: {found_loss} and {loss}", device.name());
        for (i, (a, b)) in expected.iter().zip(&found).enumerate() {
            assert!((a - b).abs() < 1e-4 * largest, "{}: gradient {i}: {a} and {b}", device.name());
        }
    }
    let initial = model.initialize(Seed(1)).unwrap();
    let layout = Layout::parameters(graph);
    let loss_after = |length: f64| {
        let mut values = HashMap::new();
        for (value, node) in graph.iter().filter(|(_, node)| node.op().is_none()) {
            let name = node.name.as_str();
            let array = match (given.iter().find(|(n, _)| *n == name), layout.find(name)) {
                (Some((_, tensor)), _) => tensor.to_array(),
                (None, Some(entry)) => {
                    let gradient = &expected[entry.offset..];
                    let moved = |(&x, &g): (&f32, &f32)| f64::from(x) - length * f64::from(g);
                    let data = initial[name].f32().iter().zip(gradient).map(moved).collect();
                    Array { shape: node.meta.shape.clone(), data }
                }
                (None, None) => match initial.get(name) {
                    Some(state) => state.to_array(),
                    None => continue,
                },
            };
            values.insert(value, array);
        }
        evaluate(graph, &values)[graph.outputs()[0].1.index()].data[0]
    };
    let squared: f64 = expected.iter().map(|&g| f64::from(g) * f64::from(g)).sum();
    let step = 1e-6;
    let slope = (loss_after(step) - loss_after(-step)) / (2.0 * step);
    assert!((slope + squared).abs() < 1e-3 * squared, "slope {slope}, squared gradient {squared}");
}
