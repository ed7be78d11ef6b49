use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::adapter::AdapterSummary;
use crate::graph::{Kernel, Op};

/// What is known of the kernels of an adapter: which to take, which agree with the CPU, which do not.
///
/// An entry stands for an op with all its attributes and shapes but the batch size: its key is made of the texts of all
/// kernels on offer, and those hold everything that does not change with the batch size. So programs for other batch
/// sizes share an entry, and one that belongs to an older Ocellus is never found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// The adapter's name.
    pub adapter: String,
    /// Its graphics interface.
    pub backend: String,
    /// Driver and version.
    pub driver: String,
    /// By the name of the op and a fingerprint of its kernels.
    #[serde(default)]
    pub kernels: BTreeMap<String, Known>,
}

/// What is known of the kernels of one op.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The inputs with which it was first met, for readers of the file.
    pub inputs: String,
    /// The variant to take.
    pub variant: String,
    /// Milliseconds of each variant that was measured.
    #[serde(default)]
    pub measured_ms: BTreeMap<String, f64>,
    /// Variants that agreed with the CPU.
    #[serde(default)]
    pub certified: BTreeSet<String>,
    /// Variants that did not, and the worst element.
    #[serde(default)]
    pub failed: BTreeMap<String, String>,
}

impl Choices {
    /// Nothing yet.
    pub(super) fn new(summary: &AdapterSummary) -> Self {
        Self {
            adapter: summary.name.clone(),
            backend: summary.backend.clone(),
            driver: summary.driver.clone(),
            kernels: BTreeMap::new(),
        }
    }

    /// Whether both are for the same adapter under the same driver.
    pub fn same_adapter(&self, other: &Self) -> bool {
        (&self.adapter, &self.backend, &self.driver) == (&other.adapter, &other.backend, &other.driver)
    }

    /// The file for this adapter in a cache folder.
    fn file(&self, folder: &Path) -> PathBuf {
        let identity = [&self.adapter, &self.backend, &self.driver].map(String::as_str);
        folder.join(format!("kernels-{:016x}.toml", fingerprint(identity)))
    }

    /// What a cache folder holds for this adapter: nothing, if the file is damaged or for another adapter.
    pub(super) fn load(&self, folder: &Path) -> BTreeMap<String, Known> {
        let text = fs::read_to_string(self.file(folder)).unwrap_or_default();
        let stored = toml::from_str::<Self>(&text).ok().filter(|stored| stored.same_adapter(self));
        stored.map(|stored| stored.kernels).unwrap_or_default()
    }

    /// Adds these choices to those in a cache folder. The file appears whole or not at all. That a folder cannot be
    /// written costs time at the next start, and is no reason to stop.
    pub(super) fn save(&self, folder: &Path) {
        let mut all = self.clone();
        all.kernels = self.load(folder);
        all.kernels.extend(self.kernels.clone());
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(toml::to_string(&all).map_err(std::io::Error::other)?.as_bytes())?;
            file.persist(self.file(folder))?;
            Ok(())
        };
        if let Err(e) = write() {
            log::warn!("the choice of kernels was not kept in {}: {e}", folder.display());
        }
    }
}

/// Under what the kernels of an op are known.
pub(super) fn key(op: &dyn Op, kernels: &[Kernel]) -> String {
    // How often a kernel repeats a launch may depend on the batch size.
    let mut met = BTreeSet::new();
    let launches = kernels.iter().flat_map(|kernel| kernel.launches.iter().map(|launch| launch.source.as_str()));
    let launches = launches.filter(|&text| met.insert(text));
    let variants = kernels.iter().map(|kernel| kernel.variant.as_str());
    format!("{}-{:016x}", op.name(), fingerprint(variants.chain(launches)))
}

/// FNV-1a (Fowler, Noll & Vo, <https://datatracker.ietf.org/doc/html/rfc9923>): the same in every version of Rust.
pub(super) fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = texts.into_iter().flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(driver: &str) -> Choices {
        let known = Known { variant: "naive".into(), ..Known::default() };
        let kernels = BTreeMap::from([("conv2d-0".to_owned(), known)]);
        Choices { adapter: "a GPU".into(), backend: "Vulkan".into(), driver: driver.into(), kernels }
    }

    #[test]
    fn a_published_fingerprint() {
        // FNV-1a of "a" followed by the separator.
        let of_a = 0xaf63_dc4c_8601_ec8c_u64;
        assert_eq!(fingerprint(["a"]), (of_a ^ 0xff).wrapping_mul(0x0100_0000_01b3));
        assert_ne!(fingerprint(["ab", "c"]), fingerprint(["a", "bc"]));
    }

    #[test]
    fn files_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, second) = (choices("1.0"), choices("2.0"));
        assert!(first.load(folder.path()).is_empty());
        first.save(folder.path());
        assert_eq!(first.load(folder.path()), first.kernels);
        assert!(second.load(folder.path()).is_empty());
        let earlier = first.kernels.clone();
        first.kernels = BTreeMap::from([("matmul-1".to_owned(), Known::default())]);
        first.save(folder.path());
        assert_eq!(first.load(folder.path()).len(), 2);
        assert_eq!(first.load(folder.path())["conv2d-0"], earlier["conv2d-0"]);
    }

    #[test]
    fn damaged_and_foreign_files_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let ours = choices("1.0");
        for text in ["", "not = [toml", "adapter = 3", &toml::to_string(&choices("2.0")).unwrap()] {
            fs::write(ours.file(folder.path()), text).unwrap();
            assert!(ours.load(folder.path()).is_empty(), "{text}");
        }
        ours.save(folder.path());
        assert_eq!(ours.load(folder.path()), ours.kernels);
        // A folder that cannot be made is no error.
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        ours.save(&file);
        assert!(ours.load(&file).is_empty());
    }
}
