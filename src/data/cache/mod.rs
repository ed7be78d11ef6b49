//! Decoded pictures on disk, for the epochs and runs to come.
//!
//! A set of image files brought to one shape is one file of the cache: a header, then for each picture its [`Moments`]
//! (none if it could not be read), then the pixels of all, which are mapped into memory. The header tells the state of
//! every image file (path, size, time of last change), so that whatever does not match is made anew. A file is written
//! under another name and renamed when it is whole; runs side by side do not disturb each other.

mod file;
mod folder;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(super) use file::{CacheFile, Contents, Unfinished};
pub(super) use folder::CacheFolder;

use crate::error::Error;

#[cfg(doc)]
use super::normalize::Moments;

/// Where decoded pictures are kept, so that an epoch need not decode them again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// On disk, if there is comfortable room for them; else in memory, if they take at most 1 GiB; else nowhere.
    #[default]
    Auto,
    /// In memory, however much they take.
    Ram,
    /// On disk, for the runs to come as well: in the folder `ocellus/images` of the platform's caches, or in `images` of
    /// the folder that the environment variable `OCELLUS_CACHE_DIR` names.
    Disk,
    /// Nowhere: each epoch decodes anew.
    None,
}

impl Cache {
    const ALL: [Self; 4] = [Self::Auto, Self::Ram, Self::Disk, Self::None];

    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ram => "ram",
            Self::Disk => "disk",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Cache {
    type Err = Error;

    /// Errors: if it is not auto, ram, disk or none.
    fn from_str(name: &str) -> Result<Self, Error> {
        let unknown = || Error::config(format!("cache {name:?} is not one of auto, ram, disk and none"));
        Self::ALL.into_iter().find(|cache| cache.name() == name).ok_or_else(unknown)
    }
}
