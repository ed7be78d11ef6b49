//! State dictionaries of PyTorch: `.pth` and `.pt` files as `torch.save` writes them, in both of its formats.
//!
//! Tensors are all that is taken. Nothing in such a file is ever executed, however it asks for it.

mod names;
mod pickle;

use std::collections::HashMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use half::{bf16, f16};
use zip::ZipArchive;

use super::safetensors::Tensors;
use crate::error::{Error, Result};
use crate::tensor::{Shape, Tensor};
pub use names::own_name;
use pickle::{Id, Node, Pickle};

/// Reads the tensors of floats in a state dictionary, in their PyTorch layout. Where the file holds a checkpoint of more than that,
/// the dictionary of the model in it is taken. Whole numbers (counters of batches) are left out.
///
/// Errors: if the file cannot be read, is damaged, or holds no state dictionary.
pub fn load(path: impl AsRef<Path>) -> Result<Tensors> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    parse(&bytes).map_err(|message| Error::format(path, message))
}

/// The tensors in the bytes of a file.
///
/// Errors: as [`load`], as text.
pub fn parse(bytes: &[u8]) -> Result<Tensors, String> {
    let tensors = if bytes.starts_with(b"PK\x03\x04") { from_archive(bytes) } else { from_legacy(bytes) };
    tensors.map_err(|message| format!("is no PyTorch file of weights, or damaged: {message}"))
}

/// Since version 1.6: a zip archive of `data.pkl` and a file for each storage.
fn from_archive(bytes: &[u8]) -> Result<Tensors, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let mut names = archive.file_names().filter_map(|name| name.ok().map(|name| name.into_owned()));
    let name = names.find(|name| name.ends_with("/data.pkl")).ok_or("it holds no data.pkl")?;
    drop(names);
    let folder = name.trim_end_matches("data.pkl").to_owned();
    if read(&mut archive, &format!("{folder}byteorder")).is_ok_and(|order| order == b"big") {
        return Err("its numbers are big-endian".into());
    }
    let pickle = Pickle::parse(&read(&mut archive, &name)?)?;
    let mut storages = HashMap::new();
    for (key, _) in wanted(&pickle)? {
        if !storages.contains_key(&key) {
            storages.insert(key.clone(), read(&mut archive, &format!("{folder}data/{key}"))?);
        }
    }
    tensors(&pickle, &|key| storages.get(key).map(Vec::as_slice))
}

fn read(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut file = archive.by_name(name).map_err(|e| format!("{name}: {e}"))?;
    file.read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
    Ok(bytes)
}

/// Before: five pickles one after the other (a magic number, a version, the machine, the dictionary, the storages' keys), and
/// then each storage after its number of elements.
fn from_legacy(bytes: &[u8]) -> Result<Tensors, String> {
    const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let mut rest = bytes;
    let mut next = || {
        let pickle = Pickle::parse(rest)?;
        rest = &rest[pickle.len..];
        Ok::<Pickle, String>(pickle)
    };
    let magic = next()?;
    if !bytes[..magic.len].windows(MAGIC.len()).any(|window| window == MAGIC) {
        return Err("it does not begin as one".into());
    }
    let (_version, _machine, pickle, keys) = (next()?, next()?, next()?, next()?);
    let sizes: HashMap<String, usize> = persistent(&pickle).map(|s| (s.key, s.kind.bytes())).collect();
    let mut storages: HashMap<String, &[u8]> = HashMap::new();
    for &key in keys.elements(keys.root()).ok_or("it has no list of storages")? {
        let key = keys.text(key).ok_or("a storage has no name")?;
        let (count, after) = rest.split_at_checked(8).ok_or("a storage is missing")?;
        let count = u64::from_le_bytes(count.try_into().expect("eight bytes"));
        let size = *sizes.get(key).ok_or("it has a storage that nothing uses")? as u64;
        let len = count.checked_mul(size).and_then(|n| usize::try_from(n).ok());
        let (storage, after) = len.and_then(|n| after.split_at_checked(n)).ok_or("a storage is cut short")?;
        storages.insert(key.to_owned(), storage);
        rest = after;
    }
    tensors(&pickle, &|key| storages.get(key).copied())
}

/// The type of a storage's elements.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    /// Whole numbers of so many bytes.
    Whole(usize),
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name.rsplit('.').next()? {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::Whole(8),
            "IntStorage" => Self::Whole(4),
            "ShortStorage" => Self::Whole(2),
            "CharStorage" | "ByteStorage" | "BoolStorage" => Self::Whole(1),
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Whole(bytes) => bytes,
        }
    }

    /// An element as f32; `None` for whole numbers.
    fn element(self, bytes: &[u8]) -> Option<f32> {
        Some(match self {
            Self::F64 => f64::from_le_bytes(bytes.try_into().ok()?) as f32,
            Self::F32 => f32::from_le_bytes(bytes.try_into().ok()?),
            Self::F16 => f16::from_le_bytes(bytes.try_into().ok()?).to_f32(),
            Self::Bf16 => bf16::from_le_bytes(bytes.try_into().ok()?).to_f32(),
            Self::Whole(_) => return None,
        })
    }
}

/// A storage, as tensors refer to it.
struct Storage {
    key: String,
    kind: Kind,
}

impl Storage {
    /// From `("storage", type, key, place, elements)`.
    fn parse(pickle: &Pickle, id: Id) -> Option<Self> {
        let Node::Persistent(id) = *pickle.node(id) else { return None };
        let &[tag, kind, key, ..] = pickle.elements(id)? else { return None };
        let Node::Global(kind) = pickle.node(kind) else { return None };
        let key = pickle.text(key)?.to_owned();
        (pickle.text(tag)? == "storage").then_some(Self { key, kind: Kind::named(kind)? })
    }
}

/// All storages a pickle refers to.
fn persistent(pickle: &Pickle) -> impl Iterator<Item = Storage> + '_ {
    pickle.ids().filter_map(|id| Storage::parse(pickle, id))
}

/// The model's state dictionary: the root, or what it holds under a usual name.
fn dictionary(pickle: &Pickle) -> Result<&[(Id, Id)], String> {
    const NAMES: [&str; 6] = ["state_dict", "model_state_dict", "model", "net", "network", "module"];
    let dict = |id: Id| match pickle.node(id) {
        Node::Dict(items) => Some(items.as_slice()),
        _ => None,
    };
    let root = dict(pickle.root()).ok_or("it holds no dictionary")?;
    let holds_tensors = |items: &[(Id, Id)]| items.iter().any(|&(_, value)| rebuilt(pickle, value).is_some());
    if holds_tensors(root) {
        return Ok(root);
    }
    let inner = NAMES.iter().find_map(|name| {
        let (_, value) = root.iter().find(|(key, _)| pickle.text(*key) == Some(name))?;
        dict(*value).filter(|items| holds_tensors(items))
    });
    inner.ok_or_else(|| "it holds no dictionary of tensors".to_owned())
}

/// What a tensor is rebuilt from: storage, offset, size, stride.
fn rebuilt(pickle: &Pickle, id: Id) -> Option<[Id; 4]> {
    match pickle.call(id)? {
        ("torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor", &[storage, offset, size, stride, ..]) => {
            Some([storage, offset, size, stride])
        }
        // A parameter is a tensor and what is of no use here. It is a tensor's own, so that this goes no deeper.
        ("torch._utils._rebuild_parameter", &[tensor, ..]) => match pickle.call(tensor)? {
            ("torch._utils._rebuild_parameter", _) => None,
            _ => rebuilt(pickle, tensor),
        },
        _ => None,
    }
}

/// Keys of the storages that the state dictionary needs.
fn wanted(pickle: &Pickle) -> Result<Vec<(String, Kind)>, String> {
    let storages =
        dictionary(pickle)?.iter().filter_map(|&(_, value)| Storage::parse(pickle, rebuilt(pickle, value)?[0]));
    Ok(storages.filter(|s| !matches!(s.kind, Kind::Whole(_))).map(|s| (s.key, s.kind)).collect())
}

fn tensors<'a>(pickle: &Pickle, storage: &dyn Fn(&str) -> Option<&'a [u8]>) -> Result<Tensors, String> {
    let mut tensors = Tensors::new();
    for &(key, value) in dictionary(pickle)? {
        let (Some(name), Some(parts)) = (pickle.text(key), rebuilt(pickle, value)) else { continue };
        // Models trained on several GPUs are wrapped in a module of that name.
        let name = name.trim_start_matches("module.");
        let tensor = tensor(pickle, parts, storage).map_err(|message| format!("\"{name}\": {message}"))?;
        tensors.extend(tensor.map(|tensor| (name.to_owned(), tensor)));
    }
    Ok(tensors)
}

/// A tensor of floats; `None` for whole numbers.
fn tensor<'a>(
    pickle: &Pickle,
    [storage, offset, size, stride]: [Id; 4],
    find: &dyn Fn(&str) -> Option<&'a [u8]>,
) -> Result<Option<Tensor>, String> {
    let Storage { key, kind } = Storage::parse(pickle, storage).ok_or("its storage is of an unknown type")?;
    if matches!(kind, Kind::Whole(_)) {
        return Ok(None);
    }
    let bytes = find(&key).ok_or_else(|| format!("its storage {key} is missing"))?;
    let number = |id: Id| pickle.int(id).and_then(|n| usize::try_from(n).ok());
    let numbers = |id: Id| pickle.elements(id)?.iter().map(|&id| number(id)).collect::<Option<Vec<usize>>>();
    let parts = number(offset).zip(numbers(size)).zip(numbers(stride));
    let ((offset, size), stride) = parts.ok_or("its shape cannot be read")?;
    let values = strided(bytes, kind, offset, &size, &stride).ok_or("its shape does not fit its storage")?;
    Tensor::new(Shape::from(size.as_slice()), values).map(Some).map_err(|e| e.to_string())
}

/// Elements of a strided view, in order. `None` if one lies outside, or there are more than the storage holds.
fn strided(bytes: &[u8], kind: Kind, offset: usize, size: &[usize], stride: &[usize]) -> Option<Vec<f32>> {
    const MOST_AXES: usize = 8;
    let elements = size.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent))?;
    let held = bytes.len() / kind.bytes();
    if size.len() != stride.len() || size.len() > MOST_AXES || elements > held {
        return None;
    }
    let reach = size
        .iter()
        .zip(stride)
        .try_fold(offset, |reach, (&extent, &stride)| reach.checked_add(extent.saturating_sub(1).checked_mul(stride)?));
    if elements > 0 && reach? >= held {
        return None;
    }
    let place = |mut index: usize| {
        let mut place = offset;
        for (&extent, &stride) in size.iter().zip(stride).rev() {
            place += index % extent * stride;
            index /= extent;
        }
        place
    };
    let element = |index: usize| kind.element(&bytes[place(index) * kind.bytes()..][..kind.bytes()]);
    (0..elements).map(element).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch").join(name)
    }

    #[test]
    fn both_formats_and_wrapped_dictionaries_hold_the_same() {
        let tensors = load(fixture("zip.pth")).unwrap();
        assert_eq!(tensors, load(fixture("legacy.pth")).unwrap());
        assert_eq!(tensors, load(fixture("checkpoint.pt")).unwrap());
        let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        assert_eq!(names, ["bfloat", "double", "half", "parameter", "part", "plain", "scalar", "transposed"]);
        let whole: Vec<f32> = (0..24).map(|i| i as f32).collect();
        assert_eq!((tensors["plain"].f32(), tensors["plain"].shape().dims()), (&whole[..], &[2, 3, 4][..]));
        assert_eq!(tensors["transposed"].shape().dims(), [4, 2, 3]);
        assert_eq!(tensors["transposed"].f32()[..7], [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 1.0]);
        assert_eq!(
            (tensors["part"].f32(), tensors["part"].shape().dims()),
            (&[16.0, 18.0, 20.0, 22.0][..], &[2, 2][..])
        );
        assert_eq!(tensors["half"].f32(), [0.5, -2.0, 65504.0]);
        assert_eq!(tensors["bfloat"].f32(), [0.5, -3.0]);
        assert_eq!(tensors["double"].f32(), [0.1]);
        assert_eq!((tensors["scalar"].f32(), tensors["scalar"].shape().rank()), (&[7.0][..], 0));
        assert_eq!(tensors["parameter"].f32(), [1.5, 2.5]);
    }

    #[test]
    fn views_stay_within_their_storage() {
        let bytes = [0_u8; 24];
        let view = |offset, size: &[usize], stride: &[usize]| strided(&bytes, Kind::F32, offset, size, stride);
        assert_eq!(view(0, &[2, 3], &[3, 1]).map(|v| v.len()), Some(6));
        assert_eq!(view(1, &[2, 3], &[3, 1]), None);
        assert_eq!(view(0, &[2], &[usize::MAX]), None);
        assert_eq!(view(0, &[1 << 40], &[0]), None, "an expanded tensor claims more than there is");
        assert_eq!(view(usize::MAX, &[0], &[1]), Some(Vec::new()));
        assert_eq!(view(0, &[2, 3], &[3]), None);
    }

    #[test]
    fn damaged_files_are_errors_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.pth");
        for name in ["zip.pth", "legacy.pth"] {
            let whole = fs::read(fixture(name)).unwrap();
            for len in (0..whole.len()).step_by(7) {
                fs::write(&path, &whole[..len]).unwrap();
                let message = load(&path).unwrap_err().to_string();
                assert!(message.contains("is no PyTorch file of weights"), "{message}");
            }
            // Every byte turned over: no matter what comes of it, it comes without a panic.
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 0xff;
                let _ = if name == "zip.pth" { from_archive(&bytes) } else { from_legacy(&bytes) };
            }
        }
        fs::write(&path, b"cos\nsystem\n").unwrap();
        assert!(load(&path).is_err());
    }
}
