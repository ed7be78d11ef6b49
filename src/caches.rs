//! Where results are kept that can be had again: decoded pictures, measured kernels.

use std::path::PathBuf;

/// The folder that the environment variable `OCELLUS_CACHE_DIR` names, else `ocellus` where the platform keeps caches;
/// `None` if it has no such place. It need not exist yet.
pub fn folder() -> Option<PathBuf> {
    let given = std::env::var_os("OCELLUS_CACHE_DIR").filter(|folder| !folder.is_empty());
    given.map(PathBuf::from).or_else(|| Some(dirs::cache_dir()?.join("ocellus")))
}
