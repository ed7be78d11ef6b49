//! Weights from the Hugging Face Hub, <https://huggingface.co>, or from a server like it.

use std::path::PathBuf;

use hf_hub::Cache;
use hf_hub::api::sync::ApiBuilder;

use crate::error::{Error, Result};

/// What addresses begin with.
pub const SCHEME: &str = "hf://";

/// What weights are called there, the better form first.
const USUAL: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// A local copy of `hf://OWNER/NAME`, which is the model's usual file of weights, or `hf://OWNER/NAME/FILE`. What was fetched once stays
/// in the cache that all of the Hub's programs share. The Hub's variables are honoured: `HF_ENDPOINT` names another server,
/// `HF_HOME` the cache's place, and with `HF_HUB_OFFLINE=1` only what is there already is taken.
///
/// Errors: if the address is none, or the file cannot be had.
pub fn fetch(address: &str) -> Result<PathBuf> {
    let wrong = || Error::config(format!("{address} is not hf://OWNER/NAME or hf://OWNER/NAME/FILE"));
    let mut parts = address.strip_prefix(SCHEME).ok_or_else(wrong)?.splitn(3, '/');
    let (owner, name) =
        parts.next().zip(parts.next()).filter(|(o, n)| !o.is_empty() && !n.is_empty()).ok_or_else(wrong)?;
    let id = format!("{owner}/{name}");
    let given = parts.next().filter(|file| !file.is_empty());
    let files = given.map_or_else(|| USUAL.to_vec(), |file| vec![file]);
    let cache = Cache::from_env().model(id.clone());
    if let Some(path) = files.iter().find_map(|file| cache.get(file)) {
        return Ok(path);
    }
    if std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false" | "no")) {
        return Err(Error::config(format!("{address} was not fetched before, and HF_HUB_OFFLINE forbids it now")));
    }
    let failed = |e: &dyn std::fmt::Display| Error::config(format!("{address} could not be fetched: {e}"));
    let model = ApiBuilder::from_env().with_progress(false).build().map_err(|e| failed(&e))?.model(id);
    let mut reasons = Vec::new();
    for file in files {
        match model.get(file) {
            Ok(path) => return Ok(path),
            Err(e) => reasons.push(format!("{file}: {e}")),
        }
    }
    Err(failed(&reasons.join("; ")))
}
