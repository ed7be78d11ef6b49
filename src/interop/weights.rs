//! Weights for a network from a file of ours, of PyTorch's or of Keras's: torchvision's and timm's state dictionaries fit the
//! networks of the zoo by their names, Keras's variables by the classes of their layers.

use std::collections::HashMap;
use std::path::Path;

use super::hub;
use super::keras;
use super::safetensors::{self, Tensors};
use super::torch;
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::tensor::{Shape, Tensor};

/// What became of a file's tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// By the network's names, in its layouts; without the head where it is replaced.
    pub tensors: Tensors,
    /// The layers at the end that the file lacks, or has for another number of classes: they start anew.
    pub replaced: Vec<String>,
    /// What the network has no place for.
    pub unexpected: Vec<String>,
}

/// Reads weights for `model`: safetensors, PyTorch's `.pth`, `.pt` and `.bin`, or Keras's `.keras` and `.h5`; also from the [hub]. Where a
/// file is PyTorch's, its layouts are turned into ours. Of files of others, counters and what the network does not have are left out. A last layer for another number of classes
/// is left out as well; and the file may lack layers at the end, so that a classifier's can be the beginning of a detector.
/// Kernels for three colours are added up where the network takes grey pictures: it answers as the other one to grey shown in three channels.
///
/// Errors: if the file cannot be read or is damaged, or lacks something; the message lists all that is missing.
pub fn load(path: impl AsRef<Path>, model: &Model) -> Result<Loaded> {
    let path = path.as_ref();
    let fetched = path.to_str().filter(|text| text.starts_with(hub::SCHEME)).map(hub::fetch).transpose()?;
    let path = fetched.as_deref().unwrap_or(path);
    let expected = model.tensors()?;
    let mut loaded = without_other_head(for_grey(read(path, model, &expected)?, &expected), &expected);
    if !loaded.replaced.is_empty() {
        leave_out_unknown(&mut loaded, &expected);
    }
    let is_new = |name: &str| loaded.replaced.iter().any(|layer| layer == layer_of(name));
    let needed: Vec<(String, Shape)> = expected.into_iter().filter(|(name, _)| !is_new(name)).collect();
    safetensors::expect(path, &loaded.tensors, &needed)?;
    Ok(loaded)
}

fn read(path: &Path, model: &Model, expected: &[(String, Shape)]) -> Result<Loaded> {
    if keras::has_weights(path) {
        return keras::load(path, model, expected);
    }
    if path.extension().is_none_or(|e| e != "safetensors") {
        return from_pytorch(torch::load(path)?, model, expected);
    }
    let (given, texts) = safetensors::load_with(path)?;
    match texts.get("format").is_some_and(|format| format == "pt") {
        true => from_pytorch(given, model, expected),
        false => Ok(Loaded { tensors: given, ..Loaded::default() }),
    }
}

/// What stood behind another head, as the way up of an autoencoder does.
fn leave_out_unknown(loaded: &mut Loaded, expected: &[(String, Shape)]) {
    let known = |name: &String| expected.iter().any(|(own, _)| own == name);
    let mut unknown: Vec<String> = loaded.tensors.keys().filter(|name| !known(name)).cloned().collect();
    unknown.iter().for_each(|name| drop(loaded.tensors.remove(name)));
    unknown.sort();
    loaded.unexpected.append(&mut unknown);
}

/// Adds up the kernels `[h, w, 3, out]` of a layer for colour pictures, where the network's is for grey ones.
fn for_grey(mut loaded: Loaded, expected: &[(String, Shape)]) -> Loaded {
    for (name, needed) in expected {
        let Some(tensor) = loaded.tensors.get_mut(name) else { continue };
        let (&[h, w, 3, out], &[_, _, 1, _]) = (tensor.shape().dims(), needed.dims()) else { continue };
        let sum =
            |of_place: &[f32]| (0..out).map(|o| (0..3).map(|c| of_place[c * out + o]).sum()).collect::<Vec<f32>>();
        let summed: Vec<f32> = tensor.f32().chunks(3 * out).flat_map(sum).collect();
        if let Ok(grey) = Tensor::new([h, w, 1, out], summed) {
            *tensor = grey;
        }
    }
    loaded
}

fn layer_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer)
}

/// Leaves out the last layer, if it is for another number of classes, and says which layers at the end are not there: then what was
/// trained is the base of this network.
fn without_other_head(mut loaded: Loaded, expected: &[(String, Shape)]) -> Loaded {
    // All extents but the number of classes are the same.
    let other_classes = |(name, shape): &(String, Shape)| {
        loaded.tensors.get(name).is_some_and(|tensor| {
            let (given, needed) = (tensor.shape().dims(), shape.dims());
            let but_last = |dims: &[usize]| dims.split_last().map(|(_, rest)| rest.to_vec());
            given != needed && but_last(given) == but_last(needed)
        })
    };
    let layers: Vec<&[(String, Shape)]> = expected.chunk_by(|(a, _), (b, _)| layer_of(a) == layer_of(b)).collect();
    let mut begun = layers.len();
    if layers.last().is_some_and(|last| last.iter().all(other_classes)) {
        begun -= 1;
    }
    let missing = |layer: &[(String, Shape)]| layer.iter().all(|(name, _)| !loaded.tensors.contains_key(name));
    while begun > 0 && missing(layers[begun - 1]) {
        begun -= 1;
    }
    // Where nothing is there, the file is for another network.
    if begun > 0 {
        let head = &layers[begun..];
        head.iter().copied().flatten().for_each(|(name, _)| drop(loaded.tensors.remove(name)));
        loaded.replaced = head.iter().filter_map(|layer| Some(layer_of(&layer.first()?.0).to_owned())).collect();
    }
    loaded
}

fn from_pytorch(given: Tensors, model: &Model, expected: &[(String, Shape)]) -> Result<Loaded> {
    let flattened = model.flattened_inputs()?;
    let shapes: HashMap<&str, &Shape> = expected.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
    let mut loaded = Loaded::default();
    let given = torch::renamed(given)?;
    let own_names: Vec<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let mobilenet = torch::mobilenet_layers(given.keys().map(String::as_str), &own_names);
    for (name, tensor) in given {
        let renamed = mobilenet.get(layer_of(&name)).map(|layer| format!("{layer}{}", &name[layer_of(&name).len()..]));
        let own = renamed.unwrap_or_else(|| torch::own_name(&name));
        if let Some(shape) = shapes.get(own.as_str()) {
            let tensor = without_window(tensor, shape);
            let tensor = match own.ends_with("bias") {
                true => Ok(tensor),
                false => in_our_layout(&tensor, flattened.get(layer_of(&own)).copied()),
            };
            let tensor = tensor.map_err(|e| Error::shape(&name, e.to_string()))?;
            loaded.tensors.insert(own, tensor);
        } else {
            loaded.unexpected.push(name);
        }
    }
    Ok(loaded)
}

/// A convolution of a single pixel, where the network has a matrix.
fn without_window(tensor: Tensor, needed: &Shape) -> Tensor {
    match tensor.shape().dims() {
        &[o, i, 1, 1] if needed.rank() == 2 => Tensor::new([o, i], tensor.f32().to_vec()).unwrap_or(tensor),
        _ => tensor,
    }
}

/// Kernels `[out, in, h, w]` become `[h, w, in, out]`, matrices `[out, in]` `[in, out]`. `map`: height, width and channels of
/// the map that was flattened into the inputs of a matrix; PyTorch has its channels first.
fn in_our_layout(tensor: &Tensor, map: Option<[usize; 3]>) -> Result<Tensor> {
    let values = tensor.f32();
    let pick = |shape: &[usize], from: &dyn Fn(&[usize]) -> usize| {
        let shape = Shape::from(shape);
        let strides = shape.strides();
        let index = |i: usize| -> Vec<usize> {
            shape.dims().iter().zip(&strides).map(|(&extent, &stride)| i / stride % extent).collect()
        };
        let picked: Vec<f32> = (0..shape.elements()).map(|i| values[from(&index(i))]).collect();
        Tensor::new(shape.clone(), picked)
    };
    match (tensor.shape().dims(), map) {
        (&[o, i, h, w], _) => pick(&[h, w, i, o], &|at| ((at[3] * i + at[2]) * h + at[0]) * w + at[1]),
        (&[o, i], Some([h, w, c])) if h * w * c == i => {
            let place = |input: usize| {
                let (row, column, channel) = (input / (w * c), input / c % w, input % c);
                (channel * h + row) * w + column
            };
            pick(&[i, o], &|at| at[1] * i + place(at[0]))
        }
        (&[o, i], _) => pick(&[i, o], &|at| at[1] * i + at[0]),
        // A number for each channel, made to be multiplied with maps that have their channels first.
        (&[c, 1, 1], _) => Tensor::new([c], values.to_vec()),
        _ => Ok(tensor.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::zoo;

    #[test]
    fn layouts_are_turned() {
        let tensor = |shape: &[usize]| {
            let n: usize = shape.iter().product();
            Tensor::new(Shape::from(shape), (0..n).map(|i| i as f32).collect::<Vec<f32>>()).unwrap()
        };
        let kernel = in_our_layout(&tensor(&[2, 3, 1, 2]), None).unwrap();
        assert_eq!(kernel.shape().dims(), [1, 2, 3, 2]);
        assert_eq!(kernel.f32(), [0., 6., 2., 8., 4., 10., 1., 7., 3., 9., 5., 11.]);
        let matrix = in_our_layout(&tensor(&[2, 3]), None).unwrap();
        assert_eq!(matrix.f32(), [0., 3., 1., 4., 2., 5.]);
        // One row, two columns, two channels: channels first is c0 c0 c1 c1, ours c0 c1 c0 c1.
        let flattened = in_our_layout(&tensor(&[1, 4]), Some([1, 2, 2])).unwrap();
        assert_eq!(flattened.f32(), [0., 2., 1., 3.]);
    }

    #[test]
    fn kernels_for_colour_are_added_up_for_grey() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let of = |channels: usize| zoo::build("resnet20", [32, 32, channels], 10).unwrap();
        let weights = of(3).initialize(crate::seed::Seed(0)).unwrap();
        safetensors::save(&path, weights.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        let grey = load(&path, &of(1)).unwrap().tensors;
        let first = |tensors: &Tensors| tensors["conv1.weight"].clone();
        let (colour, grey) = (first(&weights), first(&grey));
        assert_eq!((colour.shape().dims(), grey.shape().dims()), (&[3, 3, 3, 16][..], &[3, 3, 1, 16][..]));
        // The place below the middle, the kernel of the sixth map.
        let at = |channel: usize| colour.f32()[(7 * 3 + channel) * 16 + 5];
        assert_eq!(grey.f32()[7 * 16 + 5], at(0) + at(1) + at(2));
    }

    #[test]
    fn a_head_for_other_classes_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let of = |classes: usize| zoo::build("resnet20", [32, 32, 3], classes).unwrap();
        let weights = of(10).initialize(crate::seed::Seed(0)).unwrap();
        safetensors::save(&path, weights.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        assert!(load(&path, &of(10)).unwrap().replaced.is_empty());
        let loaded = load(&path, &of(3)).unwrap();
        assert_eq!(loaded.replaced, ["fc"]);
        assert_eq!(loaded.tensors.len(), weights.len() - 2);
        let detector = load(&path, &zoo::detector(&of(4), 2).unwrap()).unwrap();
        assert!(detector.replaced.iter().all(|layer| layer.starts_with("detect.")), "{:?}", detector.replaced);
        assert_eq!(detector.unexpected, ["fc.bias", "fc.weight"]);
        assert_eq!(detector.tensors.len(), weights.len() - 2);
        let error = load(&path, &zoo::build("lenet", [28, 28, 1], 10).unwrap()).unwrap_err().to_string();
        assert!(error.contains("missing") && error.contains("conv2d.weight"), "{error}");
    }
}
