use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::data::{MaskCoding, MaskOptions, read_names, read_palette};
use crate::error::{Error, Result};

/// What only segmentation knows of its settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What is minimised.
    pub loss: MaskLoss,
    /// How values of masks mean classes: `index`, `binary` or `levels`; found out where it is not said.
    pub masks: Option<String>,
    /// A file of colours and the classes that they mean.
    pub palette: Option<PathBuf>,
    /// A file of class names.
    pub class_names: Option<PathBuf>,
    /// The class, by name or number, that counts nothing.
    pub ignore: Option<String>,
    /// `[height, width]` of the tiles into which pictures are cut; otherwise they are resized.
    pub tile: Option<[usize; 2]>,
}

/// A sum of losses of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MaskLoss {
    /// Mean cross-entropy of the pixels.
    pub cross_entropy: bool,
    /// One minus the Dice coefficient of probabilities and classes, mean over the classes in a picture (Milletari, Navab & Ahmadi 2016,
    /// <https://arxiv.org/abs/1606.04797>).
    pub dice: bool,
    /// Cross-entropy of each pixel times the square of the probability of not being its class (Lin et al. 2017,
    /// <https://arxiv.org/abs/1708.02002>).
    pub focal: bool,
}

impl Default for MaskLoss {
    fn default() -> Self {
        Self { cross_entropy: true, dice: true, focal: false }
    }
}

impl FromStr for MaskLoss {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut loss = Self { cross_entropy: false, dice: false, focal: false };
        for part in text.split('+') {
            let part = match part {
                "cross-entropy" | "ce" => &mut loss.cross_entropy,
                "dice" => &mut loss.dice,
                "focal" => &mut loss.focal,
                other => return Err(format!("{other:?} is not cross-entropy, dice, focal or a sum such as ce+dice")),
            };
            *part = true;
        }
        Ok(loss)
    }
}

impl TryFrom<String> for MaskLoss {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MaskLoss> for String {
    fn from(loss: MaskLoss) -> Self {
        let parts = [("cross-entropy", loss.cross_entropy), ("dice", loss.dice), ("focal", loss.focal)];
        parts.into_iter().filter(|p| p.1).map(|p| p.0).collect::<Vec<_>>().join("+")
    }
}

impl Options {
    /// From the task's part of a run's settings.
    ///
    /// Errors: if there is an unknown one, or a value that cannot be.
    pub fn read(table: &toml::Table) -> Result<Self> {
        table.clone().try_into().map_err(|e| Error::config(format!("options of segmentation: {e}")))
    }

    /// How data is read.
    ///
    /// Errors: if a file of classes cannot be read.
    pub fn reading(&self) -> Result<MaskOptions> {
        let coding = match (&self.palette, self.masks.as_deref()) {
            (Some(path), _) => Some(MaskCoding::Colors(read_palette(path)?)),
            (None, None) => None,
            (None, Some("index")) => Some(MaskCoding::Index),
            (None, Some("binary")) => Some(MaskCoding::Binary),
            (None, Some("levels")) => Some(MaskCoding::Levels),
            (None, Some(other)) => {
                return Err(Error::config(format!("--masks {other}: give index, binary or levels")));
            }
        };
        let names = self.class_names.as_deref().map(read_names).transpose()?;
        Ok(MaskOptions { coding, names, tile: self.tile })
    }

    /// The number of the class that counts nothing.
    ///
    /// Errors: if there is no such class.
    pub fn ignored(&self, classes: &[String]) -> Result<Option<u8>> {
        let Some(wanted) = &self.ignore else { return Ok(None) };
        let by_name = classes.iter().position(|class| class == wanted);
        let number = by_name.or_else(|| wanted.parse().ok().filter(|&n: &usize| n < 255));
        let unknown = || Error::config(format!("--ignore-class {wanted}: the classes are {}", classes.join(", ")));
        number.map(|n| n as u8).ok_or_else(unknown).map(Some)
    }
}
