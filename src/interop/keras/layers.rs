//! Keras's layers as ours: which class is which type, and what its settings are called.

use serde_json::Value as Json;
use toml::{Table, Value};

use crate::nn::layers::TYPES;

/// What a layer of Keras becomes.
#[derive(Debug, PartialEq)]
pub(super) enum Counterpart {
    /// A layer of ours, as it stands in a model file but for its name and inputs.
    Layer {
        attributes: Table,
        /// Parameters that ours has and Keras's not, and the number which they consist of.
        constants: Vec<(&'static str, f32)>,
    },
    /// None is needed: it acts in training only.
    None,
}

/// A class whose settings ours has as well.
struct Class {
    name: &'static str,
    ours: &'static str,
    /// Settings, each with what it is called here, if otherwise.
    settings: &'static str,
    /// Settings that ours does not have, and the values, as JSON, for which it does the same. `null` is always fine.
    fixed: &'static [(&'static str, &'static [&'static str])],
}

const CHANNELS_LAST: (&str, &[&str]) = ("data_format", &["\"channels_last\""]);
const LAST_AXIS: (&str, &[&str]) = ("axis", &["-1", "[-1]"]);
const LAST_OF_MAPS: (&str, &[&str]) = ("axis", &["-1", "[-1]", "3", "[3]"]);
const NO: &[&str] = &["false"];
const TANH: (&str, &[&str]) = ("activation", &["\"tanh\""]);
const SIGMOID: (&str, &[&str]) = ("recurrent_activation", &["\"sigmoid\""]);

#[rustfmt::skip]
const CLASSES: &[Class] = &[
    class("Conv2D", "conv2d", "filters kernel_size:kernel strides padding dilation_rate:dilation groups use_bias activation",
        &[CHANNELS_LAST]),
    class("Conv2DTranspose", "conv2d_transpose",
        "filters kernel_size:kernel strides padding dilation_rate:dilation use_bias activation",
        &[CHANNELS_LAST, ("output_padding", &[]), ("groups", &["1"])]),
    class("DepthwiseConv2D", "depthwise_conv2d",
        "kernel_size:kernel strides padding dilation_rate:dilation depth_multiplier use_bias activation", &[CHANNELS_LAST]),
    class("SeparableConv2D", "separable_conv2d",
        "filters kernel_size:kernel strides padding dilation_rate:dilation depth_multiplier use_bias activation", &[CHANNELS_LAST]),
    class("MaxPooling2D", "max_pool2d", "pool_size:size strides padding", &[CHANNELS_LAST]),
    class("AveragePooling2D", "average_pool2d", "pool_size:size strides padding", &[CHANNELS_LAST]),
    class("GlobalAveragePooling2D", "global_average_pool2d", "", &[CHANNELS_LAST, ("keepdims", NO)]),
    class("GlobalMaxPooling2D", "global_max_pool2d", "", &[CHANNELS_LAST, ("keepdims", NO)]),
    class("Flatten", "flatten", "", &[CHANNELS_LAST]),
    class("Reshape", "reshape", "target_shape", &[]),
    class("Permute", "permute", "dims", &[]),
    class("Dense", "dense", "units use_bias activation", &[]),
    class("Activation", "activation", "activation", &[]),
    class("PReLU", "prelu", "shared_axes", &[]),
    class("Dropout", "dropout", "rate", &[("noise_shape", &[])]),
    class("SpatialDropout2D", "spatial_dropout2d", "rate", &[CHANNELS_LAST]),
    class("BatchNormalization", "batch_normalization", "momentum epsilon", &[LAST_OF_MAPS, ("renorm", NO)]),
    class("LayerNormalization", "layer_normalization", "epsilon", &[LAST_AXIS, ("rms_scaling", NO)]),
    class("GroupNormalization", "group_normalization", "groups epsilon", &[LAST_OF_MAPS]),
    class("RMSNormalization", "rms_normalization", "epsilon", &[LAST_AXIS]),
    class("Add", "add", "", &[]),
    class("Multiply", "multiply", "", &[]),
    class("Average", "average", "", &[]),
    class("Maximum", "maximum", "", &[]),
    class("Concatenate", "concatenate", "axis", &[]),
    class("MultiHeadAttention", "multi_head_attention", "num_heads:heads",
        &[("output_shape", &[]), ("attention_axes", &["[1]"]), ("use_gate", NO), ("sliding_window", &[])]),
    class("SimpleRNN", "simple_rnn", "units return_sequences go_backwards", &[TANH, ("return_state", NO)]),
    class("LSTM", "lstm", "units return_sequences go_backwards", &[TANH, SIGMOID, ("return_state", NO)]),
    class("GRU", "gru", "units return_sequences go_backwards",
        &[TANH, SIGMOID, ("return_state", NO), ("reset_after", &["true"])]),
    class("Cropping2D", "cropping2d", "cropping", &[CHANNELS_LAST]),
    class("UpSampling2D", "up_sampling2d", "size", &[CHANNELS_LAST, ("interpolation", &["\"nearest\""])]),
    class("ZeroPadding2D", "zero_padding2d", "padding", &[CHANNELS_LAST]),
    class("Rescaling", "rescaling", "scale offset", &[]),
];

const fn class(
    name: &'static str,
    ours: &'static str,
    settings: &'static str,
    fixed: &'static [(&'static str, &'static [&'static str])],
) -> Class {
    Class { name, ours, settings, fixed }
}

/// Classes that change nothing but in training.
const ONLY_IN_TRAINING: &[&str] = &["ActivityRegularization", "AlphaDropout", "GaussianDropout", "GaussianNoise"];

/// What the layer with that serialized form becomes.
///
/// Errors: why there is nothing that does the same.
pub(super) fn counterpart(layer: &Json) -> Result<Counterpart, String> {
    const OPERATIONS: [&str; 3] = ["Add", "Multiply", "Maximum"];
    let name = layer["class_name"].as_str().ok_or("it has no class")?;
    let config = &layer["config"];
    if name == "Lambda" {
        return Err("it holds code, and no code is taken from a file".into());
    }
    // What users register has their package before its name.
    if layer["registered_name"].as_str().is_some_and(|registered| registered.contains('>')) {
        return Err("it is not one of Keras's own layers".into());
    }
    // Functions of keras.ops have the names of layers, but other settings.
    if layer["module"].as_str().is_some_and(|module| module.contains(".ops")) && !OPERATIONS.contains(&name) {
        return Err("this function is not supported".into());
    }
    if ONLY_IN_TRAINING.contains(&name) || name.starts_with("Random") {
        return Ok(Counterpart::None);
    }
    let (ours, attributes) = match name {
        "Bidirectional" => return bidirectional(config),
        "ReLU" | "LeakyReLU" | "ELU" | "Softmax" => ("activation", activation_layer(name, config)?),
        _ => {
            let class = CLASSES.iter().find(|class| class.name == name).ok_or("there is no layer like it")?;
            (class.ours, class.attributes(config)?)
        }
    };
    if ours == "multi_head_attention" {
        expect_equal_heads(config)?;
    }
    checked(ours, attributes, constants(ours, config))
}

/// A layer of ours whose attributes are known to be fine.
fn checked(ours: &str, attributes: Table, constants: Vec<(&'static str, f32)>) -> Result<Counterpart, String> {
    let kind = TYPES.iter().find(|kind| kind.name == ours).ok_or("there is no layer like it")?;
    kind.parse(attributes.clone()).map_err(|e| e.message().trim_end().to_owned())?;
    let mut table = Table::from_iter([("type".to_owned(), Value::from(ours))]);
    table.extend(attributes);
    Ok(Counterpart::Layer { attributes: table, constants })
}

impl Class {
    fn attributes(&self, config: &Json) -> Result<Table, String> {
        for (key, allowed) in self.fixed {
            let value = &config[*key];
            if !value.is_null() && !allowed.contains(&value.to_string().as_str()) {
                return Err(format!("{key} = {value} is not supported"));
            }
        }
        let names = self.settings.split_whitespace().map(|name| name.split_once(':').unwrap_or((name, name)));
        names
            .filter(|(key, _)| !config[*key].is_null())
            .map(|(key, ours)| {
                let value = if key == "activation" { function(&config[key])?.into() } else { setting(&config[key])? };
                Ok((ours.to_owned(), value))
            })
            .collect()
    }
}

fn setting(value: &Json) -> Result<Value, String> {
    Value::try_from(value).map_err(|e| format!("{value} is no setting: {e}"))
}

/// The name of an activation, which is a text or a function by its name.
fn function(value: &Json) -> Result<&str, String> {
    let named = value["class_name"].as_str().filter(|class| *class == "function").and(value["config"].as_str());
    value.as_str().or(named).ok_or_else(|| "its activation is none of Keras's functions".into())
}

/// Layers that are an activation.
fn activation_layer(name: &str, config: &Json) -> Result<Table, String> {
    let number = |key: &str, default: f64| config[key].as_f64().unwrap_or(default);
    // Keras 2 has other names for the slope.
    let slope = ["negative_slope", "alpha"].iter().find_map(|key| config[*key].as_f64());
    let is = |value: f64, wanted: f64| (value - wanted).abs() < 1e-6;
    let function = match name {
        "ReLU" if number("threshold", 0.0) != 0.0 => Err("a threshold is not supported".to_owned()),
        "ReLU" => match (config["max_value"].as_f64(), slope.unwrap_or(0.0)) {
            (None, 0.0) => Ok("relu"),
            (Some(6.0), 0.0) => Ok("relu6"),
            (None, slope) if is(slope, 0.2) => Ok("leaky_relu"),
            _ => Err("it is neither a plain rectifier nor one that ends at 6".into()),
        },
        "LeakyReLU" if is(slope.unwrap_or(0.3), 0.2) => Ok("leaky_relu"),
        "LeakyReLU" => Err("of its slopes 0.2 is supported".into()),
        "ELU" if is(number("alpha", 1.0), 1.0) => Ok("elu"),
        "ELU" => Err("of its values of alpha 1 is supported".into()),
        _ if matches!(config["axis"].to_string().as_str(), "-1" | "[-1]" | "null") => Ok("softmax"),
        _ => Err("it is not along the last axis".into()),
    };
    Ok(Table::from_iter([("activation".to_owned(), Value::from(function?))]))
}

fn bidirectional(config: &Json) -> Result<Counterpart, String> {
    if config["merge_mode"] != "concat" {
        return Err(format!("merge_mode = {} is not supported", config["merge_mode"]));
    }
    let there = counterpart(&config["layer"])?;
    let Counterpart::Layer { mut attributes, constants } = there else { return Err("it wraps nothing".into()) };
    let ours = attributes.remove("type").and_then(|ours| Some(ours.as_str()?.to_owned())).unwrap_or_default();
    if !matches!(ours.as_str(), "simple_rnn" | "lstm" | "gru") {
        return Err("it wraps another layer than SimpleRNN, LSTM and GRU".into());
    }
    if !config["backward_layer"].is_null() && !alike(&config["backward_layer"], &config["layer"])? {
        return Err("its layers for both ways are not alike".into());
    }
    attributes.insert("bidirectional".into(), true.into());
    let both = constants.iter().flat_map(|&(name, value)| {
        let back = if name == "bias" { "backward_bias" } else { name };
        [(name, value), (back, value)]
    });
    checked(&ours, attributes, both.collect())
}

/// Whether two layers differ in nothing but the way they read.
fn alike(one: &Json, other: &Json) -> Result<bool, String> {
    let without_way = |layer: &Json| match counterpart(layer)? {
        Counterpart::Layer { mut attributes, constants } => {
            attributes.remove("go_backwards");
            Ok::<_, String>(Some((attributes, constants)))
        }
        Counterpart::None => Ok(None),
    };
    Ok(without_way(one)? == without_way(other)?)
}

/// Ours has as many channels in its heads as in its input; of the latter the settings do not tell.
fn expect_equal_heads(config: &Json) -> Result<(), String> {
    match config["value_dim"].is_null() || config["value_dim"] == config["key_dim"] {
        true => Ok(()),
        false => Err("value_dim other than key_dim is not supported".into()),
    }
}

/// What Keras leaves out where a bias, scale or shift is switched off.
fn constants(ours: &str, config: &Json) -> Vec<(&'static str, f32)> {
    let off = |key: &str| config[key] == false;
    match ours {
        "batch_normalization" | "layer_normalization" | "group_normalization" => {
            let both = [("scale", "weight", 1.0), ("center", "bias", 0.0)];
            both.iter().filter(|(key, ..)| off(key)).map(|&(_, name, value)| (name, value)).collect()
        }
        "simple_rnn" | "lstm" | "gru" if off("use_bias") => vec![("bias", 0.0)],
        "multi_head_attention" if off("use_bias") => vec![("qkv.bias", 0.0), ("proj.bias", 0.0)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn translated(class: &str, config: Json) -> Result<String, String> {
        match counterpart(&json!({ "class_name": class, "config": config }))? {
            Counterpart::Layer { attributes, .. } => Ok(attributes.to_string()),
            Counterpart::None => Ok(String::new()),
        }
    }

    #[test]
    fn settings_are_taken_over() {
        let conv = json!({ "filters": 8, "kernel_size": [3, 5], "padding": "same", "activation": "relu",
            "data_format": "channels_last", "strides": [2, 2], "kernel_regularizer": null });
        let conv = translated("Conv2D", conv).unwrap();
        for line in
            ["type = \"conv2d\"", "filters = 8", "kernel = [3, 5]", "padding = \"same\"", "activation = \"relu\""]
        {
            assert!(conv.contains(line), "{conv}");
        }
        let function = json!({ "module": "builtins", "class_name": "function", "config": "gelu" });
        assert!(translated("Dense", json!({ "units": 2, "activation": function })).unwrap().contains("gelu"));
        assert!(translated("ReLU", json!({ "max_value": 6.0 })).unwrap().contains("relu6"));
        assert_eq!(translated("RandomFlip", json!({})).unwrap(), "");
    }

    #[test]
    fn what_differs_is_refused() {
        let why = |class: &str, config: Json| translated(class, config).unwrap_err();
        assert!(why("Lambda", json!({})).contains("code"));
        assert!(why("Conv3D", json!({})).contains("no layer like it"));
        assert!(why("Conv2D", json!({ "data_format": "channels_first" })).contains("channels_first"));
        assert!(why("Dense", json!({ "units": 2, "activation": "softsign" })).contains("softsign"));
        assert!(why("Dense", json!({ "units": -2 })).contains("-2"));
        assert!(why("LeakyReLU", json!({ "negative_slope": 0.3 })).contains("0.2"));
        assert!(why("GRU", json!({ "units": 2, "reset_after": false })).contains("reset_after"));
    }
}
