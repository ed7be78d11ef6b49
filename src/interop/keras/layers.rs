//! Keras's layers as ours: which class is which type, and what its settings are called.

use serde_json::{Value as Json, json};
use toml::{Table, Value};

use crate::nn::layers::TYPES;

/// A layer of ours that does what one of Keras's does, as it stands in a model file but for its name and inputs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Counterpart {
    pub attributes: Table,
    /// A layer on the same input that comes before. The other takes its result or, if it merges several, both.
    pub before: Option<Table>,
    /// Parameters and states that ours has and Keras's not, with their value, or that of each channel.
    pub constants: Vec<(&'static str, Vec<f32>)>,
    /// Whether nothing in it is trained.
    pub frozen: bool,
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
    class("Conv1D", "conv1d", "filters kernel_size:kernel strides padding dilation_rate:dilation groups use_bias activation",
        &[CHANNELS_LAST]),
    class("MaxPooling1D", "max_pool1d", "pool_size:size strides padding", &[CHANNELS_LAST]),
    class("AveragePooling1D", "average_pool1d", "pool_size:size strides padding", &[CHANNELS_LAST]),
    class("GlobalAveragePooling1D", "global_average_pool1d", "", &[CHANNELS_LAST, ("keepdims", NO)]),
    class("GlobalMaxPooling1D", "global_max_pool1d", "", &[CHANNELS_LAST, ("keepdims", NO)]),
    class("MaxPooling2D", "max_pool2d", "pool_size:size strides padding", &[CHANNELS_LAST]),
    class("AveragePooling2D", "average_pool2d", "pool_size:size strides padding", &[CHANNELS_LAST]),
    class("GlobalAveragePooling2D", "global_average_pool2d", "", &[CHANNELS_LAST]),
    class("GlobalMaxPooling2D", "global_max_pool2d", "", &[CHANNELS_LAST]),
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
    class("LayerScale", "layer_scale", "init_values:initial", &[]),
    class("StochasticDepth", "drop_path", "drop_path_rate:rate", &[]),
    class("Cropping2D", "cropping2d", "cropping", &[CHANNELS_LAST]),
    class("UpSampling2D", "up_sampling2d", "size interpolation", &[CHANNELS_LAST]),
    class("Embedding", "embedding", "input_dim output_dim", &[("mask_zero", NO)]),
    class("Resizing", "resizing", "height width interpolation",
        &[CHANNELS_LAST, ("crop_to_aspect_ratio", NO), ("pad_to_aspect_ratio", NO), ("antialias", NO)]),
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

/// What does the same as the layer with that serialized form; `None` if it acts in training only.
///
/// Errors: why there is nothing.
pub(super) fn counterpart(layer: &Json) -> Result<Option<Counterpart>, String> {
    let name = layer["class_name"].as_str().ok_or("it has no class")?;
    let config = &layer["config"];
    if name == "Lambda" {
        return Err("it holds code, and no code is taken from a file".into());
    }
    // What users register has their package before its name.
    let registered = layer["registered_name"].as_str().is_some_and(|name| name.contains('>'));
    if registered || layer["module"].as_str().is_some_and(|module| module.split('.').next() != Some("keras")) {
        return Err("it is not one of Keras's own layers".into());
    }
    // Functions of keras.ops have the names of layers, but other settings. Older files do not say where a class is from.
    let arguments = &layer["inbound_nodes"][0]["args"];
    let is_function = layer["module"].as_str().is_some_and(|module| module.contains(".ops"));
    if is_function || [&arguments[0], &arguments[1]].iter().any(|argument| argument.is_number()) {
        return operation(name, arguments).map(Some);
    }
    if ONLY_IN_TRAINING.contains(&name) || name.starts_with("Random") {
        return Ok(None);
    }
    let found = match name {
        "Bidirectional" => bidirectional(config),
        "ReLU" | "LeakyReLU" | "ELU" | "Softmax" => activation_layer(name, config),
        "Normalization" => normalization(config),
        "Dropout" if config["noise_shape"] == json!([null, 1, 1, 1]) => of("drop_path", [("rate", &config["rate"])]),
        "GlobalAveragePooling2D" | "GlobalMaxPooling2D" if config["keepdims"] == true => {
            let pool = Class::named(name)?.counterpart(config)?.attributes;
            let reshape = of("reshape", [("target_shape", &json!([1, 1, -1]))])?;
            Ok(Counterpart { before: Some(pool), ..reshape })
        }
        _ => Class::named(name)?.counterpart(config),
    };
    found.map(Some)
}

/// A function of two values, or of a value and a number.
fn operation(name: &str, arguments: &Json) -> Result<Counterpart, String> {
    let numbers = [arguments[0].as_f64(), arguments[1].as_f64()];
    let scaled = |scale: f64, offset: f64| of("rescaling", [("scale", &json!(scale)), ("offset", &json!(offset))]);
    match (name, numbers) {
        ("Add" | "Multiply" | "Maximum", [None, None]) => Class::named(name)?.counterpart(&Json::Null),
        ("Add", [Some(number), None] | [None, Some(number)]) => scaled(1.0, number),
        ("Multiply", [Some(number), None] | [None, Some(number)]) => scaled(number, 0.0),
        ("Subtract", [None, Some(number)]) => scaled(1.0, -number),
        ("Divide" | "TrueDivide", [None, Some(number)]) if number != 0.0 => scaled(number.recip(), 0.0),
        _ => Err("this function is not supported".into()),
    }
}

/// A layer of ours with those attributes.
fn of<'a>(ours: &str, attributes: impl IntoIterator<Item = (&'a str, &'a Json)>) -> Result<Counterpart, String> {
    let attributes = attributes.into_iter().map(|(key, value)| Ok((key.to_owned(), setting(value)?)));
    checked(ours, attributes.collect::<Result<_, String>>()?)
}

fn setting(value: &Json) -> Result<Value, String> {
    Value::try_from(value).map_err(|e| format!("{value} is no setting: {e}"))
}

fn checked(ours: &str, attributes: Table) -> Result<Counterpart, String> {
    let kind = TYPES.iter().find(|kind| kind.name == ours).ok_or("there is no layer like it")?;
    kind.parse(attributes.clone()).map_err(|e| e.message().trim_end().to_owned())?;
    let mut table = Table::from_iter([("type".to_owned(), Value::from(ours))]);
    table.extend(attributes);
    Ok(Counterpart { attributes: table, ..Counterpart::default() })
}

impl Class {
    fn named(name: &str) -> Result<&'static Self, String> {
        CLASSES.iter().find(|class| class.name == name).ok_or_else(|| "there is no layer like it".into())
    }

    fn counterpart(&self, config: &Json) -> Result<Counterpart, String> {
        for (key, allowed) in self.fixed {
            let value = &config[*key];
            if !value.is_null() && !allowed.contains(&value.to_string().as_str()) {
                return Err(format!("{key} = {value} is not supported"));
            }
        }
        if self.name == "MultiHeadAttention" {
            expect_equal_heads(config)?;
        }
        let names = self.settings.split_whitespace().map(|name| name.split_once(':').unwrap_or((name, name)));
        let given = names.filter(|(key, _)| !config[*key].is_null());
        let attributes = given.map(|(key, ours)| {
            let value = match &config[key] {
                value if key == "activation" => function(value)?.into(),
                // A kernel that slides along one axis has its extent in a list nevertheless.
                Json::Array(one) if self.name.ends_with("1D") && one.len() == 1 => setting(&one[0])?,
                value => setting(value)?,
            };
            Ok((ours.to_owned(), value))
        });
        let counterpart = checked(self.ours, attributes.collect::<Result<_, String>>()?)?;
        Ok(Counterpart { constants: constants(self.ours, config), ..counterpart })
    }
}

/// The name of an activation, which is a text or a function by its name.
fn function(value: &Json) -> Result<&str, String> {
    let named = value["class_name"].as_str().filter(|class| *class == "function").and(value["config"].as_str());
    value.as_str().or(named).ok_or_else(|| "its activation is none of Keras's functions".into())
}

/// Layers that are an activation.
fn activation_layer(name: &str, config: &Json) -> Result<Counterpart, String> {
    let number = |key: &str, default: f64| config[key].as_f64().unwrap_or(default);
    let function = |name: &str| of("activation", [("activation", &json!(name))]);
    // Keras 2 has other names for the slope.
    let slope = ["negative_slope", "alpha"].iter().find_map(|key| config[*key].as_f64());
    match name {
        "ReLU" if number("threshold", 0.0) != 0.0 => Err("a threshold is not supported".into()),
        "ReLU" => match (config["max_value"].as_f64(), slope.unwrap_or(0.0)) {
            (None, 0.0) => function("relu"),
            (Some(6.0), 0.0) => function("relu6"),
            (None, slope) => leaky(slope),
            (Some(most), _) => Err(format!("max_value = {most} is not supported")),
        },
        "LeakyReLU" => leaky(slope.unwrap_or(0.3)),
        "ELU" if number("alpha", 1.0) == 1.0 => function("elu"),
        "ELU" => Err("of its values of alpha 1 is supported".into()),
        _ if matches!(config["axis"].to_string().as_str(), "-1" | "[-1]" | "null") => function("softmax"),
        _ => Err("it is not along the last axis".into()),
    }
}

/// The larger of x and slope · x.
fn leaky(slope: f64) -> Result<Counterpart, String> {
    if !(0.0..1.0).contains(&slope) {
        return Err(format!("a slope of {slope} is not supported"));
    }
    let scaled = of("rescaling", [("scale", &json!(slope))])?.attributes;
    Ok(Counterpart { before: Some(scaled), ..of("maximum", [])? })
}

/// By a mean and variance that are found before training: like a batch normalisation that is not trained.
fn normalization(config: &Json) -> Result<Counterpart, String> {
    if config["invert"] == true {
        return Err("inverting is not supported".into());
    }
    let class = Class::named("BatchNormalization")?;
    let plain = json!({ "axis": config["axis"], "epsilon": 1e-12, "scale": false, "center": false });
    let mut counterpart = class.counterpart(&plain)?;
    for (key, state) in [("mean", "running_mean"), ("variance", "running_var")] {
        if !config[key].is_null() {
            counterpart
                .constants
                .push((state, numbers(&config[key]).ok_or_else(|| format!("its {key} is no number"))?));
        }
    }
    Ok(Counterpart { frozen: true, ..counterpart })
}

/// A number, or those of lists in lists.
fn numbers(json: &Json) -> Option<Vec<f32>> {
    match json {
        Json::Array(items) => Some(items.iter().map(numbers).collect::<Option<Vec<_>>>()?.concat()),
        other => Some(vec![other.as_f64()? as f32]),
    }
}

fn bidirectional(config: &Json) -> Result<Counterpart, String> {
    if config["merge_mode"] != "concat" {
        return Err(format!("merge_mode = {} is not supported", config["merge_mode"]));
    }
    let (there, back) = (recurrent(&config["layer"])?, &config["backward_layer"]);
    if !back.is_null() {
        let mut back = recurrent(back)?;
        let way = there.attributes.get("go_backwards").cloned();
        back.attributes.extend(way.map(|way| ("go_backwards".to_owned(), way)));
        if back != there {
            return Err("its layers for both ways are not alike".into());
        }
    }
    let Counterpart { mut attributes, mut constants, .. } = there;
    attributes.insert("bidirectional".into(), true.into());
    if !constants.is_empty() {
        constants.push(("backward_bias", vec![0.0]));
    }
    Ok(Counterpart { attributes, constants, ..Counterpart::default() })
}

fn recurrent(layer: &Json) -> Result<Counterpart, String> {
    match layer["class_name"].as_str() {
        Some("SimpleRNN" | "LSTM" | "GRU") => counterpart(layer)?.ok_or_else(|| "it wraps nothing".into()),
        _ => Err("it wraps another layer than SimpleRNN, LSTM and GRU".into()),
    }
}

/// Ours has as many channels in its heads as in its input; of the latter the settings do not tell.
fn expect_equal_heads(config: &Json) -> Result<(), String> {
    match config["value_dim"].is_null() || config["value_dim"] == config["key_dim"] {
        true => Ok(()),
        false => Err("value_dim other than key_dim is not supported".into()),
    }
}

/// What Keras leaves out where a bias, scale or shift is switched off.
fn constants(ours: &str, config: &Json) -> Vec<(&'static str, Vec<f32>)> {
    let off = |key: &str| config[key] == false;
    match ours {
        "batch_normalization" | "layer_normalization" | "group_normalization" => {
            let both = [("scale", "weight", 1.0), ("center", "bias", 0.0)];
            both.iter().filter(|(key, ..)| off(key)).map(|&(_, name, value)| (name, vec![value])).collect()
        }
        "simple_rnn" | "lstm" | "gru" if off("use_bias") => vec![("bias", vec![0.0])],
        "multi_head_attention" if off("use_bias") => {
            ["q.bias", "k.bias", "v.bias", "qkv.bias", "proj.bias"].map(|name| (name, vec![0.0])).to_vec()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(class: &str, config: Json) -> Result<String, String> {
        let found = counterpart(&json!({ "class_name": class, "config": config }))?;
        Ok(found.map_or(String::new(), |found| found.attributes.to_string()))
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
        let paths = json!({ "rate": 0.1, "noise_shape": [null, 1, 1, 1] });
        assert!(translated("Dropout", paths).unwrap().contains("drop_path"));
        let steps = json!({ "filters": 4, "kernel_size": [3], "strides": [1] });
        assert!(translated("Conv1D", steps).unwrap().contains("kernel = 3"));
        assert_eq!(translated("RandomFlip", json!({})).unwrap(), "");
    }

    #[test]
    fn functions_of_a_number_are_rescaling() {
        let half = operation("TrueDivide", &json!([{ "class_name": "__keras_tensor__" }, 2])).unwrap().attributes;
        assert_eq!(half.to_string(), "type = \"rescaling\"\nscale = 0.5\noffset = 0.0\n");
        assert!(operation("Subtract", &json!([1, {}])).is_err());
        let leaky = leaky(0.1).unwrap();
        assert_eq!(leaky.attributes.to_string(), "type = \"maximum\"\n");
        assert_eq!(leaky.before.unwrap().to_string(), "type = \"rescaling\"\nscale = 0.1\n");
    }

    #[test]
    fn what_differs_is_refused() {
        let why = |class: &str, config: Json| translated(class, config).unwrap_err();
        assert!(why("Lambda", json!({})).contains("code"));
        assert!(why("Conv3D", json!({})).contains("no layer like it"));
        assert!(why("Conv2D", json!({ "data_format": "channels_first" })).contains("channels_first"));
        assert!(why("Dense", json!({ "units": 2, "activation": "softsign" })).contains("softsign"));
        assert!(why("Dense", json!({ "units": -2 })).contains("-2"));
        assert!(why("LeakyReLU", json!({ "negative_slope": 1.5 })).contains("1.5"));
        assert!(why("GRU", json!({ "units": 2, "reset_after": false })).contains("reset_after"));
    }
}
