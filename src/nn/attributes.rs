use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ops::Padding;

/// Height and width; in a model file `[height, width]`, or one number for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrTwo", into = "OneOrTwo")]
pub struct Pair(pub [usize; 2]);

impl Pair {
    /// 1 in both directions: the default of strides and dilation.
    pub const ONE: Self = Self([1, 1]);
}

impl Default for Pair {
    fn default() -> Self {
        Self::ONE
    }
}

impl From<usize> for Pair {
    fn from(both: usize) -> Self {
        Self([both; 2])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(pair: [usize; 2]) -> Self {
        Self(pair)
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [h, w] = self.0;
        write!(f, "{h}x{w}")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a whole number or a pair [height, width]")]
enum OneOrTwo {
    One(usize),
    Two([usize; 2]),
}

impl From<OneOrTwo> for Pair {
    fn from(value: OneOrTwo) -> Self {
        match value {
            OneOrTwo::One(both) => both.into(),
            OneOrTwo::Two(pair) => pair.into(),
        }
    }
}

impl From<Pair> for OneOrTwo {
    fn from(Pair([h, w]): Pair) -> Self {
        if h == w { Self::One(h) } else { Self::Two([h, w]) }
    }
}

/// Rows and columns around a picture: `[top, bottom, left, right]`. In a model file, as in Keras, one number, a pair
/// `[height, width]`, or `[[top, bottom], [left, right]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "EdgesForm", into = "EdgesForm")]
pub struct Edges(pub [usize; 4]);

impl From<usize> for Edges {
    fn from(all: usize) -> Self {
        Self([all; 4])
    }
}

impl From<[usize; 2]> for Edges {
    fn from([h, w]: [usize; 2]) -> Self {
        Self([h, h, w, w])
    }
}

impl From<[[usize; 2]; 2]> for Edges {
    fn from([[top, bottom], [left, right]]: [[usize; 2]; 2]) -> Self {
        Self([top, bottom, left, right])
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, [height, width], or [[top, bottom], [left, right]]")]
enum EdgesForm {
    All(usize),
    Two([usize; 2]),
    Four([[usize; 2]; 2]),
}

impl From<EdgesForm> for Edges {
    fn from(form: EdgesForm) -> Self {
        match form {
            EdgesForm::All(n) => n.into(),
            EdgesForm::Two(pair) => pair.into(),
            EdgesForm::Four(edges) => edges.into(),
        }
    }
}

impl From<Edges> for EdgesForm {
    fn from(Edges([top, bottom, left, right]): Edges) -> Self {
        match (top == bottom && left == right, top == left) {
            (true, true) => Self::All(top),
            (true, false) => Self::Two([top, left]),
            _ => Self::Four([[top, bottom], [left, right]]),
        }
    }
}

/// Steps around a sequence; in a model file `"valid"`, `"same"`, `"causal"` or `[before, after]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", expecting = "padding must be \"valid\", \"same\", \"causal\" or [before, after]")]
pub enum StepPadding {
    /// None.
    #[default]
    Valid,
    /// As many that there are `ceil(steps / stride)` positions; an odd one comes after.
    Same,
    /// All before, so many that no result looks ahead.
    Causal,
    /// Before and after.
    #[serde(untagged)]
    Explicit([usize; 2]),
}

impl StepPadding {
    /// The same left and right of a sequence that lies as a picture of one row.
    pub(super) fn beside_a_row(self, window: usize, dilation: usize) -> Padding {
        match self {
            Self::Valid => Padding::Valid,
            Self::Same => Padding::Same,
            Self::Causal => Padding::Explicit([0, 0, window.saturating_sub(1).saturating_mul(dilation), 0]),
            Self::Explicit([before, after]) => Padding::Explicit([0, 0, before, after]),
        }
    }
}

/// The model file's form of [`Padding`]: `"valid"`, `"same"`, or [`Edges`].
pub(super) mod padding {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Named(String),
        Explicit(Edges),
    }

    pub fn serialize<S: Serializer>(padding: &Padding, serializer: S) -> Result<S::Ok, S::Error> {
        let form = match *padding {
            Padding::Valid => Form::Named("valid".into()),
            Padding::Same => Form::Named("same".into()),
            Padding::Explicit(edges) => Form::Explicit(Edges(edges)),
        };
        form.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Padding, D::Error> {
        let wrong = || {
            D::Error::custom(
                "padding must be \"valid\", \"same\", a whole number, [height, width], or [[top, bottom], [left, right]]",
            )
        };
        match Form::deserialize(deserializer).map_err(|_| wrong())? {
            Form::Named(name) if name == "valid" => Ok(Padding::Valid),
            Form::Named(name) if name == "same" => Ok(Padding::Same),
            Form::Named(_) => Err(wrong()),
            Form::Explicit(Edges(edges)) => Ok(Padding::Explicit(edges)),
        }
    }
}
