use serde::{Deserialize, Serialize};

use super::MetricLoss;
use crate::error::{Error, Result};

/// What only this task asks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Numbers of a vector.
    pub embedding: usize,
    /// Whether pictures show their things at the same place, as faces that are cut out alike do: vectors are made of the network's
    /// last map place by place, not of its mean.
    pub aligned: bool,
    /// How it learns what belongs together.
    pub loss: MetricLoss,
    /// By how much classes are to be apart: radians for ArcFace, 0.3 by default; a distance for triplets, 0.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f32>,
    /// By what ArcFace multiplies cosines: 16 by default. The paper's 64, with a margin of 0.5, is for millions of pictures; of few a
    /// network does not find its way to them.
    pub scale: f32,
    /// How many classes validate instead of being trained on; by default a fifth of ten or more, unless the data has a validation
    /// or test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_out_classes: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        let loss = MetricLoss::ArcFace;
        Self { embedding: 128, aligned: false, loss, margin: None, scale: 16.0, hold_out_classes: None }
    }
}

/// Classes from which on some are held out if nothing else is asked for.
const ENOUGH: usize = 10;

impl Options {
    /// Those in a run's settings.
    ///
    /// Errors: if one is unknown, or out of range.
    pub fn read(table: &toml::Table) -> Result<Self> {
        let options: Self = table.clone().try_into().map_err(|e| Error::config(format!("options: {}", e.message())))?;
        let within = |what: &str, value: f32, [least, most]: [f32; 2]| match value > least && value < most {
            true => Ok(()),
            false => Err(Error::config(format!("--{what} is {value}, but must be above {least} and below {most}"))),
        };
        if options.embedding < 2 {
            return Err(Error::config(format!("--embedding is {}, but must be 2 or more", options.embedding)));
        }
        // A right angle, and the largest distance between vectors of length 1.
        let most = if options.loss == MetricLoss::ArcFace { std::f32::consts::FRAC_PI_2 } else { 2.0 };
        within("margin", options.margin(), [0.0, most])?;
        within("scale", options.scale, [0.0, 1000.0])?;
        Ok(options)
    }

    /// The margin asked for, or that which suits the loss.
    pub fn margin(&self) -> f32 {
        self.margin.unwrap_or(self.loss.default_margin())
    }

    /// How many of so many classes are held out; `parts`: whether the data has a validation or test part.
    pub fn held_out(&self, classes: usize, parts: bool) -> usize {
        let usual = if parts || classes < ENOUGH { 0 } else { classes / 5 };
        self.hold_out_classes.unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Options> {
        Options::read(&toml::from_str(text).unwrap())
    }

    #[test]
    fn defaults_follow_the_loss() {
        assert_eq!(read("").unwrap(), Options::default());
        assert_eq!(read("").unwrap().margin(), 0.3);
        assert_eq!(read("loss = \"triplet\"").unwrap().margin(), 0.2);
        let options = Options::default();
        assert_eq!([3, 9, 10, 24].map(|n| options.held_out(n, false)), [0, 0, 2, 4]);
        assert_eq!(options.held_out(24, true), 0);
        assert_eq!(read("hold_out_classes = 6").unwrap().held_out(24, true), 6);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, expected) in [
            ("embedding = 1", "--embedding is 1"),
            ("margin = 1.7", "--margin is 1.7"),
            ("loss = \"triplet\"\nmargin = 2.5", "--margin is 2.5"),
            ("scale = 0.0", "--scale is 0"),
            ("colour = 3", "colour"),
            ("loss = \"contrastive\"", "contrastive"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
