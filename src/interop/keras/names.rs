//! Keras's variables under our names.

use std::collections::{BTreeMap, HashMap};

use crate::interop::safetensors::Tensors;
use crate::nn::Model;
use crate::tensor::{Shape, Tensor};

/// What else files hold: the state of training.
const OTHERS: [&str; 2] = ["optimizer/", "optimizer_weights/"];

/// What older files call a variable, and what we do.
const KINDS: &[(&str, &str)] = &[
    ("kernel", "weight"),
    ("kernel", "depthwise_weight"),
    ("depthwise_kernel", "depthwise_weight"),
    ("pointwise_kernel", "pointwise_weight"),
    ("recurrent_kernel", "recurrent_weight"),
    ("bias", "bias"),
    ("gamma", "weight"),
    ("scale", "weight"),
    ("embeddings", "weight"),
    ("alpha", "weight"),
    ("beta", "bias"),
    ("moving_mean", "running_mean"),
    ("moving_variance", "running_var"),
    ("mean", "running_mean"),
    ("variance", "running_var"),
];

/// Layers within an attention layer, in new files and old ones.
const ATTENTION: [(&str, &str, &str); 4] = [
    ("query_dense", "query", "q"),
    ("key_dense", "key", "k"),
    ("value_dense", "value", "v"),
    ("output_dense", "attention_output", "proj"),
];

/// Keras's way of making a class the name of a layer: `SimpleRNN` becomes `simple_rnn`.
pub(super) fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().collect();
    let mut name = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let neighbours = [i.checked_sub(1), Some(i + 1)].map(|at| at.and_then(|at| letters.get(at)));
        let begins_word = i > 0 && neighbours.iter().flatten().any(|neighbour| neighbour.is_ascii_lowercase());
        if letter.is_ascii_uppercase() && begins_word {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// `name`, `name_1`, `name_2`, … in turn.
pub(super) fn numbered(name: &str, counts: &mut HashMap<String, usize>) -> String {
    let count = counts.entry(name.to_owned()).or_default();
    *count += 1;
    match *count {
        1 => name.to_owned(),
        count => format!("{name}_{}", count - 1),
    }
}

/// Where a file has the variables of each layer. Keras goes by classes, of which it counts the layers, and not by their names.
pub(super) fn places(model: &Model) -> BTreeMap<String, String> {
    let mut counts = HashMap::new();
    let layers = model.layers().iter();
    let place = layers.map(|spec| {
        let wrapped =
            spec.layer.attributes().is_ok_and(|a| a.get("bidirectional").is_some_and(|b| b.as_bool() == Some(true)));
        let class = match spec.layer.class() {
            _ if wrapped => "bidirectional",
            "cross_attention" => "multi_head_attention",
            class => class,
        };
        (format!("layers/{}", numbered(class, &mut counts)), spec.name.clone())
    });
    place.collect()
}

/// What a network needs, and where a file has it.
pub(super) struct Names<'a> {
    /// By the beginning of a path, the layer.
    pub places: BTreeMap<String, String>,
    /// Parameters and states that the file does not have, with their value, or that of each channel.
    pub constants: &'a [(String, Vec<f32>)],
    pub expected: &'a [(String, Shape)],
}

impl Names<'_> {
    /// Variables as the network's tensors, and the paths of those it has no place for.
    pub fn apply(&self, variables: BTreeMap<String, Tensor>) -> (Tensors, Vec<String>) {
        let (mut tensors, mut unexpected) = (Tensors::new(), Vec::new());
        for (path, tensor) in variables {
            match self.own_name(&path) {
                Some(name) => drop(tensors.insert(name, tensor)),
                None if OTHERS.iter().any(|other| path.starts_with(other)) => {}
                None => unexpected.push(path),
            }
        }
        for (name, shape) in self.expected {
            if let Some((_, values)) = self.constants.iter().find(|(constant, _)| constant == name) {
                let values: Vec<f32> = values.iter().copied().cycle().take(shape.elements()).collect();
                tensors.extend(Tensor::new(shape.clone(), values).ok().map(|tensor| (name.clone(), tensor)));
            }
            join_attention(&mut tensors, name);
            in_our_shape(&mut tensors, name, shape);
        }
        (tensors, unexpected)
    }

    /// The layer whose place a path begins with, and the rest of it.
    fn place<'p>(&self, path: &'p str) -> Option<(&str, &'p str)> {
        let mut splits = path.rmatch_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
        splits.find_map(|(place, rest)| Some((self.places.get(place)?.as_str(), rest)))
    }

    fn own_name(&self, path: &str) -> Option<String> {
        // Files of whole networks in the older format; nested ones then stand in a group of their name, with it or without it.
        let path = path.strip_prefix("model_weights/").unwrap_or(path);
        let (layer, rest) = self.place(path).or_else(|| self.place(path.split_once('/')?.1))?;
        let beginning = format!("{layer}.");
        let declared = self.expected.iter().filter(|(name, _)| !self.constants.iter().any(|(other, _)| other == name));
        let declared: Vec<&str> = declared.filter_map(|(name, _)| name.strip_prefix(&beginning)).collect();
        Some(format!("{beginning}{}", part(rest, &declared)?))
    }
}

/// The parameter for the variable at `path` within its layer, which has those `declared` in Keras's order.
fn part(path: &str, declared: &[&str]) -> Option<String> {
    let mut within: Vec<&str> = path.split('/').collect();
    let variable = within.pop()?.trim_end_matches(":0");
    if declared.contains(&"proj.weight") {
        let is_of = |(new, old, _): &&(&str, &str, &str)| within.iter().any(|layer| layer == new || layer == old);
        let (.., ours) = ATTENTION.iter().find(is_of)?;
        let kind = if matches!(variable, "0" | "kernel") { "weight" } else { "bias" };
        return Some(format!("{ours}.{kind}"));
    }
    let backward = within.iter().any(|layer| layer.starts_with("backward_"));
    let mut candidates = declared.iter().filter(|name| name.starts_with("backward_") == backward);
    let name = match variable.parse::<usize>() {
        Ok(number) => candidates.nth(number),
        Err(_) => candidates.find(|name| {
            let kind = name.trim_start_matches("backward_");
            KINDS.iter().any(|&(keras, ours)| keras == variable && ours == kind)
        }),
    };
    name.map(|name| (*name).to_owned())
}

/// Queries, keys and values, which Keras keeps apart, side by side as `name`, if that is theirs.
fn join_attention(tensors: &mut Tensors, name: &str) {
    let Some((layer, kind)) = name.split_once(".qkv.") else { return };
    let parts = ["q", "k", "v"].map(|part| tensors.remove(&format!("{layer}.{part}.{kind}")));
    let [Some(query), Some(key), Some(value)] = parts else { return };
    let rows = match query.shape().dims() {
        &[channels, _, _] if channels > 0 => channels,
        _ => 1,
    };
    let width = query.f32().len() / rows;
    let parts = [query.f32(), key.f32(), value.f32()];
    if parts.iter().any(|part| part.len() != rows * width) {
        return;
    }
    let row = |row: usize| parts.iter().flat_map(move |part| &part[row * width..][..width]).copied();
    let joined: Vec<f32> = (0..rows).flat_map(row).collect();
    let shape = if kind == "bias" { vec![3 * width] } else { vec![rows, 3 * width] };
    tensors.extend(Tensor::new(shape.as_slice(), joined).ok().map(|joined| (name.to_owned(), joined)));
}

/// Keras has an axis for heads, and for the results of each channel, where we have one for both; in memory they are the same.
fn in_our_shape(tensors: &mut Tensors, name: &str, shape: &Shape) {
    const PARTS: [&str; 7] = [".q.weight", ".k.weight", ".v.weight", ".q.bias", ".k.bias", ".v.bias", ".proj.weight"];
    let differ = name.ends_with("depthwise_weight") || PARTS.iter().any(|part| name.ends_with(part));
    if let Some(tensor) = tensors.get_mut(name).filter(|_| differ)
        && let Ok(same) = Tensor::new(shape.clone(), tensor.f32().to_vec())
    {
        *tensor = same;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_named_as_keras_names_them() {
        for (class, name) in [
            ("Conv2D", "conv2d"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("LSTM", "lstm"),
            ("SimpleRNN", "simple_rnn"),
            ("PReLU", "p_re_lu"),
            ("RMSNormalization", "rms_normalization"),
            ("MultiHeadAttention", "multi_head_attention"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }

    #[test]
    fn variables_are_found_by_number_and_by_name() {
        let both = |path: &str, declared: &[&str]| part(path, declared).unwrap();
        let norm = ["weight", "bias", "running_mean", "running_var"];
        assert_eq!(both("vars/2", &norm), "running_mean");
        assert_eq!(both("bn/moving_variance:0", &norm), "running_var");
        assert_eq!(both("vars/1", &norm[1..]), "running_mean");
        let lstm =
            ["weight", "recurrent_weight", "bias", "backward_weight", "backward_recurrent_weight", "backward_bias"];
        assert_eq!(both("backward_layer/cell/vars/1", &lstm), "backward_recurrent_weight");
        assert_eq!(both("backward_lstm/lstm_cell/bias", &lstm), "backward_bias");
        assert_eq!(both("forward_layer/cell/vars/0", &lstm), "weight");
        assert_eq!(both("dw/kernel", &["depthwise_weight", "bias"]), "depthwise_weight");
        assert_eq!(both("key_dense/vars/1", &["qkv.weight", "qkv.bias", "proj.weight", "proj.bias"]), "k.bias");
        assert_eq!(part("vars/4", &norm), None);
    }

    #[test]
    fn heads_stand_side_by_side() {
        let tensor = |shape: &[usize], from: i32| {
            let n: usize = shape.iter().product();
            Tensor::new(Shape::from(shape), (from..).take(n).map(|x| x as f32).collect::<Vec<f32>>()).unwrap()
        };
        let parts = ["q", "k", "v"].into_iter().zip([0, 10, 20]);
        let mut tensors: Tensors =
            parts.map(|(part, from)| (format!("a.{part}.weight"), tensor(&[2, 2, 1], from))).collect();
        join_attention(&mut tensors, "a.qkv.weight");
        assert_eq!(tensors["a.qkv.weight"].shape().dims(), [2, 6]);
        assert_eq!(tensors["a.qkv.weight"].f32(), [0., 1., 10., 11., 20., 21., 2., 3., 12., 13., 22., 23.]);
        assert_eq!(tensors.len(), 1);
    }
}
