use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use glob::Pattern;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::graph::{Launch, Layout, Update, UpdatePiece};

/// Layers or parameters that learn at another rate than the rest: `PATTERN=FACTOR`, where `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LrScale {
    pattern: String,
    factor: f32,
}

impl LrScale {
    /// What each of `names` (`layer.parameter`) multiplies the learning rate by: the factor of the last that matches it, else 1.
    ///
    /// Errors: if a pattern is none, or matches nothing.
    pub fn factors(scales: &[Self], names: &[&str]) -> Result<Vec<f32>> {
        let mut factors = vec![1.0; names.len()];
        for Self { pattern, factor } in scales {
            let wrong = |what: String| Error::config(format!("--lr-scale \"{pattern}\": {what}"));
            let parsed = Pattern::new(pattern).map_err(|e| wrong(e.to_string()))?;
            let layer = |name: &str| name.rsplit_once('.').map_or(String::new(), |(layer, _)| layer.to_owned());
            let matches = |name: &str| parsed.matches(name) || parsed.matches(&layer(name));
            let met: Vec<usize> = (0..names.len()).filter(|&i| matches(names[i])).collect();
            if met.is_empty() {
                return Err(wrong(
                    "matches no layer and no parameter that is trained; use * for any characters".into(),
                ));
            }
            met.into_iter().for_each(|i| factors[i] = *factor);
        }
        Ok(factors)
    }
}

impl FromStr for LrScale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pattern, factor) = text.rsplit_once('=').unwrap_or((text, ""));
        match factor.parse::<f32>() {
            Ok(factor) if factor >= 0.0 && factor.is_finite() && !pattern.is_empty() => {
                Ok(Self { pattern: pattern.to_owned(), factor })
            }
            _ => Err(format!("\"{text}\" is not PATTERN=FACTOR with a factor of 0 or more, for instance conv*=0.1")),
        }
    }
}

impl TryFrom<String> for LrScale {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<LrScale> for String {
    fn from(scale: LrScale) -> Self {
        format!("{}={}", scale.pattern, scale.factor)
    }
}

/// An optimizer whose step is refined: multiplied by a factor for each parameter, or followed by a moving average of the
/// parameters, or both. Each takes an arena behind the optimizer's own moments.
pub(super) struct Refined {
    pub optimizer: Arc<dyn Update>,
    /// Whether parameters have factors.
    pub rates: bool,
    /// How much of the average stays with each step.
    pub ema: Option<f32>,
}

impl fmt::Debug for Refined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { optimizer, rates, ema } = self;
        write!(f, "{optimizer:?}, rates {rates}, average {ema:?}")
    }
}

impl Refined {
    /// How much of the average is renewed in a step: `1 - min(ema, (1 + step) / (10 + step))`, so that it forgets where it
    /// began (as TensorFlow's `ExponentialMovingAverage` with `num_updates`).
    fn renewed(&self, step: u64) -> f32 {
        let kept = f64::from(self.ema.unwrap_or(0.0)).min((1 + step) as f64 / (10 + step) as f64);
        (1.0 - kept) as f32
    }
}

impl Update for Refined {
    fn moments(&self) -> usize {
        self.optimizer.moments() + usize::from(self.rates) + usize::from(self.ema.is_some())
    }

    fn rates(&self) -> Option<usize> {
        self.rates.then(|| self.optimizer.moments())
    }

    fn average(&self) -> Option<usize> {
        self.ema.map(|_| self.moments() - 1)
    }

    /// How much of the average is renewed, then the optimizer's own.
    fn scalars(&self, learning_rate: f64, step: u64) -> Vec<f32> {
        let mut scalars = vec![self.renewed(step)];
        scalars.extend(self.optimizer.scalars(learning_rate, step));
        scalars
    }

    fn cpu(&self, scalars: &[f32], mut piece: UpdatePiece<'_>) {
        let average = self.ema.and_then(|_| piece.moments.pop());
        let rates = if self.rates { piece.moments.pop() } else { None };
        let before = rates.is_some().then(|| piece.parameters.to_vec());
        let UpdatePiece { parameters, gradients, moments, gradient_scale, decayed } = piece;
        let piece = UpdatePiece { parameters: &mut *parameters, gradients, moments, gradient_scale, decayed };
        self.optimizer.cpu(&scalars[1..], piece);
        for (rates, before) in rates.iter().zip(before) {
            for ((moved, &rate), before) in parameters.iter_mut().zip(&**rates).zip(before) {
                *moved = if rate == 1.0 { *moved } else { before + rate * (*moved - before) };
            }
        }
        if let Some(average) = average {
            average.iter_mut().zip(&*parameters).for_each(|(average, p)| *average += scalars[0] * (p - *average));
        }
    }

    fn launch(&self, layout: &Layout) -> Launch {
        let mut launch = self.optimizer.launch(layout);
        let plain = super::PLAIN;
        assert!(launch.source.contains(plain), "every optimizer leaves the last word to this function");
        let mut refinement = String::new();
        let mut result = "moved".to_owned();
        let first = 4 + self.optimizer.moments();
        let steps = [
            (self.rates(), "rated", include_str!("../../../shaders/common/update_rates.wgsl")),
            (self.average(), "averaged", include_str!("../../../shaders/common/update_average.wgsl")),
        ];
        for (moment, name, text) in steps {
            let Some(moment) = moment else { continue };
            let binding = first + moment - self.optimizer.moments();
            refinement += &text.replace("@binding(BINDING)", &format!("@binding({binding})"));
            result = format!("{name}(i, {result})");
        }
        refinement += &plain.replace("moved;", &format!("{result};"));
        let source = launch.source.replacen(plain, &refinement, 1);
        launch.source = source.replacen("struct Params { ", "struct Params { renewed: f32, ", 1);
        launch
    }

    fn clip_norm(&self) -> Option<f32> {
        self.optimizer.clip_norm()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_counts() {
        let scales = ["conv*=0.1", "conv2d.bias=0", "dense=2"].map(|text| text.parse().unwrap());
        let names = ["conv2d.weight", "conv2d.bias", "dense.weight", "other.weight"];
        assert_eq!(LrScale::factors(&scales, &names).unwrap(), [0.1, 0.0, 2.0, 1.0]);
        let error = LrScale::factors(&["lstm=2".parse().unwrap()], &names).unwrap_err().to_string();
        assert!(error.contains("matches no layer"), "{error}");
    }

    #[test]
    fn scales_are_read_and_written() {
        assert_eq!(String::from("a=b=0.5".parse::<LrScale>().unwrap()), "a=b=0.5");
        for wrong in ["conv", "conv=", "=1", "conv=-1", "conv=inf", "conv=x"] {
            assert!(wrong.parse::<LrScale>().is_err(), "{wrong}");
        }
    }
}
