use std::fmt;
use std::str::FromStr;

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How pixel bytes become the numbers a network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// 0 to 1.
    Unit,
    /// Mean 0 and standard deviation 1 over the training set, for each channel.
    #[default]
    Dataset,
    /// The mean and standard deviation of ImageNet, as pretrained networks expect; for grey images the averages of the
    /// three channels.
    ImageNet,
    /// -1 to 1.
    Symmetric,
    /// 0 to 255, as stored.
    None,
}

impl Normalize {
    const ALL: [Self; 5] = [Self::Unit, Self::Dataset, Self::ImageNet, Self::Symmetric, Self::None];

    /// What it means for images of `channels` channels, unless that depends on a data set.
    pub fn fixed(self, channels: usize) -> Option<Normalization> {
        Some(match self {
            Self::Unit => Normalization::uniform(channels, 0.0, 1.0),
            Self::Symmetric => Normalization::uniform(channels, 0.5, 0.5),
            Self::None => Normalization::uniform(channels, 0.0, 1.0 / 255.0),
            Self::ImageNet if channels == 3 => {
                Normalization { mean: vec![0.485, 0.456, 0.406], std: vec![0.229, 0.224, 0.225] }
            }
            Self::ImageNet => Normalization::uniform(channels, 0.449, 0.226),
            Self::Dataset => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Dataset => "dataset",
            Self::ImageNet => "imagenet",
            Self::Symmetric => "symmetric",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Normalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Normalize {
    type Err = Error;

    /// Errors: if it is not unit, dataset, imagenet, symmetric or none.
    fn from_str(name: &str) -> Result<Self, Error> {
        let unknown = || {
            Error::config(format!("normalization {name:?} is not one of unit, dataset, imagenet, symmetric and none"))
        };
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or_else(unknown)
    }
}

/// A pixel byte `x` of channel `c` becomes `(x / 255 - mean[c]) / std[c]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// One value a channel, in units of 0 (black) to 1 (white).
    pub mean: Vec<f32>,
    /// One value a channel, above 0, in the same units.
    pub std: Vec<f32>,
}

impl Normalization {
    /// What `mode` means for images of `channels` channels whose bytes have these `moments`.
    pub(super) fn new(mode: Normalize, channels: usize, moments: &Moments) -> Self {
        mode.fixed(channels).unwrap_or_else(|| moments.normalization(channels))
    }

    /// The numbers that a network sees of bytes, channel by channel.
    pub fn apply(&self, bytes: &[u8]) -> Vec<f32> {
        let of = self.mean.iter().zip(&self.std).cycle();
        bytes.iter().zip(of).map(|(&byte, (mean, std))| (f32::from(byte) / 255.0 - mean) / std).collect()
    }

    pub(crate) fn uniform(channels: usize, mean: f32, std: f32) -> Self {
        Self { mean: vec![mean; channels], std: vec![std; channels] }
    }
}

/// Bytes that are added side by side: whole vectors, and whole pixels of 1, 2 or 3 channels.
const LANES: usize = 48;
/// As many squares of a byte as `u32` has room for, and fewer.
const MOST_ADDED: usize = 1 << 15;

/// Sums over the bytes of each channel. Integers, so that the order in which images are added does not matter.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub(super) struct Moments {
    pixels: u64,
    sum: [u64; 3],
    squares: [u64; 3],
}

impl Moments {
    /// Of `[pixels, channels]` bytes; at most 3 channels.
    pub(super) fn of(bytes: &[u8], channels: usize) -> Self {
        let mut moments = Self { pixels: (bytes.len() / channels) as u64, ..Self::default() };
        for block in bytes.chunks(LANES * MOST_ADDED) {
            let (mut sum, mut squares) = ([0u32; LANES], [0u32; LANES]);
            for lanes in block.chunks(LANES) {
                for ((sum, square), &byte) in sum.iter_mut().zip(&mut squares).zip(lanes) {
                    let value = u32::from(byte);
                    *sum += value;
                    *square += value * value;
                }
            }
            for lane in 0..LANES {
                moments.sum[lane % channels] += u64::from(sum[lane]);
                moments.squares[lane % channels] += u64::from(squares[lane]);
            }
        }
        moments
    }

    /// Of grey bytes, as if they were made colour.
    pub(super) fn in_colour(self) -> Self {
        Self { sum: [self.sum[0]; 3], squares: [self.squares[0]; 3], ..self }
    }

    /// Of both together.
    pub(super) fn plus(self, other: Self) -> Self {
        let add = |a: [u64; 3], b: [u64; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
        Self {
            pixels: self.pixels + other.pixels,
            sum: add(self.sum, other.sum),
            squares: add(self.squares, other.squares),
        }
    }

    /// A channel that never varies keeps a deviation of 1: it is 0 everywhere then, and not divided by 0.
    fn normalization(&self, channels: usize) -> Normalization {
        let pixels = self.pixels.max(1) as f64;
        let mean: Vec<f64> = self.sum[..channels].iter().map(|&sum| sum as f64 / pixels).collect();
        let deviation = |channel: usize| match self.squares[channel] as f64 / pixels - mean[channel] * mean[channel] {
            variance if variance > 1e-9 => variance.sqrt() / 255.0,
            _ => 1.0,
        };
        Normalization {
            std: (0..channels).map(|channel| deviation(channel) as f32).collect(),
            mean: mean.iter().map(|mean| (mean / 255.0) as f32).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dataset_mode_is_mean_and_deviation_of_each_channel() {
        // Red is 0 or 255, green always 51, blue 0, 0, 255, 255 + the same again.
        let one = Moments::of(&[0, 51, 0, 255, 51, 0], 3);
        let two = Moments::of(&[0, 51, 255, 255, 51, 255], 3);
        let found = Normalization::new(Normalize::Dataset, 3, &one.plus(two));
        assert_eq!(found, Normalization { mean: vec![0.5, 0.2, 0.5], std: vec![0.5, 1.0, 0.5] });
    }

    #[test]
    fn the_other_modes_do_not_look_at_the_data() {
        let of = |mode, channels| Normalization::new(mode, channels, &Moments::default());
        assert_eq!(of(Normalize::Unit, 1), Normalization { mean: vec![0.0], std: vec![1.0] });
        assert_eq!(of(Normalize::None, 3).std, [1.0 / 255.0; 3]);
        assert_eq!(of(Normalize::ImageNet, 3).mean, [0.485, 0.456, 0.406]);
        assert_eq!(of(Normalize::ImageNet, 1).mean, [0.449]);
    }

    #[test]
    fn modes_have_one_name_everywhere() {
        for mode in Normalize::ALL {
            assert_eq!(mode.to_string().parse::<Normalize>().unwrap(), mode);
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("\"{mode}\""));
        }
        assert!("other".parse::<Normalize>().unwrap_err().to_string().contains("unit, dataset"));
    }
}
