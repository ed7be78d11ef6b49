use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Share of normal pictures that may be called anomalies.
const FALSE_ALARMS: f64 = 0.05;

/// The error from which a picture is called an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Mean squared error of its pixels.
    pub error: f64,
    /// Normal pictures that it was chosen by.
    pub images: usize,
}

impl Threshold {
    const FILE: &str = "anomaly.toml";

    /// That which 95 % of normal pictures stay below; `None` without any.
    pub fn fit(errors: &[f32]) -> Option<Self> {
        let mut sorted = errors.to_vec();
        sorted.sort_by(f32::total_cmp);
        let at = ((1.0 - FALSE_ALARMS) * sorted.len() as f64).ceil() as usize;
        let error = sorted.get(at.max(1) - 1).copied().map(f64::from)?;
        Some(Self { error, images: sorted.len() })
    }

    /// That of a run folder, if it has one.
    ///
    /// Errors: if it cannot be read, or is none.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(Self::FILE);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|e| Error::io("read", &path, e))?,
        };
        toml::from_str(&text).map(Some).map_err(|e| Error::format(&path, e.to_string()))
    }

    /// The name and the text of its file in a run folder.
    pub fn file(&self) -> (&'static str, String) {
        (Self::FILE, format!("error = {:?}\nimages = {}\n", self.error, self.images))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_normal_picture_of_twenty_lies_above() {
        let errors: Vec<f32> = (1..=40).rev().map(|i| i as f32).collect();
        assert_eq!(Threshold::fit(&errors), Some(Threshold { error: 38.0, images: 40 }));
        assert_eq!(Threshold::fit(&[2.0]), Some(Threshold { error: 2.0, images: 1 }));
        assert_eq!(Threshold::fit(&[]), None);
    }

    #[test]
    fn it_is_kept_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Threshold::read(folder.path()).unwrap(), None);
        let threshold = Threshold { error: 0.1 / 3.0, images: 9 };
        let (name, text) = threshold.file();
        fs::write(folder.path().join(name), text).unwrap();
        assert_eq!(Threshold::read(folder.path()).unwrap(), Some(threshold));
        fs::write(folder.path().join(name), "error = \"low\"\n").unwrap();
        assert!(Threshold::read(folder.path()).unwrap_err().to_string().contains("anomaly.toml"));
    }
}
