use std::collections::HashMap;

use super::{Graph, Kind, Value};
use crate::tensor::Array;

/// Runs the graph in f64 by each op's reference: the judge of all backends. `given` holds a value for each input,
/// parameter and state; the result holds the value of every node.
///
/// # Panics
/// If a value is not given.
pub fn evaluate(graph: &Graph, given: &HashMap<Value, Array>) -> Vec<Array> {
    let mut values: Vec<Array> = Vec::with_capacity(graph.nodes().len());
    for (value, node) in graph.iter() {
        let array = match &node.kind {
            Kind::Constant(tensor) => tensor.to_array(),
            Kind::Op(op) => {
                let inputs: Vec<&Array> = node.inputs.iter().map(|v| &values[v.index()]).collect();
                let array = op.reference(&inputs, &node.meta);
                assert_eq!(array.shape, node.meta.shape, "the reference of {} and its shape rule disagree", op.name());
                array
            }
            _ => given.get(&value).unwrap_or_else(|| panic!("no value given for \"{}\"", node.name)).clone(),
        };
        values.push(array);
    }
    values
}
