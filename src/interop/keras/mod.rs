//! Networks of Keras: `.keras` files, `.h5` files of weights or of whole networks, and what `model.to_json()` gives.
//!
//! What comes in are layers with their settings, and their variables. Nothing in such a file is ever executed: layers that hold
//! code are refused.

mod architecture;
mod layers;
mod names;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use zip::ZipArchive;

use super::hdf5;
use super::weights::Loaded;
use crate::error::{Error, Result};
use crate::nn::Model;
use crate::tensor::{Shape, Tensor};
use architecture::Architecture;
use names::Names;

/// Whether a file of that name is a description of a network by Keras.
pub fn is_network(path: impl AsRef<Path>) -> bool {
    has_weights(&path) || has_extension(path.as_ref(), &["json"])
}

/// Whether a file of that name holds weights of Keras's.
pub fn has_weights(path: impl AsRef<Path>) -> bool {
    has_extension(path.as_ref(), &["keras", "h5", "hdf5"])
}

fn has_extension(path: &Path, of: &[&str]) -> bool {
    path.extension().is_some_and(|extension| of.iter().any(|one| extension.eq_ignore_ascii_case(one)))
}

/// Reads a sequential or functional network: `.keras`, `.json`, or an `.h5` file of a whole network. Nested networks are unfolded, and
/// called `OUTER/INNER`. What acts in training only and is no layer of ours is left out: random changes of pictures, noise,
/// regularisers, dropout within other layers. `size` is the height and width of pictures where the network leaves them open.
///
/// Errors: if the file cannot be read or is damaged, or describes no such network, or one with layers we do not have; the message
/// names them all.
pub fn open(path: impl AsRef<Path>, size: Option<[usize; 2]>) -> Result<Model> {
    let path = path.as_ref();
    let wrong = |message: String| Error::format(path, format!("holds no network that can be used: {message}"));
    let text = contents(path)?.description.ok_or_else(|| wrong("there are only weights in it".into()))?;
    architecture::parse(&text, size).map(|network| network.model).map_err(wrong)
}

/// Weights for `model`, which needs those `expected`.
pub(super) fn load(path: &Path, model: &Model, expected: &[(String, Shape)]) -> Result<Loaded> {
    let contents = contents(path)?;
    let [h, w, _] = model.input;
    let described = contents.description.and_then(|text| architecture::parse(&text, Some([h, w])).ok());
    // The network may have been made from this very description, or may be another one with layers of the same classes.
    let layers: HashSet<&str> = model.layers().iter().map(|spec| spec.name.as_str()).collect();
    let own = described.filter(|network| network.places.values().all(|name| layers.contains(name.as_str())));
    let (mut places, constants) = match own {
        Some(Architecture { places, constants, .. }) => (places, constants),
        None => (names::places(model), Vec::new()),
    };
    // In the older format variables stand under their layer's name.
    places.extend(layers.iter().map(|&name| (name.to_owned(), name.to_owned())));
    let names = Names { places, constants: &constants, expected };
    let (tensors, unexpected) = names.apply(contents.variables);
    Ok(Loaded { tensors, replaced: Vec::new(), unexpected })
}

/// What a file holds.
struct Contents {
    description: Option<String>,
    variables: BTreeMap<String, Tensor>,
}

fn contents(path: &Path) -> Result<Contents> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    parse(bytes).map_err(|message| Error::format(path, format!("is no file of Keras's, or damaged: {message}")))
}

fn parse(bytes: Vec<u8>) -> Result<Contents, String> {
    match bytes.as_slice() {
        [b'P', b'K', ..] => from_archive(&bytes),
        [0x89, b'H', b'D', b'F', ..] => {
            let mut file = hdf5::read(bytes)?;
            Ok(Contents { description: file.texts.remove("model_config"), variables: file.tensors })
        }
        _ => {
            let text = String::from_utf8(bytes).map_err(|_| "it is neither an archive, nor HDF5, nor text")?;
            Ok(Contents { description: Some(text), variables: BTreeMap::new() })
        }
    }
}

fn from_archive(bytes: &[u8]) -> Result<Contents, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let mut read = |name: &str| {
        let mut bytes = Vec::new();
        let mut file = archive.by_name(name).map_err(|e| format!("{name}: {e}"))?;
        file.read_to_end(&mut bytes).map_err(|e| format!("{name}: {e}"))?;
        Ok::<Vec<u8>, String>(bytes)
    };
    let description = String::from_utf8(read("config.json")?).map_err(|_| "config.json is no text")?;
    let variables = hdf5::read(read("model.weights.h5")?)?.tensors;
    Ok(Contents { description: Some(description), variables })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/keras/exchange").join(name)).unwrap()
    }

    #[test]
    fn damaged_files_are_errors_and_no_panic() {
        for (name, step) in [("lines.keras", 1), ("older.h5", 11)] {
            let whole = fixture(name);
            for len in (0..whole.len()).step_by(17) {
                assert!(parse(whole[..len].to_vec()).is_err() || len == 0, "{name}: {len} of {} bytes", whole.len());
            }
            for at in (0..whole.len()).step_by(step) {
                let mut bytes = whole.clone();
                bytes[at] ^= 0xff;
                if let Ok(Contents { description: Some(text), .. }) = parse(bytes) {
                    let _ = architecture::parse(&text, None);
                }
            }
        }
    }

    #[test]
    fn descriptions_may_be_anything() {
        let text = String::from_utf8(fixture("first.json")).unwrap();
        for len in 0..text.len() {
            assert!(architecture::parse(&text[..len], None).is_err());
        }
        // Each value of the description in turn replaced by others.
        let description = parse(fixture("older.h5")).unwrap().description.unwrap();
        let whole: serde_json::Value = serde_json::from_str(&description).unwrap();
        let mut places = Vec::new();
        pointers(&whole, String::new(), &mut places);
        for place in places {
            for other in ["null", "-1", "18446744073709551615", "[[[\"input_layer\", 0, 0]]]"] {
                let mut changed = whole.clone();
                *changed.pointer_mut(&place).unwrap() = serde_json::from_str(other).unwrap();
                let _ = architecture::parse(&changed.to_string(), None).map(|network| network.model.tensors());
            }
        }
    }

    fn pointers(json: &serde_json::Value, here: String, all: &mut Vec<String>) {
        match json {
            serde_json::Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| pointers(item, format!("{here}/{i}"), all));
            }
            serde_json::Value::Object(fields) => {
                fields.iter().for_each(|(key, value)| pointers(value, format!("{here}/{key}"), all));
            }
            _ => {}
        }
        all.push(here);
    }
}
