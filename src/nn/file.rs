//! Model files: a model as TOML.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::layers::TYPES;
use super::model::free_name;
use super::{Layer, LayerSpec, LayerType, Model};
use crate::error::{Error, Result};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    input: [usize; 3],
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    freeze: Vec<String>,
    #[serde(default)]
    layer: Vec<Table>,
}

/// A `[[layer]]` table, taken apart.
struct Entry {
    kind: &'static LayerType,
    name: Option<String>,
    inputs: Option<Vec<String>>,
    attributes: Table,
}

pub(super) fn parse(text: &str) -> Result<Model> {
    let file: File = toml::from_str(text).map_err(|e| Error::config(e.to_string().trim_end().to_owned()))?;
    let entries: Vec<Entry> =
        file.layer.into_iter().enumerate().map(|(i, t)| Entry::new(i + 1, t)).collect::<Result<_>>()?;
    let mut taken: HashSet<String> = entries.iter().filter_map(|e| e.name.clone()).collect();
    let mut layers: Vec<LayerSpec> = Vec::new();
    for Entry { kind, name, inputs, attributes } in entries {
        let at = name.as_ref().map_or(String::new(), |n| format!(" \"{n}\""));
        let position = layers.len() + 1;
        let layer = kind
            .parse(attributes)
            .map_err(|e| Error::shape(format!("layer {position}, {}{at}", kind.name), e.message().to_owned()))?;
        let name = name.unwrap_or_else(|| free_name(layer.class(), |n| taken.contains(n)));
        taken.insert(name.clone());
        let previous = layers.last().map_or(Model::INPUT, |l| &l.name);
        let inputs = inputs.unwrap_or_else(|| vec![previous.to_owned()]);
        layers.push(LayerSpec { name, inputs, layer });
    }
    Model::from_parts(file.input, layers, file.outputs, file.freeze)
}

impl Entry {
    fn new(position: usize, mut table: Table) -> Result<Self> {
        let error = |message: String| Error::config(format!("layer {position}: {message}"));
        let types = || TYPES.iter().map(|t| t.name).collect::<Vec<_>>().join(", ");
        let kind = match table.remove("type") {
            Some(Value::String(name)) => TYPES
                .iter()
                .find(|t| t.name == name)
                .ok_or_else(|| error(format!("there is no type \"{name}\"; there are {}", types())))?,
            Some(other) => return Err(error(format!("type must be a string, not {}", other.type_str()))),
            None => return Err(error(format!("has no type; there are {}", types()))),
        };
        let own = |key: &str, what: &str| error(format!("{} {key} must be {what}", kind.name));
        let name = match table.remove("name") {
            None => None,
            Some(Value::String(name)) => Some(name),
            Some(_) => return Err(own("name", "a string")),
        };
        let inputs = match table.remove("inputs") {
            None => None,
            Some(value) => Some(value.try_into().map_err(|_| own("inputs", "a list of layer names"))?),
        };
        Ok(Self { kind, name, inputs, attributes: table })
    }
}

pub(super) fn write(model: &Model) -> Result<String> {
    let mut layer = Vec::new();
    let mut previous = Model::INPUT;
    for spec in model.layers() {
        let mut table = Table::new();
        table.insert("type".into(), spec.layer.type_name().into());
        table.insert("name".into(), spec.name.clone().into());
        if spec.inputs != [previous] {
            table.insert("inputs".into(), spec.inputs.clone().into());
        }
        table.extend(attributes(spec)?);
        layer.push(table);
        previous = &spec.name;
    }
    let file =
        File { input: model.input, outputs: model.explicit_outputs().to_vec(), freeze: model.frozen().to_vec(), layer };
    toml::to_string(&file).map_err(|e| Error::config(format!("the model does not fit TOML: {e}")))
}

/// A layer's attributes but for those which have their default value.
fn attributes(spec: &LayerSpec) -> Result<Table> {
    let wrong = |e: toml::ser::Error| Error::config(format!("layer \"{}\" does not fit TOML: {e}", spec.name));
    let full = spec.layer.attributes().map_err(wrong)?;
    let Some(kind) = TYPES.iter().find(|t| t.name == spec.layer.type_name()) else { return Ok(full) };
    let same = |layer: &dyn Layer| layer.attributes().is_ok_and(|a| a == full);
    let mut short = full.clone();
    for key in full.keys() {
        let mut without = short.clone();
        without.remove(key);
        if kind.parse(without.clone()).is_ok_and(|layer| same(layer.as_ref())) {
            short = without;
        }
    }
    Ok(short)
}
