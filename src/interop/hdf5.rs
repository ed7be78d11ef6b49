//! HDF5 files, <https://www.hdfgroup.org/solutions/hdf5/>: their tensors of floats by path.

use std::collections::{BTreeMap, HashSet};

use half::{bf16, f16};
use hdf5_reader::dataset::Dataset;
use hdf5_reader::group::Group;
use hdf5_reader::{Datatype, Hdf5File, OpenOptions};

use crate::tensor::{Shape, Tensor};

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// By path, for instance `layers/dense/vars/0`.
    pub tensors: BTreeMap<String, Tensor>,
    /// The root's attributes that are texts.
    pub texts: BTreeMap<String, String>,
}

/// No path is longer.
const LONGEST_PATH: usize = 4096;

/// Reads all tensors of floats, in 64, 32 or 16 bits; other data is left out. Neither memory nor time exceed a multiple of what
/// the file's size calls for, whatever it claims: data that takes more room than the file itself is refused.
///
/// Errors: if it is no such file, or damaged.
pub(super) fn read(bytes: Vec<u8>) -> Result<Contents, String> {
    let size = bytes.len();
    let limits = OpenOptions {
        max_read_bytes: size,
        max_chunk_bytes: size,
        max_object_header_bytes: size,
        ..OpenOptions::default()
    };
    let file = Hdf5File::from_vec_with_options(bytes, limits).map_err(|e| e.to_string())?;
    let root = file.root_group().map_err(|e| e.to_string())?;
    let mut contents = Contents::default();
    for attribute in root.attributes().map_err(|e| e.to_string())? {
        if let Ok(text) = attribute.read_string() {
            contents.texts.insert(attribute.name, text);
        }
    }
    // Groups and data may be linked from several places, and even from within themselves.
    let mut seen = HashSet::new();
    let mut room = size;
    let mut open = vec![(String::new(), root)];
    while let Some((path, group)) = open.pop() {
        if path.len() > LONGEST_PATH {
            return Err("its groups are nested too deeply".into());
        }
        if !seen.insert(group.address()) {
            continue;
        }
        let (groups, datasets) = members(&group, &mut room)?;
        open.extend(groups.into_iter().map(|group| (format!("{path}{}/", group.name()), group)));
        for dataset in datasets.iter().filter(|dataset| seen.insert(dataset.address())) {
            let name = format!("{path}{}", dataset.name());
            let tensor = tensor(dataset, &mut room).map_err(|message| format!("\"{name}\": {message}"))?;
            contents.tensors.extend(tensor.map(|tensor| (name, tensor)));
        }
    }
    Ok(contents)
}

/// Takes `count` from what is left.
fn take(room: &mut usize, count: usize) -> Result<(), String> {
    *room = room.checked_sub(count).ok_or("it claims to hold more than there is")?;
    Ok(())
}

fn members(group: &Group, room: &mut usize) -> Result<(Vec<Group>, Vec<Dataset>), String> {
    let (groups, datasets) = group.members().map_err(|e| e.to_string())?;
    take(room, groups.len() + datasets.len())?;
    Ok((groups, datasets))
}

/// The data as f32; `None` if it is not of floats.
fn tensor(dataset: &Dataset, room: &mut usize) -> Result<Option<Tensor>, String> {
    let mut values = |width: usize, value: fn(&[u8]) -> f32| -> Result<Option<Tensor>, String> {
        take(room, dataset.raw_byte_len().map_err(|e| e.to_string())?)?;
        let bytes = dataset.read_native_bytes().map_err(|e| e.to_string())?;
        let extents = dataset.shape().iter().map(|&extent| usize::try_from(extent));
        let extents = extents.collect::<Result<Vec<usize>, _>>().map_err(|e| e.to_string())?;
        let values: Vec<f32> = bytes.chunks_exact(width).map(value).collect();
        Tensor::new(Shape::from(extents.as_slice()), values).map(Some).map_err(|e| e.to_string())
    };
    match dataset.dtype() {
        Datatype::FloatingPoint { size: 8, .. } => values(8, |b| bytemuck::pod_read_unaligned::<f64>(b) as f32),
        Datatype::FloatingPoint { size: 4, .. } => values(4, bytemuck::pod_read_unaligned),
        Datatype::FloatingPoint { size: 2, .. } => values(2, |b| bytemuck::pod_read_unaligned::<f16>(b).to_f32()),
        // HDF5 has no such type: h5py writes the bytes as they are.
        Datatype::Opaque { size: 2, .. } if is_bfloat16(dataset) => {
            values(2, |b| bf16::from_le_bytes([b[0], b[1]]).to_f32())
        }
        _ => Ok(None),
    }
}

/// Whether Keras marked it as such.
fn is_bfloat16(dataset: &Dataset) -> bool {
    dataset.attribute("dtype").and_then(|dtype| dtype.read_string()).is_ok_and(|dtype| dtype == "bfloat16")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keras/exchange");
        std::fs::read(folder.join(name)).unwrap()
    }

    #[test]
    fn floats_of_all_kinds_are_read_in_old_and_new_layouts() {
        for name in ["types.h5", "types_latest.h5"] {
            let contents = read(fixture(name)).unwrap();
            assert_eq!(contents.texts["model_config"], "a text");
            let mut kinds = Vec::new();
            for (path, tensor) in &contents.tensors {
                assert_eq!(tensor.shape().dims(), [3, 4]);
                let tolerance = if path.ends_with("bfloat16") { 0.01 } else { 0.001 };
                for (i, value) in tensor.f32().iter().enumerate() {
                    let expected = -2.0 + 4.0 * i as f32 / 11.0;
                    assert!((value - expected).abs() < tolerance, "{path}: {value} instead of {expected}");
                }
                kinds.push(path.strip_prefix("layers/some/vars/").unwrap());
            }
            // What is linked twice is there once.
            assert_eq!(kinds, [">f4", "bfloat16", "f2", "f4", "f8", "packed"]);
        }
    }

    #[test]
    fn damaged_files_are_no_panic() {
        for name in ["types.h5", "types_latest.h5"] {
            let whole = fixture(name);
            for len in (0..whole.len()).step_by(7) {
                let _ = read(whole[..len].to_vec());
            }
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 0xff;
                let _ = read(bytes);
            }
        }
    }
}
