//! Keras's description of a network, `config.json` or what `model.to_json()` gives, as one of ours.

use std::collections::{BTreeMap, HashMap};

use glob::Pattern;
use serde_json::Value as Json;
use toml::{Table, Value};

use super::layers::{Counterpart, counterpart};
use super::names::{numbered, snake_case};
use crate::nn::Model;

/// A network of Keras's.
#[derive(Debug)]
pub(super) struct Architecture {
    pub model: Model,
    /// Where in a file of weights the variables of each layer of ours are, for instance `layers/dense_1`.
    pub places: BTreeMap<String, String>,
    /// Parameters and states that Keras left out, with their value, or that of each channel.
    pub constants: Vec<(String, Vec<f32>)>,
}

/// Reads a sequential or functional network. Nested ones are unfolded: their layers are called `OUTER/INNER`. `size` is the height
/// and width of pictures where the network leaves them open.
///
/// Errors: if it is none, or has layers that we do not; the message lists them all.
pub(super) fn parse(text: &str, size: Option<[usize; 2]>) -> Result<Architecture, String> {
    let root: Json = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
    let shape = input_shape(&root).ok_or("its input has no known shape")?;
    let (input, reshape) = pictures(&shape, size)?;
    let mut unfolding = Unfolding::default();
    let mut source = Model::INPUT.to_owned();
    if let Some(target) = reshape {
        let attributes = Table::from_iter([
            ("type".to_owned(), Value::from("reshape")),
            ("target_shape".to_owned(), Value::from(target.map(|extent| extent as i64).to_vec())),
        ]);
        source = unfolding.push("input/reshape", attributes, &[source]);
    }
    let outputs = unfolding.network(&root, &Place::default(), &source)?;
    if !unfolding.refused.is_empty() {
        return Err(format!("it has layers that Ocellus does not: {}", unfolding.refused.join("; ")));
    }
    let last = unfolding.layers.last().and_then(|layer| layer["name"].as_str());
    let mut file = Table::from_iter([("input".to_owned(), Value::from(input.map(|extent| extent as i64).to_vec()))]);
    if outputs.len() > 1 || outputs.first().map(String::as_str) != last {
        file.insert("outputs".into(), outputs.into());
    }
    file.insert("freeze".into(), unfolding.frozen.into());
    file.insert("layer".into(), unfolding.layers.into());
    let model = Model::parse(&file.to_string()).map_err(|e| e.to_string())?;
    Ok(Architecture { model, places: unfolding.places, constants: unfolding.constants })
}

/// Extents of the one input, the batch first; -1 where they are open.
fn input_shape(root: &Json) -> Option<Vec<i64>> {
    let config = &root["config"];
    let mut first = list(&config["layers"]).first().map(|layer| &layer["config"]);
    if root["class_name"] != "Sequential" {
        let input = references(&config["input_layers"]).first().copied()?;
        first = list(&config["layers"]).iter().map(|layer| &layer["config"]).find(|config| config["name"] == input);
    }
    let layer = first?;
    let places = [&layer["batch_shape"], &layer["batch_input_shape"], &config["build_input_shape"]];
    let shape = places.into_iter().chain([&root["build_config"]["input_shape"]]).find_map(|shape| shape.as_array())?;
    shape.iter().map(|extent| if extent.is_null() { Some(-1) } else { extent.as_i64() }).collect()
}

/// Height, width and channels of the pictures, and for a network that takes lines of pixels, the shape of those.
fn pictures(shape: &[i64], size: Option<[usize; 2]>) -> Result<([usize; 3], Option<[usize; 2]>), String> {
    let known = |extent: i64| usize::try_from(extent).ok();
    let open = "it leaves the size of pictures open: give --image-size";
    let sized = |h: i64, w: i64| match (known(h), known(w), size) {
        (Some(h), Some(w), _) => Ok([h, w]),
        (h, w, Some(size)) => Ok([h.unwrap_or(size[0]), w.unwrap_or(size[1])]),
        _ => Err(open.to_owned()),
    };
    match *shape {
        [_, h, w, c] => {
            let [h, w] = sized(h, w)?;
            Ok(([h, w, known(c).ok_or("it leaves the number of channels open")?], None))
        }
        [_, h, w] => sized(h, w).map(|[h, w]| ([h, w, 1], Some([h, w]))),
        _ => Err(format!(
            "its input has {} axes; pictures have height, width and channels",
            shape.len().saturating_sub(1)
        )),
    }
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

/// Names of the layers whose results stand somewhere in `json`, in their order.
fn references(json: &Json) -> Vec<&str> {
    match json {
        // Keras 2, and lists of inputs and outputs: [layer, node, tensor], with arguments by name behind it.
        Json::Array(items) => match items.as_slice() {
            [Json::String(name), Json::Number(_), Json::Number(_), rest @ ..] => {
                [name.as_str()].into_iter().chain(rest.iter().flat_map(references)).collect()
            }
            items => items.iter().flat_map(references).collect(),
        },
        Json::Object(fields) if json["class_name"] == "__keras_tensor__" => {
            fields["config"]["keras_history"][0].as_str().into_iter().collect()
        }
        Json::Object(fields) => fields.values().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// The results that a layer of a functional network takes.
fn inputs(layer: &Json, name: &str, results: &HashMap<&str, String>) -> Result<Vec<String>, String> {
    let node = list(&layer["inbound_nodes"]).first().unwrap_or(&Json::Null);
    let result =
        |from: &str| results.get(from).cloned().ok_or_else(|| format!("\"{name}\" comes before its input \"{from}\""));
    references(node).into_iter().map(result).collect()
}

/// Where a network stands: at the root, or within others.
#[derive(Default)]
struct Place {
    /// What the names of its layers begin with.
    prefix: String,
    /// What the paths of its variables begin with.
    path: String,
}

/// Nested networks becoming one list of layers.
#[derive(Default)]
struct Unfolding {
    layers: Vec<Table>,
    places: BTreeMap<String, String>,
    constants: Vec<(String, Vec<f32>)>,
    frozen: Vec<String>,
    refused: Vec<String>,
}

impl Unfolding {
    /// Appends a network on the result of `input`. Returns the names of its outputs.
    fn network(&mut self, network: &Json, place: &Place, input: &str) -> Result<Vec<String>, String> {
        let config = &network["config"];
        let is_sequential = match network["class_name"].as_str() {
            Some("Sequential") => true,
            Some("Functional" | "Model") if config["layers"].is_array() => false,
            Some(other) => return Err(format!("{other} is neither a sequential nor a functional network")),
            None => return Err("it describes no network".into()),
        };
        if !is_sequential && references(&config["input_layers"]).len() != 1 {
            return Err("it does not have one input".into());
        }
        let mut counts = HashMap::new();
        let mut results: HashMap<&str, String> = HashMap::new();
        let mut last = input.to_owned();
        for layer in list(&config["layers"]) {
            let name =
                layer["config"]["name"].as_str().or(layer["name"].as_str()).ok_or("one of its layers has no name")?;
            let class = layer["class_name"].as_str().unwrap_or_default();
            let unique = numbered(&snake_case(class), &mut counts);
            if class == "InputLayer" {
                results.insert(name, input.to_owned());
                continue;
            }
            let inputs = if is_sequential { vec![last] } else { inputs(layer, name, &results)? };
            let within =
                Place { prefix: format!("{}{name}", place.prefix), path: format!("{}layers/{unique}", place.path) };
            last = self.layer(layer, &within, inputs).unwrap_or_else(|reason| {
                self.refused.push(format!("\"{}\" ({class}): {reason}", within.prefix));
                within.prefix
            });
            results.insert(name, last.clone());
        }
        if is_sequential {
            return Ok(vec![last]);
        }
        let output = |name: &str| results.get(name).cloned().ok_or_else(|| format!("there is no output \"{name}\""));
        references(&config["output_layers"]).into_iter().map(output).collect()
    }

    /// Appends a layer, or the layers of a nested network. Returns the name of the result.
    fn layer(&mut self, layer: &Json, place: &Place, mut inputs: Vec<String>) -> Result<String, String> {
        let input = inputs.first().ok_or("it has no input")?.clone();
        if list(&layer["inbound_nodes"]).len() > 1 {
            return Err("it is used in several places".into());
        }
        if layer["config"]["layers"].is_array() {
            let within = Place { prefix: format!("{}/", place.prefix), path: format!("{}/", place.path) };
            let outputs = self.network(layer, &within, &input)?;
            return <[String; 1]>::try_from(outputs)
                .map(|[output]| output)
                .map_err(|_| "it has several outputs".into());
        }
        let Some(Counterpart { mut attributes, before, constants, frozen }) = counterpart(layer)? else {
            return Ok(input);
        };
        let is = |attributes: &Table, kind: &str| attributes.get("type").and_then(Value::as_str) == Some(kind);
        if is(&attributes, "multi_head_attention") {
            expect_heads(layer)?;
            // Keys are the values, if they are not given.
            inputs.dedup();
            match inputs.len() {
                1 => {}
                2 => drop(attributes.insert("type".into(), "cross_attention".into())),
                _ => return Err("keys and values are not of one input".into()),
            }
        }
        if let Some(before) = before {
            let result = self.push(&format!("{}/before", place.prefix), before, &inputs);
            inputs = if is(&attributes, "maximum") { vec![input, result] } else { vec![result] };
        }
        if frozen {
            self.frozen.push(Pattern::escape(&place.prefix));
        }
        self.constants.extend(constants.into_iter().map(|(part, value)| (format!("{}.{part}", place.prefix), value)));
        self.places.insert(place.path.clone(), place.prefix.clone());
        Ok(self.push(&place.prefix, attributes, &inputs))
    }

    fn push(&mut self, name: &str, mut attributes: Table, inputs: &[String]) -> String {
        attributes.insert("name".into(), name.into());
        attributes.insert("inputs".into(), inputs.to_vec().into());
        self.layers.push(attributes);
        name.to_owned()
    }
}

/// Heads must have the channels of the input between them, where the file tells how many that are.
fn expect_heads(layer: &Json) -> Result<(), String> {
    let tensor = &layer["inbound_nodes"][0]["args"][0]["config"]["shape"];
    let Some(channels) = list(tensor).last().and_then(Json::as_u64) else { return Ok(()) };
    let [heads, each] = ["num_heads", "key_dim"].map(|key| layer["config"][key].as_u64().unwrap_or(0));
    match heads.checked_mul(each) == Some(channels) {
        true => Ok(()),
        false => Err(format!("{heads} heads of {each} values for {channels} channels are not supported")),
    }
}
