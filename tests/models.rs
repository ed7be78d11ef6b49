//! Networks from layers and files: names, defaults, parameters, shapes, errors.

mod common;

use std::collections::HashMap;
use std::path::Path;

use common::devices;
use ocellus::device::Device;
use ocellus::graph::{Ending, Graph, Kind, Layout, evaluate};
use ocellus::nn::layers::{
    Add, AveragePooling2D, BatchNormalization, Concatenate, Conv2D, Dense, DepthwiseConv2D, Dropout, MaxPooling2D,
    SeparableConv2D, ZeroPadding2D,
};
use ocellus::nn::{Activation, Initializer, Layer, Mode, Model, Sequential, layers, zoo};
use ocellus::ops::Padding;
use ocellus::seed::Seed;
use ocellus::tensor::{Array, DType, Meta, Shape, Tensor};

const RESIDUAL: &str = r#"
input = [8, 6, 3]
outputs = ["head", "sum"]
freeze = ["stem.*"]

[[layer]]
type = "conv2d"
name = "stem"
filters = 4
kernel = [3, 1]
strides = [1, 2]
padding = [[0, 2], [1, 0]]
kernel_initializer = "he_normal"
bias_initializer = { constant = 0.5 }

[[layer]]
type = "conv2d"
filters = 4
kernel = 3
padding = "same"
activation = "relu"

[[layer]]
type = "add"
name = "sum"
inputs = ["conv2d", "stem"]

[[layer]]
type = "global_average_pool2d"

[[layer]]
type = "dense"
name = "head"
units = 2
"#;

#[test]
fn a_model_file_is_read_and_written_back_the_same() {
    let model = Model::parse(RESIDUAL).unwrap();
    let names: Vec<&str> = model.layers().iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["stem", "conv2d", "sum", "global_average_pooling2d", "head"]);
    assert_eq!(model.layers()[0].inputs, ["input"]);
    assert_eq!(model.layers()[3].inputs, ["sum"]);
    let text = model.to_toml().unwrap();
    for line in RESIDUAL.lines().filter(|l| l.contains('=') && !l.contains("bias_initializer")) {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for default in ["groups", "use_bias", "dilation", "linear", "glorot"] {
        assert!(!text.contains(default), "the default of {default} is in\n{text}");
    }
    let again = Model::parse(&text).unwrap();
    assert_eq!(again.to_toml().unwrap(), text);
    assert_eq!(again.frozen(), ["stem.*"]);
    assert_eq!(again.summary().unwrap(), model.summary().unwrap());
    assert_eq!(again.initialize(Seed(1)).unwrap(), model.initialize(Seed(1)).unwrap());
    assert!(again.initialize(Seed(1)).unwrap()["stem.bias"].f32().iter().all(|&b| b == 0.5));
}

#[test]
fn every_network_of_the_zoo_survives_its_file() {
    for entry in zoo::ENTRIES {
        let model = entry.build([96, 80, 3], 7);
        let again = Model::parse(&model.to_toml().unwrap()).unwrap();
        assert_eq!(again.summary().unwrap(), model.summary().unwrap(), "{}", entry.name);
        assert_eq!(again.to_toml().unwrap(), model.to_toml().unwrap(), "{}", entry.name);
    }
}

/// A layer as a model file gives it when only what must be given is given.
fn minimal(text: &str) -> String {
    let kind = text.split_whitespace().next().unwrap();
    let keys: toml::Table = toml::from_str(text.strip_prefix(kind).unwrap()).unwrap();
    let layer_type = layers::TYPES.iter().find(|t| t.name == kind).unwrap();
    let layer = layer_type.parse(keys).unwrap();
    assert_eq!(layer.type_name(), kind);
    layer.attributes().unwrap().to_string()
}

#[test]
fn defaults_are_those_of_keras() {
    let text = |layer: &dyn Layer| layer.attributes().unwrap().to_string();
    assert_eq!(minimal("conv2d filters = 5\nkernel = 3"), text(&Conv2D::new(5, 3)));
    assert_eq!(minimal("depthwise_conv2d kernel = [3, 5]"), text(&DepthwiseConv2D::new([3, 5])));
    assert_eq!(minimal("separable_conv2d filters = 5\nkernel = 3"), text(&SeparableConv2D::new(5, 3)));
    assert_eq!(minimal("dense units = 5"), text(&Dense::new(5)));
    assert_eq!(minimal("max_pool2d"), text(&MaxPooling2D::new(2)));
    assert_eq!(minimal("average_pool2d"), text(&AveragePooling2D::new(2)));
    assert_eq!(minimal("batch_normalization"), text(&BatchNormalization { momentum: 0.99, epsilon: 1e-3 }));
    assert_eq!(minimal("concatenate"), text(&Concatenate { axis: -1 }));
    assert_eq!(minimal("zero_padding2d"), text(&ZeroPadding2D { padding: 1.into() }));
    assert_eq!(minimal("dropout rate = 0"), text(&Dropout { rate: 0.0 }));
    let conv: toml::Table = toml::from_str(&text(&Conv2D::new(5, 3))).unwrap();
    let expected: toml::Table = toml::from_str(
        "filters = 5\nkernel = 3\nstrides = 1\npadding = \"valid\"\ndilation = 1\ngroups = 1\nuse_bias = true\n\
         activation = \"linear\"\nkernel_initializer = \"glorot_uniform\"\nbias_initializer = \"zeros\"",
    )
    .unwrap();
    assert_eq!(conv, expected);
}

#[test]
fn layers_are_named_by_their_keras_class_and_a_counter() {
    let model: Model = Sequential::new([16, 16, 3])
        .conv2d(2, 3)
        .relu()
        .conv2d(2, [1, 3])
        .relu()
        .max_pool2d(2)
        .average_pool2d(2)
        .batch_normalization()
        .flatten()
        .dense(2)
        .dense(2)
        .softmax()
        .into();
    let names: Vec<&str> = model.layers().iter().map(|l| l.name.as_str()).collect();
    let expected = [
        "conv2d",
        "activation",
        "conv2d_1",
        "activation_1",
        "max_pooling2d",
        "average_pooling2d",
        "batch_normalization",
        "flatten",
        "dense",
        "dense_1",
        "activation_2",
    ];
    assert_eq!(names, expected);
    let tensors: Vec<String> = model.tensors().unwrap().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "conv2d.weight",
        "conv2d.bias",
        "conv2d_1.weight",
        "conv2d_1.bias",
        "batch_normalization.weight",
        "batch_normalization.bias",
        "batch_normalization.running_mean",
        "batch_normalization.running_var",
        "dense.weight",
        "dense.bias",
        "dense_1.weight",
        "dense_1.bias",
    ];
    assert_eq!(tensors, expected);
}

#[test]
fn an_explicit_name_is_not_given_twice() {
    let text = "input = [4, 4, 1]\n[[layer]]\ntype = \"flatten\"\n[[layer]]\ntype = \"dense\"\nunits = 2\n\
                [[layer]]\ntype = \"dense\"\nname = \"dense\"\nunits = 3";
    let model = Model::parse(text).unwrap();
    let names: Vec<&str> = model.layers().iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["flatten", "dense_1", "dense"]);
}

fn trained(name: &str, input: [usize; 3], classes: usize) -> usize {
    zoo::build(name, input, classes).unwrap().summary().unwrap().trained
}

#[test]
fn zoo_networks_have_the_published_number_of_parameters() {
    // 3 3 3 32 + 32, then 31 31 32 128 + 128, then 128 + 1.
    assert_eq!(trained("keras-first", [64, 64, 3], 2), 896 + 3_936_384 + 129);
    assert_eq!(trained("keras-first", [64, 64, 3], 10), 896 + 3_936_384 + 1290);
    // 6 (25 + 1), 16 (6 25 + 1), 120 (16 25 + 1), 84 121, 10 85: the layers C1, C3 (in full), C5, F6 and the output.
    assert_eq!(trained("lenet", [28, 28, 1], 10), 156 + 2416 + 48_120 + 10_164 + 850);
    assert_eq!(trained("lenet", [32, 32, 1], 10), 61_706);
    // Kernels: 9 (3 32 + 32 32 + 32 64 + 64 64 + 64 128 + 128 128); batch-norm: 2 2 (32 + 64 + 128); 128 10 + 10.
    assert_eq!(trained("vgg-small", [32, 32, 3], 10), 286_560 + 896 + 1290);
    assert_eq!(trained("vgg-small", [64, 48, 3], 10), 286_560 + 896 + 1290);
    assert_eq!(trained("resnet20", [32, 32, 3], 10), 272_474);
    // As in torchvision.
    for (name, parameters) in [
        ("alexnet", 61_100_840),
        ("vgg11", 132_863_336),
        ("vgg16", 138_357_544),
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnext50", 25_028_904),
        ("densenet121", 7_978_856),
        ("squeezenet", 1_235_496),
        ("mobilenet_v2", 3_504_872),
        ("mobilenet_v3_small", 2_542_856),
        ("mobilenet_v3_large", 5_483_032),
        ("efficientnet_b0", 5_288_548),
        ("convnext_tiny", 28_589_128),
        // As in timm.
        ("vit_tiny", 5_717_416),
        ("vit_small", 22_050_664),
        ("efficientnet_lite0", 4_652_008),
    ] {
        assert_eq!(trained(name, [224, 224, 3], 1000), parameters, "{name}");
    }
    // As milesial's Pytorch-UNet for one channel of results, and for three.
    assert_eq!(trained("unet", [256, 256, 3], 2), 31_037_633);
    assert_eq!(trained("unet", [250, 37, 3], 3), 31_037_633 + 2 * 65);
    // Convolutions without bias between batch-norms: stem 49 3 32; encoders 9 (2 32 32 + 32 64 + 64 64 + ...); decoders; head.
    let [a, b, c, d] = [32, 64, 128, 256];
    let encoders = 9 * (2 * a * a + (a * b + b * b) + (b * c + c * c) + (c * d + d * d));
    let decoder = |from: usize, to: usize| from * (from / 4) + 9 * (from / 4) * (from / 4) + from / 4 + (from / 4) * to;
    let decoders = decoder(d, c) + decoder(c, b) + decoder(b, a) + decoder(a, a);
    let norms = 2 * (a + 2 * (a + b + c + d) + (d + c + b + a) / 4 + (c + b + a + a) + a);
    let head = 9 * a * a + (9 * a + 1) + 2;
    assert_eq!(trained("linknet", [64, 96, 3], 2), 49 * 3 * a + encoders + decoders + norms + head);
    // Kernels 9 (3 32 + 32 64 + 64 128) down, 128 16 and 16 9 128 around the code, 9 (128 64 + 64 32 + 32 3) up; biases.
    let biases = 32 + 64 + 128 + 16 + 128 + 64 + 32 + 3;
    assert_eq!(trained("autoencoder", [30, 21, 3], 2), 93_024 + 2048 + 18_432 + 93_024 + biases);
    // The same convolutions down, 128 9 128 + 128 first on the way up; dense layers between 8192 and 64.
    let convolutions = 93_024 + 224 + 147_584 + 73_792 + 18_464 + 867;
    assert_eq!(trained("vae", [64, 64, 3], 2), convolutions + 2 * (8192 * 64 + 64) + 64 * 8192 + 8192);
    // The paper's 8.3 million. Convolutions with biases, two batch-norms; 2 LSTMs of 4 256 (512 + 256) + 4 256 and a dense
    // layer from 512 to 256; 2 of 4 256 (256 + 256) + 4 256; from 512 to 37.
    let convolutions = 640 + 73_856 + 295_168 + 590_080 + 1_180_160 + 2_359_808 + 1_049_088 + 2 * 1024;
    let reading = 2 * 787_456 + 131_328 + 2 * 525_312 + 512 * 37 + 37;
    assert_eq!(trained("crnn", [32, 100, 1], 37), convolutions + reading);
    assert_eq!(convolutions + reading, 8_326_693);
    // Convolutions without biases between batch-norms; an LSTM both ways over 2 64 values of each column; a dense layer.
    let convolutions = 9 * (16 + 16 * 32 + 32 * 48 + 48 * 64) + 2 * (16 + 32 + 48 + 64);
    let reading = 2 * (4 * 64 * (128 + 64) + 4 * 64) + 128 * 11 + 11;
    assert_eq!(trained("crnn-small", [32, 100, 1], 11), convolutions + reading);
    // 2 for each channel of the 20 batch-norms: 2 (5 64 + 5 128 + 5 256 + 5 512).
    assert_eq!(zoo::build("resnet18", [224, 224, 3], 1000).unwrap().summary().unwrap().untrained, 9600);
}

#[test]
fn networks_come_in_other_widths() {
    let trained = |name: &str, classes: usize, width: f64| {
        zoo::build_scaled(name, [224, 224, 3], classes, width).unwrap().summary().unwrap().trained
    };
    // As in Keras, whose 0.5 and 1.4 are timm's mobilenetv2_050 and mobilenetv2_140.
    for (name, width, parameters) in [
        ("mobilenet_v2", 0.5, 1_968_680),
        ("mobilenet_v2", 0.75, 2_636_424),
        ("mobilenet_v2", 1.4, 6_108_776),
        ("mobilenet_v3_small", 0.75, 2_041_872),
        ("mobilenet_v3_large", 0.75, 3_993_528),
    ] {
        assert_eq!(trained(name, 1000, width), parameters, "{name} {width}");
    }
    // 9 (3 32 + 6 32² + 32 64 + 5 64² + 64 128 + 5 128²) + 32 64 + 64 128; 7 batch-norms each of 2 (32 + 64 + 128); 128 10 + 10.
    assert_eq!(trained("resnet20", 10, 2.0), 1_069_920 + 10_240 + 3136 + 1290);
    assert_eq!(trained("resnet20", 10, 1.0), 272_474);
    // 16 1.3 = 20.8, next to 24 among the multiples of 8.
    let network = zoo::build_scaled("resnet20", [32, 32, 3], 10, 1.3).unwrap();
    assert_eq!(network.summary().unwrap().layers[0].output, [32, 32, 24]);
    for entry in zoo::ENTRIES {
        if let Ok(network) = zoo::build_scaled(entry.name, [96, 80, 3], 7, 0.3) {
            network.summary().unwrap();
        }
    }
    let error = |name: &str, width: f64| zoo::build_scaled(name, [224, 224, 3], 2, width).unwrap_err().to_string();
    assert!(
        error("lenet", 0.5).contains("lenet is of one width; others can be set for vgg-small, frame-cnn, resnet20")
    );
    for width in [0.0, -1.0, 17.0, f64::NAN] {
        assert!(error("resnet20", width).contains("above 0 and at most 16"), "{width}");
    }
}

#[test]
fn summary_counts_operations() {
    let summary = zoo::build("keras-first", [64, 64, 3], 2).unwrap().summary().unwrap();
    let products = 2 * (62 * 62 * 32 * 27 + 30_752 * 128 + 128);
    assert!(summary.flops >= products && summary.flops < products + products / 10, "{}", summary.flops);
    let text = summary.to_string();
    assert!(text.contains("parameters: 3,937,409 trained, 0 not trained"), "{text}");
    let row = text.lines().find(|l| l.starts_with("max_pooling2d")).unwrap();
    assert!(row.contains("max_pool2d") && row.contains("31x31x32"), "{row}");
    // 41 million multiply-adds, as in table 6 of the ResNet paper.
    let summary = zoo::build("resnet20", [32, 32, 3], 10).unwrap().summary().unwrap();
    assert!((summary.flops as f64 / 2.0 - 41e6).abs() < 1e6, "{}", summary.flops);
}

#[test]
fn small_pictures_work_or_are_refused_clearly() {
    for name in ["keras-first", "lenet", "vgg-small", "resnet20", "resnet18"] {
        zoo::build(name, [28, 28, 1], 10).unwrap().summary().unwrap();
    }
    let error = zoo::build("vgg-small", [7, 9, 3], 2).unwrap().summary().unwrap_err().to_string();
    let expected = "max_pool2d \"max_pooling2d_2\": gets a map of 1x2, but its window needs 2x2: pictures of 7x9 are too \
                    small for this network";
    assert_eq!(error, expected);
    let error = zoo::build("vgg-big", [7, 9, 3], 2).unwrap_err().to_string();
    assert!(error.contains("vgg-big") && error.contains("resnet18"), "{error}");
}

/// The error for a network of these layers on 8x6x3 pictures.
fn error(layers: &[&str]) -> String {
    let tables: Vec<String> = layers.iter().map(|l| format!("[[layer]]\n{l}\n")).collect();
    let text = format!("input = [8, 6, 3]\n{}", tables.concat());
    Model::parse(&text).and_then(|m| m.summary()).unwrap_err().to_string()
}

#[test]
fn errors_name_the_layer_and_the_remedy() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["type = 'conv3d'"], &["layer 1", "\"conv3d\"", "depthwise_conv2d", "rescaling"]),
        (&["filters = 3"], &["layer 1", "has no type"]),
        (&["type = 'conv2d'\nfiltres = 3\nkernel = 3"], &["layer 1, conv2d", "filtres", "filters", "dilation"]),
        (&["type = 'flatten'", "type = 'dense'\nname = 'fc'"], &["layer 2, dense \"fc\"", "missing", "units"]),
        (&["type = 'conv2d'\nfilters = -3\nkernel = 3"], &["layer 1, conv2d", "-3"]),
        (&["type = 'conv2d'\nfilters = 3\nkernel = 'big'"], &["layer 1, conv2d", "[height, width]"]),
        (&["type = 'conv2d'\nfilters = 3\nkernel = 3\npadding = 'full'"], &["padding", "\"valid\", \"same\""]),
        (&["type = 'activation'\nactivation = 'rectify'"], &["layer 1, activation", "rectify", "relu"]),
        (&["type = 'dense'\nname = 3\nunits = 3"], &["layer 1", "name must be a string"]),
        (&["type = 'conv2d'\nfilters = 0\nkernel = 3"], &["conv2d \"conv2d\": filters must be at least 1"]),
        (&["type = 'conv2d'\nfilters = 3\nkernel = 0"], &["conv2d \"conv2d\"", "window 0x0"]),
        (&["type = 'conv2d'\nfilters = 3\nkernel = 3\ndilation = 9000000000000000000"], &["dilation", "65535"]),
        (&["type = 'dense'\nunits = 9000000000000000000"], &["dense \"dense\"", "more than"]),
        (&["type = 'conv2d'\nfilters = 4\nkernel = 1\ngroups = 2"], &["conv2d \"conv2d\"", "groups = 2", "3 input"]),
        (&["type = 'conv2d'\nfilters = 4\nkernel = 7"], &["gets a map of 8x6", "needs 7x7", "pictures of 8x6"]),
        (&["type = 'flatten'", "type = 'max_pool2d'"], &["max_pool2d \"max_pooling2d\"", "height", "144"]),
        (&["type = 'dropout'\nrate = 1.0"], &["dropout \"dropout\"", "rate", "below 1"]),
        (&["type = 'batch_normalization'\nepsilon = 0"], &["batch_normalization \"batch_normalization\"", "positive"]),
        (&["type = 'batch_normalization'\nmomentum = 1.5"], &["momentum must be between 0 and 1"]),
        (&["type = 'reshape'\ntarget_shape = [5, -1]"], &["reshape \"reshape\"", "8x6x3", "144", "[5, -1]"]),
        (&["type = 'concatenate'\naxis = 0\ninputs = ['input', 'input']"], &["concatenate \"concatenate\"", "axis 0"]),
        (
            &[
                "type = 'flatten'",
                "type = 'flatten'\nname = 'b'\ninputs = ['input']",
                "type = 'sampling'\ninputs = ['b', 'b', 'flatten']",
            ],
            &["sampling \"sampling\"", "two inputs: means, and logarithms of variances"],
        ),
        (&["type = 'add'"], &["add \"add\"", "two or more", "gets 1"]),
        (&["type = 'flatten'\ninputs = ['input', 'input']"], &["flatten \"flatten\"", "takes one input, but gets 2"]),
        (&["type = 'flatten'\ninputs = ['inptu']"], &["flatten \"flatten\"", "no input \"inptu\"", "input"]),
        (&["type = 'flatten'\nname = 'a'", "type = 'flatten'\nname = 'a'"], &["flatten \"a\"", "this name already"]),
        (&["type = 'flatten'\nname = 'input'"], &["flatten \"input\"", "choose another"]),
        (&["type = 'flatten'\nname = ''"], &["empty"]),
        (
            &["type = 'flatten'\nname = 'a'\ninputs = ['b']", "type = 'flatten'\nname = 'b'"],
            &["flatten \"a\"", "\"b\" does not come before it"],
        ),
        (&["type = 'flatten'\nname = 'a'\ninputs = ['a']"], &["flatten \"a\"", "does not come before it"]),
        (&["type = 'flatten'\nname = 'a'", "type = 'flatten'\ninputs = ['input']"], &["flatten \"a\"", "nothing uses"]),
        (
            &["type = 'flatten'", "type = 'add'\ninputs = ['flatten', 'input']"],
            &["add \"add\": needs inputs of one shape, but gets 144 and 8x6x3"],
        ),
        (
            &["type = 'max_pool2d'", "type = 'concatenate'\ninputs = ['max_pooling2d', 'input']"],
            &["concatenate \"concatenate\"", "4x3x3 and 8x6x3"],
        ),
        (&[], &["no layers"]),
    ];
    for (layers, parts) in cases {
        let message = error(layers);
        for part in *parts {
            assert!(message.contains(part), "\"{part}\" is not in the error for {layers:?}: {message}");
        }
    }
}

#[test]
fn errors_of_a_file_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.toml");
    let message = Model::open(&path).unwrap_err().to_string();
    assert!(message.contains("could not read") && message.contains("net.toml"), "{message}");
    for text in ["input = [8, 6]", "input = [8, 6, 3]\nlayers = 3", "input = [8,", "input = [8, 6, 3]\noutputs = ['x']"]
    {
        std::fs::write(&path, text).unwrap();
        let message = Model::open(&path).unwrap_err().to_string();
        assert!(message.contains("net.toml"), "{message}");
    }
    std::fs::write(&path, "input = [0, 6, 3]\n[[layer]]\ntype = 'flatten'").unwrap();
    let message = Model::open(&path).unwrap().summary().unwrap_err().to_string();
    assert!(message.contains("0x6x3"), "{message}");
}

/// Names of parameters and states of a network's graph.
fn sources(model: &Model, training: bool) -> (Vec<String>, Vec<String>) {
    let mut graph = Graph::new();
    let [h, w, c] = model.input;
    let input = graph.input("images", Meta::f32([2, h, w, c]));
    let step = graph.input("step", Meta::i32([2]));
    let mode = if training { Mode::Training { step, seed: 3 } } else { Mode::Inference };
    model.build(&mut graph, input, mode).unwrap();
    (graph.parameters().map(|(_, n)| n.name.clone()).collect(), graph.states().map(|(_, n)| n.name.clone()).collect())
}

#[test]
fn training_and_inference_have_the_same_weights_in_the_same_order() {
    for entry in zoo::ENTRIES {
        let model = entry.build([96, 80, 3], 5);
        assert_eq!(sources(&model, true), sources(&model, false), "{}", entry.name);
        assert!(!sources(&model, true).0.is_empty());
    }
}

#[test]
fn frozen_layers_are_not_trained() {
    let network = || -> Model {
        Sequential::new([8, 8, 3])
            .conv2d(2, 3)
            .batch_normalization()
            .named("last", BatchNormalization::default())
            .flatten()
            .dense(2)
            .into()
    };
    let model = network().freeze(["conv2d", "batch_*.weight", "batch_*.bias", "dense.weight"]).unwrap();
    for training in [false, true] {
        let (parameters, states) = sources(&model, training);
        assert_eq!(parameters, ["last.weight", "last.bias", "dense.bias"]);
        assert!(states.contains(&"conv2d.bias".into()) && states.contains(&"dense.weight".into()));
    }
    // The frozen batch-norm's statistics stay; the other's are updated.
    let mut graph = Graph::new();
    let input = graph.input("images", Meta::f32([2, 8, 8, 3]));
    let step = graph.input("step", Meta::i32([2]));
    model.build(&mut graph, input, Mode::Training { step, seed: 0 }).unwrap();
    let updated: Vec<&str> = graph.updates().iter().map(|&(state, _)| graph.node(state).name.as_str()).collect();
    assert_eq!(updated, ["last.running_mean", "last.running_var"]);
    assert_eq!(model.tensors().unwrap(), network().tensors().unwrap());
    let error = network().freeze(["convolution"]).unwrap_err().to_string();
    assert!(error.contains("\"convolution\" matches no layer"), "{error}");
    let error = network().freeze(["*"]).unwrap_err().to_string();
    assert!(error.contains("nothing to train"), "{error}");
    assert!(network().freeze(Vec::<String>::new()).unwrap().frozen().is_empty());
}

#[test]
fn initial_weights_follow_from_seed_and_name() {
    let model = Model::parse(RESIDUAL).unwrap();
    let weights = model.initialize(Seed(5)).unwrap();
    assert_eq!(weights, model.initialize(Seed(5)).unwrap());
    assert_ne!(weights["head.weight"], model.initialize(Seed(6)).unwrap()["head.weight"]);
    // Another layer before it changes nothing.
    let mut longer = Model::new([4, 4, 4]);
    longer.layer(layers::ActivationLayer { activation: Activation::Relu }, [Model::INPUT]);
    longer.named("head", Dense::new(2), ["activation"]);
    assert_eq!(longer.initialize(Seed(5)).unwrap()["head.weight"], weights["head.weight"]);
    // Pinned, so that a change of the generator does not go unnoticed.
    let first: Vec<u32> = weights["head.weight"].f32()[..2].iter().map(|x| x.to_bits()).collect();
    assert_eq!(first, [0x3f31_4f22, 0x3e61_490e]);
}

#[test]
fn initializers_have_the_variance_of_their_name() {
    let shape = [3, 3, 20, 60].into();
    let fans = Initializer::fans(&shape);
    assert_eq!(fans, [180, 540]);
    use Initializer as I;
    let cases = [
        (I::GlorotUniform, 2.0 / 720.0, 3.0_f64.sqrt()),
        (I::HeUniform, 2.0 / 180.0, 3.0_f64.sqrt()),
        (I::LecunUniform, 1.0 / 180.0, 3.0_f64.sqrt()),
        (I::RandomUniform, 0.0025 / 3.0, 3.0_f64.sqrt()),
        (I::GlorotNormal, 2.0 / 720.0, 2.2737),
        (I::HeNormal, 2.0 / 180.0, 2.2737),
        (I::LecunNormal, 1.0 / 180.0, 2.2737),
        (I::TruncatedNormal, 0.0025 * 0.8796 * 0.8796, 2.2737),
        (I::RandomNormal, 0.0025, 6.0),
    ];
    for (initializer, variance, most_deviations) in cases {
        let tensor = initializer.tensor(Seed(1), "weight", &shape, fans).unwrap();
        let values: Vec<f64> = tensor.f32().iter().map(|&x| f64::from(x)).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let found = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let most = values.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        assert!(mean.abs() < 4.0 * (variance / n).sqrt(), "{initializer:?}: mean {mean}");
        assert!((found / variance - 1.0).abs() < 0.05, "{initializer:?}: variance {found}, not {variance}");
        assert!(most < most_deviations * variance.sqrt() * 1.001, "{initializer:?}: largest {most}");
    }
    let constant = |i: Initializer| i.tensor(Seed(1), "bias", &[4].into(), [4, 4]).unwrap().f32().to_vec();
    assert_eq!(constant(I::Zeros), [0.0; 4]);
    assert_eq!(constant(I::Ones), [1.0; 4]);
    assert_eq!(constant(I::Constant(0.25)), [0.25; 4]);
}

/// Runs a network in f64 on `input`, with weights by name.
fn forward(model: &Model, input: &Array, weight: impl Fn(&str) -> Vec<f64>) -> Array {
    let mut graph = Graph::new();
    let images = graph.input("images", Meta::f32(input.shape.clone()));
    let built = model.build(&mut graph, images, Mode::Inference).unwrap();
    let mut given = HashMap::from([(images, input.clone())]);
    for (value, node) in graph.iter() {
        if matches!(node.kind, Kind::Parameter | Kind::State) {
            given.insert(value, Array { shape: node.meta.shape.clone(), data: weight(&node.name) });
        }
    }
    evaluate(&graph, &given)[built.output.index()].clone()
}

/// The same on a device, in f32.
fn forward_on(device: &Device, model: &Model, input: &Array, weight: impl Fn(&str) -> Vec<f64>) -> Array {
    let mut graph = Graph::new();
    let images = graph.input("images", Meta::f32(input.shape.clone()));
    let built = model.build(&mut graph, images, Mode::Inference).unwrap();
    graph.output("output", built.output);
    let weights = device.weights(Layout::parameters(&graph), Layout::states(&graph), 0).unwrap();
    let tensor = |(name, shape): (String, Shape)| {
        let values = Array { data: weight(&name), shape };
        (name, Tensor::from_array(&values, DType::F32))
    };
    let given: HashMap<String, Tensor> = model.tensors().unwrap().into_iter().map(tensor).collect();
    weights.set(|name| given.get(name)).unwrap();
    let mut program = device.compile_with(&graph, &weights, Ending::Nothing, device.passes()).unwrap();
    program.poison();
    let outputs = program.execute(&[("images", Tensor::from_array(input, DType::F32).bytes())]).unwrap();
    outputs[0].to_array()
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let ok = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(ok, "{found:?} is not {expected:?}");
}

#[test]
fn a_small_network_computes_what_it_should() {
    // Pictures 1 2 3 / 4 5 6 / 7 8 9; the kernel takes the lower right minus the upper left tap, which is 4 everywhere,
    // plus a bias of -5: -1, under relu 0; or with the opposite kernel -4 + 6 = 2.
    let model: Model = Sequential::new([3, 3, 1]).conv2d(2, 2).relu().max_pool2d(2).flatten().dense(2).softmax().into();
    let image = Array::from_fn(&[1, 3, 3, 1].into(), |i| i as f64 + 1.0);
    let weight = |name: &str| match name {
        "conv2d.weight" => vec![-1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, -1.0],
        "conv2d.bias" => vec![-5.0, 6.0],
        "dense.weight" => vec![7.0, 7.0, 0.5, -0.5],
        _ => vec![0.25, 0.0],
    };
    let odds = (1.25_f64 + 1.0).exp();
    close(&forward(&model, &image, weight).data, &[odds / (1.0 + odds), 1.0 / (1.0 + odds)]);
}

#[test]
fn depthwise_separable_and_batch_norm_compute_what_they_should() {
    let image = Array { shape: [1, 1, 2, 2].into(), data: vec![1.0, 10.0, 2.0, 20.0] };
    // Two results for each channel: c0 (1, 2), c1 (3, 4); along the width the second tap weighs ten times as much.
    let taps = || vec![1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0];
    let spread = DepthwiseConv2D { depth_multiplier: 2, use_bias: false, ..DepthwiseConv2D::new([1, 2]) };
    let model: Model = Sequential::new([1, 2, 2]).layer(spread).into();
    let depthwise = [21.0, 42.0, 630.0, 840.0];
    close(&forward(&model, &image, |_| taps()).data, &depthwise);

    let separable = SeparableConv2D { depth_multiplier: 2, ..SeparableConv2D::new(1, [1, 2]) };
    let model: Model = Sequential::new([1, 2, 2]).layer(separable).into();
    let weight = |name: &str| match name {
        "separable_conv2d.depthwise_weight" => taps(),
        "separable_conv2d.pointwise_weight" => vec![1.0, -1.0, 0.5, 0.0],
        _ => vec![7.0],
    };
    close(&forward(&model, &image, weight).data, &[21.0 - 42.0 + 315.0 + 7.0]);

    let model: Model =
        Sequential::new([1, 2, 2]).layer(BatchNormalization { epsilon: 1.0, ..Default::default() }).into();
    let weight = |name: &str| match name {
        "batch_normalization.weight" => vec![2.0, 1.0],
        "batch_normalization.bias" => vec![0.5, 0.0],
        "batch_normalization.running_mean" => vec![1.0, 10.0],
        _ => vec![3.0, 24.0],
    };
    close(&forward(&model, &image, weight).data, &[0.5, 0.0, 1.5, 2.0]);
}

#[test]
fn merging_reshaping_and_padding_compute_what_they_should() {
    let image = Array { shape: [1, 1, 2, 2].into(), data: vec![1.0, -2.0, 3.0, -4.0] };
    let none = |_: &str| Vec::new();
    let mut model = Model::new([1, 2, 2]);
    let relu = model.named("relu", layers::ActivationLayer { activation: Activation::Relu }, [Model::INPUT]);
    let scaled = model.named("scaled", layers::Rescaling { scale: 10.0, offset: 1.0 }, [Model::INPUT]);
    let sum = model.named("sum", Add {}, [&relu, &scaled, &relu]);
    model.named("all", Concatenate::default(), [&sum, &relu]);
    close(&forward(&model, &image, none).data, &[13.0, -19.0, 1.0, 0.0, 37.0, -39.0, 3.0, 0.0]);

    let model: Model = Sequential::new([1, 2, 2]).zero_padding2d([[0, 1], [1, 0]]).reshape([-1, 3]).into();
    let padded = forward(&model, &image, none);
    assert_eq!(padded.shape.dims(), [1, 4, 3]);
    close(&padded.data, &[0.0, 0.0, 1.0, -2.0, 3.0, -4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);

    let pooled = |layer: Sequential| forward(&layer.into(), &image, none).data;
    close(&pooled(Sequential::new([1, 2, 2]).global_average_pool2d()), &[2.0, -3.0]);
    close(&pooled(Sequential::new([1, 2, 2]).global_max_pool2d()), &[3.0, -2.0]);
    let same = AveragePooling2D { padding: Padding::Same, strides: Some(1.into()), ..AveragePooling2D::new([1, 2]) };
    close(&pooled(Sequential::new([1, 2, 2]).layer(same)), &[2.0, -3.0, 3.0, -4.0]);
}

#[test]
fn training_normalises_by_the_batch_and_keeps_running_statistics() {
    let model: Model =
        Sequential::new([1, 2, 1]).layer(BatchNormalization { momentum: 0.75, epsilon: 1e-9 }).dropout(0.5).into();
    let mut graph = Graph::new();
    let images = graph.input("images", Meta::f32([2, 1, 2, 1]));
    let step = graph.input("step", Meta::i32([2]));
    let built = model.build(&mut graph, images, Mode::Training { step, seed: 4 }).unwrap();
    let scalar = |x: f64| Array { shape: [1].into(), data: vec![x] };
    let mut given = HashMap::from([
        (images, Array { shape: [2, 1, 2, 1].into(), data: vec![1.0, 1.0, 3.0, 3.0] }),
        (step, Array { shape: [2].into(), data: vec![1.0, 0.0] }),
    ]);
    for (name, value) in [("weight", 2.0), ("bias", 1.0), ("running_mean", 10.0), ("running_var", 20.0)] {
        given.insert(graph.find(&format!("batch_normalization.{name}")).unwrap(), scalar(value));
    }
    let values = evaluate(&graph, &given);
    close(&values[built.layers[0].index()].data, &[-1.0, -1.0, 3.0, 3.0]);
    let next: Vec<f64> = graph.updates().iter().map(|(_, new)| values[new.index()].data[0]).collect();
    close(&next, &[0.75 * 10.0 + 0.25 * 2.0, 0.75 * 20.0 + 0.25 * 1.0]);
    // Dropout doubles what it does not drop.
    let pairs = values[built.output.index()].data.iter().zip(&values[built.layers[0].index()].data);
    assert!(pairs.into_iter().all(|(y, x)| *y == 0.0 || (y - 2.0 * x).abs() < 1e-6));
}

#[test]
fn sampling_draws_in_training_and_adds_the_divergence_to_the_loss() {
    let mut model = Model::new([1, 40, 50]);
    let mean = model.named("mean", layers::Rescaling { scale: 2.0, offset: 0.0 }, [Model::INPUT]);
    let log_variance = model.named("log_variance", layers::Rescaling { scale: 0.0, offset: -1.0 }, [Model::INPUT]);
    model.named("draw", layers::Sampling { kl_weight: 0.5 }, [&mean, &log_variance]);
    let image = Array::from_fn(&[1, 1, 40, 50].into(), |i| (i % 3) as f64);
    let means = image.map(|x| 2.0 * x);
    close(&forward(&model, &image, |_| Vec::new()).data, &means.data);
    let draw = |seed: u32, number: f64| {
        let mut graph = Graph::new();
        let images = graph.input("images", Meta::f32([1, 1, 40, 50]));
        let step = graph.input("step", Meta::i32([2]));
        let built = model.build(&mut graph, images, Mode::Training { step, seed }).unwrap();
        let step_number = Array { shape: [2].into(), data: vec![number, 0.0] };
        let values = evaluate(&graph, &HashMap::from([(images, image.clone()), (step, step_number)]));
        let [loss] = built.losses[..] else { panic!("{:?}", built.losses) };
        let drawn = values[built.output.index()].data.iter().zip(&means.data).map(|(y, mean)| y - mean);
        (drawn.collect::<Vec<f64>>(), values[loss.index()].data.clone())
    };
    let (noise, loss) = draw(1, 7.0);
    let variance = (-1.0_f64).exp();
    let expected: f64 = means.data.iter().map(|mean| 0.5 * 0.5 * (mean * mean + variance - 1.0 + 1.0)).sum();
    assert!(loss.len() == 1 && (loss[0] - expected).abs() < 1e-6 * expected, "{loss:?}, {expected}");
    let found = noise.iter().map(|x| x * x).sum::<f64>() / noise.len() as f64;
    // Four standard deviations of the mean of 2000 squares.
    assert!((found / variance - 1.0).abs() < 4.0 * (2.0_f64 / 2000.0).sqrt(), "{found}, {variance}");
    assert_eq!(noise, draw(1, 7.0).0);
    assert!(noise != draw(2, 7.0).0 && noise != draw(1, 8.0).0);
}

#[test]
fn dropout_layers_differ_and_follow_the_seed() {
    let masks = |seed: u32| {
        let model: Model = Sequential::new([4, 4, 4]).dropout(0.5).dropout(0.5).into();
        let mut graph = Graph::new();
        let images = graph.input("images", Meta::f32([1, 4, 4, 4]));
        let step = graph.input("step", Meta::i32([2]));
        let built = model.build(&mut graph, images, Mode::Training { step, seed }).unwrap();
        let given = HashMap::from([
            (images, Array::from_fn(&[1, 4, 4, 4].into(), |_| 1.0)),
            (step, Array { shape: [2].into(), data: vec![7.0, 0.0] }),
        ]);
        let values = evaluate(&graph, &given);
        built.layers.iter().map(|v| values[v.index()].data.clone()).collect::<Vec<_>>()
    };
    let first = masks(0);
    assert_eq!(first, masks(0));
    assert_ne!(first[0], masks(1)[0]);
    let kept = |values: &[f64]| values.iter().filter(|x| **x != 0.0).count();
    // With one mask for both, nothing more would be dropped.
    assert!(kept(&first[1]) < kept(&first[0]), "{first:?}");
}

#[test]
fn logits_are_what_went_into_the_last_softmax_or_sigmoid() {
    let built = |model: Model| {
        let mut graph = Graph::new();
        let images = graph.input("images", Meta::f32([2, 4, 4, 1]));
        let built = model.build(&mut graph, images, Mode::Inference).unwrap();
        assert_eq!(built.logits.is_some(), model.ends_in_probabilities());
        assert_eq!(built.layers.len(), model.layers().len());
        (graph, built)
    };
    let net = || Sequential::new([4, 4, 1]).flatten();
    let (graph, two_layers) = built(net().dense(3).softmax().into());
    assert_eq!(graph.node(two_layers.output).inputs, [two_layers.logits.unwrap()]);
    assert_eq!(two_layers.logits, Some(two_layers.layers[1]));
    let sigmoid = Dense { activation: Activation::Sigmoid, ..Dense::new(1) };
    let (graph, one_layer) = built(net().layer(sigmoid).into());
    assert_eq!(graph.node(one_layer.output).inputs, [one_layer.logits.unwrap()]);
    assert!(built(net().dense(3).relu().into()).1.logits.is_none());
    assert!(built(net().dense(3).softmax().dropout(0.5).into()).1.logits.is_none());
    let (_, several) = built(net().dense(3).softmax().named("top", Dense::new(2)).into());
    assert!(several.logits.is_none());
    let model = Model::from(net().dense(3).softmax().named("top", Dense::new(2))).with_outputs(["activation", "top"]);
    let (_, several) = built(model);
    assert_eq!(several.outputs, several.layers[2..]);
    assert_eq!(several.output, several.layers[2]);
    assert_eq!(several.logits, Some(several.layers[1]));
}

/// `tests/fixtures/keras/layers.json`, recorded from Keras.
#[test]
fn layers_compute_what_keras_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keras/layers.json");
    let recorded: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    let extents = |value: &serde_json::Value| numbers(value).into_iter().map(|v| v as usize).collect::<Vec<_>>();
    let shape = extents(&recorded["input_shape"]);
    let cases = recorded["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 52);
    let devices = devices();
    for case in cases {
        let text = case["layer"].as_str().unwrap();
        let before = case["before"].as_str().unwrap();
        let text = format!("input = {:?}\n{before}[[layer]]\nname = \"layer\"\n{text}\n", &shape[1..]);
        let model = Model::parse(&text).unwrap();
        let input = Array { shape: shape.as_slice().into(), data: numbers(&case["input"]) };
        let weight = |name: &str| numbers(&case["weights"][name.trim_start_matches("layer.")]);
        let expected = numbers(&case["output"]);
        let demand = |how: &str, output: &Array| {
            assert_eq!(output.shape.dims(), extents(&case["shape"]), "{text}");
            for (found, expected) in output.data.iter().zip(&expected) {
                let off = (found - expected).abs();
                assert!(off < 1e-5 * expected.abs().max(1.0), "{how}: {text}: {found} is not {expected}");
            }
        };
        demand("in f64", &forward(&model, &input, weight));
        for device in &devices {
            demand(&device.name(), &forward_on(device, &model, &input, weight));
        }
        assert_eq!(Model::parse(&model.to_toml().unwrap()).unwrap().to_toml().unwrap(), model.to_toml().unwrap());
    }
}
