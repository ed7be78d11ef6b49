use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{OperatingPoint, Pairs};
use crate::error::{Error, Result};

/// From which cosine on two pictures are taken for the same, as validation pictures had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// Validation pictures that are alike in pairs.
    pub same_pairs: usize,
    /// Validation pictures that are not.
    pub different_pairs: usize,
    /// Where most answers are right, if as many pairs are of one class as of two.
    pub chosen: OperatingPoint,
    /// Where false accepts are limited: to one in ten, one in a hundred, as far as there are pairs enough.
    #[serde(default)]
    pub limited: Vec<OperatingPoint>,
}

impl Threshold {
    const FILE: &str = "verification.toml";

    /// What pairs of validation pictures suggest; `None` unless there are some of either kind, and a threshold does better than
    /// chance.
    pub fn of(pairs: &Pairs) -> Option<Self> {
        let chosen = pairs.best();
        (pairs.tell() && chosen.threshold.is_finite()).then(|| Self {
            same_pairs: pairs.same.len(),
            different_pairs: pairs.different.len(),
            chosen,
            limited: pairs.limits().filter_map(|limit| pairs.limited(limit)).collect(),
        })
    }

    /// Where no more than a share `limit` of pairs of two classes were accepted.
    ///
    /// Errors: if none of the thresholds was chosen for as few.
    pub fn within(&self, limit: f64) -> Result<OperatingPoint> {
        let known = self.limited.iter().chain([&self.chosen]).filter(|point| point.false_accept_rate <= limit);
        let best = known.min_by(|a, b| a.false_reject_rate.total_cmp(&b.false_reject_rate));
        best.copied().ok_or_else(|| {
            let pairs = self.different_pairs;
            Error::config(format!("{pairs} validation pairs of two classes are too few for false accepts of {limit}"))
        })
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
        let found: Self = toml::from_str(&text).map_err(|e| Error::format(&path, e.to_string()))?;
        for point in found.limited.iter().chain([&found.chosen]) {
            let rates = [point.false_accept_rate, point.false_reject_rate];
            if !point.threshold.is_finite() || !rates.iter().all(|rate| (0.0..=1.0).contains(rate)) {
                return Err(Error::format(&path, "a threshold must be a number, and rates lie between 0 and 1"));
            }
        }
        Ok(Some(found))
    }

    /// The name and the text of its file in a run folder.
    ///
    /// Errors: never for what can be read back.
    pub fn file(&self) -> Result<(&'static str, String)> {
        let text = toml::to_string(self).map_err(|e| Error::config(format!("{}: {e}", Self::FILE)))?;
        Ok((Self::FILE, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold() -> Threshold {
        let different = (0..200).map(|i| i as f32 / 200.0 - 0.5).collect();
        Threshold::of(&Pairs::new(vec![0.9, 0.8, 0.3, 0.46], different)).unwrap()
    }

    #[test]
    fn it_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Threshold::read(folder.path()).unwrap(), None);
        let (name, text) = threshold().file().unwrap();
        fs::write(folder.path().join(name), &text).unwrap();
        assert_eq!(Threshold::read(folder.path()).unwrap(), Some(threshold()));
        for (from, to) in [
            ("threshold = ", "threshold = nan # "),
            ("false_accept_rate = ", "false_accept_rate = 3.5 # "),
            ("same_pairs", "pairs"),
        ] {
            fs::write(folder.path().join(name), text.replacen(from, to, 1)).unwrap();
            assert!(Threshold::read(folder.path()).unwrap_err().to_string().contains(name));
        }
    }

    #[test]
    fn false_accepts_can_be_limited() {
        let threshold = threshold();
        assert_eq!(threshold.limited.len(), 1, "200 pairs tell of one in ten only");
        assert!(threshold.within(0.1).unwrap().false_accept_rate <= 0.1);
        assert_eq!(threshold.within(0.5).unwrap().false_reject_rate, 0.0);
        assert!(threshold.within(1e-6).unwrap_err().to_string().contains("200 validation pairs"));
    }
}
