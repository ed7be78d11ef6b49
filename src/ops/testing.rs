//! What tests of ops, and of what is made of them, share.

use std::collections::HashMap;

use crate::error::Result;
use crate::graph::{self, Graph, Value};
use crate::tensor::{Array, Meta};

/// The value, in f64, of what `f` emits for f32 inputs with these shapes and elements.
pub(crate) fn evaluate(inputs: &[(&[usize], &[f64])], f: impl FnOnce(&mut Graph, &[Value]) -> Result<Value>) -> Array {
    let mut graph = Graph::new();
    let mut given = HashMap::new();
    let mut values = Vec::new();
    for (i, (shape, data)) in inputs.iter().enumerate() {
        let value = graph.input(&format!("x{i}"), Meta::f32(*shape));
        given.insert(value, Array { shape: (*shape).into(), data: data.to_vec() });
        values.push(value);
    }
    let result = f(&mut graph, &values).unwrap();
    graph::evaluate(&graph, &given).swap_remove(result.index())
}

/// Compares the gradient of the sum of what `f` emits, with respect to its first input, with central finite differences.
pub(crate) fn assert_gradient(inputs: &[(&[usize], &[f64])], f: impl Fn(&mut Graph, &[Value]) -> Result<Value>) {
    let total = |g: &mut Graph, v: &[Value]| {
        let y = f(g, v)?;
        let axes: Vec<usize> = (0..g.shape(y).rank()).collect();
        super::sum(g, y, &axes, false)
    };
    let gradient = evaluate(inputs, |g, v| {
        let loss = total(g, v)?;
        Ok(g.differentiate(loss, &v[..1])?[0])
    });
    let step = 1e-6;
    let numeric: Vec<f64> = (0..gradient.data.len())
        .map(|i| {
            let moved = |by: f64| {
                let mut data = inputs[0].1.to_vec();
                data[i] += by;
                let mut moved = inputs.to_vec();
                moved[0].1 = &data;
                evaluate(&moved, total).data[0]
            };
            (moved(step) - moved(-step)) / (2.0 * step)
        })
        .collect();
    let off = gradient.data.iter().zip(&numeric).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-6, "gradient {:?}, finite differences {numeric:?}", gradient.data);
}

/// Demands equality but for the rounding of constants to f32.
pub(crate) fn assert_close(got: &[f64], wanted: &[f64]) {
    let close = |a: &f64, b: &f64| (a - b).abs() <= 1e-7 * b.abs().max(1.0);
    assert!(got.len() == wanted.len() && got.iter().zip(wanted).all(|(a, b)| close(a, b)), "{got:?} is not {wanted:?}");
}
