//! Weights by name in the safetensors format, <https://github.com/huggingface/safetensors>.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::atomic;
use crate::error::{Error, Result};
use crate::tensor::{DType, Data, Meta, Shape, Tensor};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Texts by name: a file's metadata.
pub type Texts = HashMap<String, String>;

/// Writes tensors to a file. It appears whole or not at all: whatever happens, an earlier file of that name stays until
/// the new one is on the disk.
///
/// Errors: if the file cannot be written.
pub fn save<'a>(path: impl AsRef<Path>, tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    save_with(path, tensors, None)
}

/// As [`save`], with texts by name beside the tensors.
pub fn save_with<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    texts: impl Into<Option<Texts>>,
) -> Result<()> {
    let path = path.as_ref();
    let bytes = to_bytes(tensors, texts.into()).map_err(|message| Error::format(path, message))?;
    atomic::write(path, &bytes).map_err(|e| Error::io("write", path, e))
}

fn to_bytes<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    texts: Option<Texts>,
) -> Result<Vec<u8>, String> {
    let view = |(name, tensor): (&'a str, &'a Tensor)| {
        let dtype = match tensor.dtype() {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::I32 => Dtype::I32,
            DType::U8 => Dtype::U8,
        };
        let view = TensorView::new(dtype, tensor.shape().dims().to_vec(), tensor.bytes());
        view.map(|v| (name, v)).map_err(|e| format!("\"{name}\": {e}"))
    };
    let views = tensors.into_iter().map(view).collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, texts).map_err(|e| e.to_string())
}

/// Reads all tensors of a file. Other float types become f32.
///
/// Errors: if the file cannot be read, is damaged, or holds a tensor of another type.
pub fn load(path: impl AsRef<Path>) -> Result<Tensors> {
    Ok(load_with(path)?.0)
}

/// As [`load`], with the texts beside the tensors.
pub fn load_with(path: impl AsRef<Path>) -> Result<(Tensors, Texts)> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    parse(&bytes).map_err(|message| Error::format(path, message))
}

/// What the bytes of a file hold.
///
/// Errors: as [`load`], as text.
pub fn parse(bytes: &[u8]) -> Result<(Tensors, Texts), String> {
    let wrong = |e: safetensors::SafeTensorError| format!("is no safetensors file, or damaged: {e}");
    let file = SafeTensors::deserialize(bytes).map_err(wrong)?;
    let read = |(name, view): (&str, TensorView<'_>)| {
        let tensor = read(&view).map_err(|message| format!("\"{name}\": {message}"))?;
        Ok::<_, String>((name.to_owned(), tensor))
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(wrong)?;
    Ok((file.iter().map(read).collect::<Result<_, _>>()?, header.metadata().clone().unwrap_or_default()))
}

fn read(view: &TensorView<'_>) -> Result<Tensor, String> {
    let bytes = view.data();
    let shape = Shape::from(view.shape());
    let plain = |dtype| Tensor::from_bytes(&Meta::new(shape.clone(), dtype), bytes);
    let float = |values: Vec<f32>| Tensor::new(shape.clone(), Data::F32(values));
    let tensor = match view.dtype() {
        Dtype::F32 => plain(DType::F32),
        Dtype::I32 => plain(DType::I32),
        Dtype::U8 => plain(DType::U8),
        Dtype::F16 => float(bytemuck::pod_collect_to_vec::<u8, f16>(bytes).into_iter().map(f16::to_f32).collect()),
        Dtype::BF16 => float(bytemuck::pod_collect_to_vec::<u8, bf16>(bytes).into_iter().map(bf16::to_f32).collect()),
        Dtype::F64 => float(bytemuck::pod_collect_to_vec::<u8, f64>(bytes).into_iter().map(|x| x as f32).collect()),
        other => return Err(format!("elements of type {other:?} are not supported")),
    };
    tensor.map_err(|e| e.to_string())
}

/// Checks that tensors read from `path` are those a network needs, as [`Model::tensors`](crate::nn::Model::tensors) lists
/// them.
///
/// Errors: one for all that are missing, are not the network's, or have another shape or type.
pub fn expect(path: impl AsRef<Path>, tensors: &Tensors, expected: &[(String, Shape)]) -> Result<()> {
    let shapes: HashMap<&str, &Shape> = expected.iter().map(|(name, shape)| (name.as_str(), shape)).collect();
    let mut missing = Vec::new();
    let mut misshapen = Vec::new();
    for (name, shape) in expected {
        let needed = Meta::f32(shape.clone());
        match tensors.get(name) {
            None => missing.push(format!("\"{name}\" {shape}")),
            Some(t) if t.meta() != needed => misshapen.push(format!("\"{name}\" is {}, not {needed}", t.meta())),
            Some(_) => {}
        }
    }
    let extra = tensors.iter().filter(|(name, _)| !shapes.contains_key(name.as_str()));
    let extra: Vec<String> = extra.map(|(name, t)| format!("\"{name}\" {}", t.shape())).collect();
    let parts = [("missing", missing), ("of another shape", misshapen), ("not in the network", extra)];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(what, list)| format!("{what}: {}", short(list)))
        .collect();
    if parts.is_empty() {
        return Ok(());
    }
    Err(Error::format(path, format!("these weights do not fit the network; {}", parts.join("; "))))
}

/// At most eight of them.
fn short(list: &[String]) -> String {
    const MOST: usize = 8;
    let shown = list[..list.len().min(MOST)].join(", ");
    match list.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
