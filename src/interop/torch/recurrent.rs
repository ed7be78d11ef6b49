use std::collections::BTreeMap;

use crate::error::Result;
use crate::interop::safetensors::Tensors;
use crate::tensor::{Shape, Tensor};

/// PyTorch's tensors of one direction of a recurrent layer.
const PARTS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];

/// Recurrent layers under our names, still in PyTorch's layout: `NAME.weight_ih_l0` and its like become `NAME.weight`,
/// `NAME.recurrent_weight` and `NAME.bias`, those of the way back begin with `backward_`. PyTorch's GRU has its reset gate before the
/// update gate, and every layer two biases. Layers above the first of a stack keep their names.
///
/// Errors: if parts of a layer do not fit together.
pub fn renamed(given: Tensors) -> Result<Tensors> {
    let mut result = Tensors::default();
    let mut layers: BTreeMap<String, [Option<Tensor>; 4]> = BTreeMap::new();
    for (name, tensor) in given {
        match place(&name) {
            Some((layer, part)) => layers.entry(layer).or_default()[part] = Some(tensor),
            None => drop(result.insert(name, tensor)),
        }
    }
    for (layer, [input, kept, input_bias, kept_bias]) in layers {
        let mut add = |part: &str, tensor: Option<Tensor>| {
            tensor.into_iter().for_each(|t| drop(result.insert(format!("{layer}{part}"), t)));
        };
        let gates = kept.as_ref().map_or(1, |t| t.shape().dims()[0] / t.shape().last().max(1));
        let turned = |tensor: Option<Tensor>| tensor.map(|t| in_our_order(t, gates)).transpose();
        add("weight", turned(input)?);
        add("recurrent_weight", turned(kept)?);
        let biases = turned(input_bias)?.zip(turned(kept_bias)?);
        add("bias", biases.map(|(a, b)| both(&a, &b, gates)).transpose()?);
    }
    Ok(result)
}

/// The layer, with what our names of its tensors begin with, and which part of it a tensor is.
fn place(name: &str) -> Option<(String, usize)> {
    let (layer, tensor) = name.rsplit_once('.')?;
    let (tensor, way) = match tensor.strip_suffix("_reverse") {
        Some(tensor) => (tensor, "backward_"),
        None => (tensor, ""),
    };
    let part = PARTS.iter().position(|part| tensor.strip_suffix("_l0") == Some(part))?;
    Some((format!("{layer}.{way}"), part))
}

/// Three gates are a GRU's: reset, update, candidate; ours begin with the update.
fn in_our_order(tensor: Tensor, gates: usize) -> Result<Tensor> {
    let block = tensor.shape().elements() / 3;
    if gates != 3 || block * 3 != tensor.shape().elements() {
        return Ok(tensor);
    }
    let values = tensor.f32();
    let turned = [&values[block..2 * block], &values[..block], &values[2 * block..]].concat();
    Tensor::new(tensor.shape().clone(), turned)
}

/// The sum of two biases, which is as good as both; of a GRU they stay apart.
fn both(a: &Tensor, b: &Tensor, gates: usize) -> Result<Tensor> {
    if gates == 3 {
        return Tensor::new(Shape::from([2, a.shape().elements()]), [a.f32(), b.f32()].concat());
    }
    let sum: Vec<f32> = a.f32().iter().zip(b.f32()).map(|(a, b)| a + b).collect();
    Tensor::new([sum.len()], sum)
}
