//! Damaged files of every kind are refused with an error, or read as what they now say: no panic, no memory that a header merely
//! claims, an end within seconds. `fuzz/` tries more of them.

use std::path::Path;
use std::sync::Arc;

use ocellus::data::Image;
use ocellus::device::Device;
use ocellus::interop::onnx::{Element, Network, Session, Values};
use ocellus::interop::{npy, safetensors, torch};
use ocellus::nn::Model;
use ocellus::tensor::Array;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

/// Damaged copies of each file.
const COPIES: u64 = 400;

/// Bytes changed, numbers made huge, pieces cut out or doubled.
fn damaged(file: &[u8], random: &mut Pcg64) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match random.random_range(0..5) {
            0 => bytes[at] = random.random(),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => bytes[at..].iter_mut().take(8).for_each(|b| *b = 0xff),
            3 => bytes.truncate(at.max(1)),
            _ => {
                let end = (at + random.random_range(1..32)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                if random.random() {
                    bytes.drain(at..end);
                    bytes.push(0);
                } else {
                    bytes.splice(at..at, piece);
                }
            }
        }
    }
    bytes
}

/// Reads damaged copies of the files in a folder of fixtures whose names end so; some must be refused.
fn try_all(folder: &str, ending: &str, read: impl Fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.retain(|p| p.to_string_lossy().ends_with(ending));
    assert!(!paths.is_empty());
    for path in paths {
        let file = std::fs::read(&path).unwrap();
        assert!(read(&file), "{} is whole", path.display());
        let refused = (0..COPIES).filter(|&seed| !read(&damaged(&file, &mut Pcg64::seed_from_u64(seed)))).count();
        assert!(refused > 0, "{}", path.display());
    }
}

#[test]
fn safetensors() {
    try_all("keras", ".safetensors", |bytes| safetensors::parse(bytes).is_ok());
}

#[test]
fn pytorch() {
    try_all("torch", ".pth", |bytes| torch::parse(bytes).is_ok());
    try_all("torch", ".pt", |bytes| torch::parse(bytes).is_ok());
}

#[test]
fn images() {
    try_all("images", ".jpg", |bytes| Image::decode(bytes).is_ok());
    try_all("images", ".png", |bytes| Image::decode(bytes).is_ok());
    try_all("images", ".tif", |bytes| Image::decode(bytes).is_ok());
    try_all("dicom", ".dcm", |bytes| Image::decode(bytes).is_ok());
}

#[test]
fn model_files() {
    let read = |bytes: &[u8]| {
        std::str::from_utf8(bytes).is_ok_and(|text| Model::parse(text).and_then(|model| model.tensors()).is_ok())
    };
    try_all("torch", ".toml", read);
    try_all("keras", ".toml", read);
}

#[test]
fn onnx() {
    let read = |bytes: &[u8]| {
        let Ok(network) = Network::parse(bytes, None) else { return false };
        let name = network.inputs().first().map_or(String::new(), |i| i.name.clone());
        let given = Values { element: Element::Float, array: Array::zeros(&[2, 3, 8, 8].into()) };
        Session::new(Arc::new(network), &Device::Cpu).run(&[(name, given)]).is_ok()
    };
    try_all("onnx", ".onnx", read);
}

#[test]
fn arrays_of_numpy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("array.npy");
    npy::write(&path, &Values { element: Element::Int64, array: Array::zeros(&[4, 3].into()) }).unwrap();
    let file = std::fs::read(&path).unwrap();
    let refused = (0..COPIES).filter(|&seed| npy::parse(&damaged(&file, &mut Pcg64::seed_from_u64(seed))).is_err());
    assert!(refused.count() > 0);
}
