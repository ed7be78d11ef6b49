use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How grey values of more than 8 bits become bytes: from where to where they are spread over 0 to 255; what is beyond is cut
/// off. Colours are spread over their whole range in any case, so that they stay what they are.
///
/// Serialized and displayed as it is typed: `auto`, `full`, `file` or `LOW:HIGH`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Window {
    /// From the 0.5th to the 99.5th percentile of each picture's own values, so that pictures of 12 bits kept in 16 are no
    /// black ones, whatever the device that made them, and a few burnt-in letters do not press the rest together. What a
    /// value means in absolute terms is lost: where it matters, as with Hounsfield units, give a range.
    #[default]
    Auto,
    /// The whole range that values of so many bits can have.
    Full,
    /// As the file suggests that it be looked at: a DICOM file's window centre and width. As `auto` where it says nothing.
    File,
    /// Values of at most the first are black, of at least the second white; after a DICOM file's rescaling.
    Range([f32; 2]),
}

/// What is known of grey values besides themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Levels {
    /// Least and most that could be.
    pub full: [f32; 2],
    /// What the file suggests.
    pub suggested: Option<[f32; 2]>,
}

/// Share of the values below and above which `auto` cuts off.
const TAIL: f64 = 0.005;

impl Window {
    /// The bytes of grey values.
    pub(super) fn apply(self, values: &[f32], levels: Levels) -> Vec<u8> {
        let [low, high] = match self {
            Self::Range(range) => range,
            Self::Full => levels.full,
            Self::File => levels.suggested.unwrap_or_else(|| percentiles(values)),
            Self::Auto => percentiles(values),
        };
        // A window without width is a threshold.
        let scale = if high > low { 255.0 / (high - low) } else { f32::MAX };
        // `as` cuts off, and takes what is no number for 0.
        values.iter().map(|value| ((value - low) * scale).round() as u8).collect()
    }
}

/// Least and most of values without their tails; of all, if nearly all are the same.
fn percentiles(values: &[f32]) -> [f32; 2] {
    let mut sorted = values.to_vec();
    let Some(last) = sorted.len().checked_sub(1) else { return [0.0, 1.0] };
    let mut at = |place: usize| *sorted.select_nth_unstable_by(place, f32::total_cmp).1;
    let tail = (TAIL * last as f64).round() as usize;
    let [low, high] = [tail, last - tail].map(&mut at);
    if low < high { [low, high] } else { [0, last].map(at) }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Full => f.write_str("full"),
            Self::File => f.write_str("file"),
            Self::Range([low, high]) => write!(f, "{low}:{high}"),
        }
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl TryFrom<String> for Window {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl FromStr for Window {
    type Err = Error;

    /// Errors: if it is none of auto, full, file and LOW:HIGH with LOW below HIGH.
    fn from_str(text: &str) -> Result<Self, Error> {
        let range = || {
            let (low, high) = text.split_once(':')?;
            let [low, high] = [low, high].map(|number| number.trim().parse::<f32>().ok().filter(|n| n.is_finite()));
            Some([low?, high?]).filter(|[low, high]| low < high)
        };
        let wrong = || {
            Error::config(format!(
                "window {text:?} is not one of auto, full, file and LOW:HIGH, for instance -1000:400 or 0:4095"
            ))
        };
        match text {
            "auto" => Ok(Self::Auto),
            "full" => Ok(Self::Full),
            "file" => Ok(Self::File),
            _ => range().map(Self::Range).ok_or_else(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Levels = Levels { full: [0.0, 65535.0], suggested: Some([100.0, 300.0]) };

    #[test]
    fn each_kind_spreads_its_own_range() {
        // 1001 values: the tails are 5 at either end.
        let values: Vec<f32> = (0..=1000).map(|i| i as f32).collect();
        let at = |window: Window| {
            let bytes = window.apply(&values, LEVELS);
            [0, 5, 100, 200, 300, 995, 1000].map(|i| bytes[i])
        };
        assert_eq!(at(Window::Auto), [0, 0, 24, 50, 76, 255, 255]);
        assert_eq!(at(Window::Full), [0, 0, 0, 1, 1, 4, 4]);
        assert_eq!(at(Window::File), [0, 0, 0, 128, 255, 255, 255]);
        assert_eq!(at(Window::Range([200.0, 1000.0])), [0, 0, 0, 0, 32, 253, 255]);
    }

    #[test]
    fn a_file_that_suggests_nothing_is_spread_by_its_values() {
        let values: Vec<f32> = (0..50).map(|i| (i * i) as f32).collect();
        let levels = Levels { suggested: None, ..LEVELS };
        assert_eq!(Window::File.apply(&values, levels), Window::Auto.apply(&values, levels));
    }

    #[test]
    fn a_few_bright_letters_do_not_darken_the_rest() {
        let mut values: Vec<f32> = (0..10_000).map(|i| (i % 1000) as f32).collect();
        values[..20].fill(60_000.0);
        let bytes = Window::Auto.apply(&values, LEVELS);
        assert!(bytes[500].abs_diff(128) < 3 && bytes[5999] == 255, "{} {}", bytes[500], bytes[5999]);
    }

    #[test]
    fn values_that_do_not_differ_are_no_trouble() {
        assert_eq!(Window::Auto.apply(&[7.0; 4], LEVELS), [0; 4]);
        assert_eq!(Window::Auto.apply(&[], LEVELS), [0; 0]);
        let mut nearly = vec![7.0; 1000];
        nearly[3] = 9.0;
        assert_eq!(Window::Auto.apply(&nearly, LEVELS)[3], 255);
        let numbers = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(Window::Range([0.0, 1.0]).apply(&numbers, LEVELS), [0, 255, 0]);
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        for window in [Window::Auto, Window::Full, Window::File, Window::Range([-1000.5, 400.0])] {
            assert_eq!(window.to_string().parse::<Window>().unwrap(), window);
            let text = toml::to_string(&std::collections::BTreeMap::from([("window", window)])).unwrap();
            let back: std::collections::BTreeMap<String, Window> = toml::from_str(&text).unwrap();
            assert_eq!(back["window"], window);
        }
        for text in ["", "dark", "5", "5:5", "9:1", "nan:1", "0:inf", "1:2:3"] {
            let message = text.parse::<Window>().unwrap_err().to_string();
            assert!(message.contains("LOW:HIGH"), "{message}");
        }
    }
}
