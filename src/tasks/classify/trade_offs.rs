use serde::Serialize;

use super::Scores;
use super::ranking::{Cut, Ranking};

/// What is left of one virtue where the other is held at a level: of two classes for the second, of more for each against the
/// rest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TradeOff {
    /// The class that is to be found.
    pub class: String,
    /// Which one is held.
    pub held: Virtue,
    /// At what level at least.
    pub at_least: f64,
    /// From this probability on, an image is taken for the class; none where only never doing so is specific enough.
    pub threshold: Option<f32>,
    /// Share of the class's images that are found.
    pub sensitivity: f64,
    /// Share of the others that are not taken for the class.
    pub specificity: f64,
    /// 95 % confidence interval of the other one, with the threshold chosen anew in each resample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// What a diagnosis is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Virtue {
    /// The share of a class's images that are found.
    Sensitivity,
    /// The share of others that are not taken for it.
    Specificity,
}

/// What is asked of a test in practice.
const LEVELS: [f64; 3] = [0.90, 0.95, 0.99];
/// Classes above which tables of each against the rest tell nobody anything.
const MOST_CLASSES: usize = 24;

impl TradeOff {
    /// The virtue that is not held.
    pub fn rest(&self) -> (&'static str, f64) {
        match self.held {
            Virtue::Sensitivity => ("specificity", self.specificity),
            Virtue::Specificity => ("sensitivity", self.sensitivity),
        }
    }

    /// The name of the one that is.
    pub fn held_name(&self) -> &'static str {
        match self.held {
            Virtue::Sensitivity => "sensitivity",
            Virtue::Specificity => "specificity",
        }
    }
}

impl Scores {
    /// Sensitivity at specificities of 0.90, 0.95 and 0.99, and the other way; nothing for a class of which there are no images,
    /// or no others, and for more than 24 classes.
    pub fn trade_offs(&self, classes: &[String]) -> Vec<TradeOff> {
        let times = vec![1; self.truth.len()];
        let told = |(class, held, at_least, cut): (usize, Virtue, f64, Option<Cut>)| {
            let Cut { threshold, sensitivity, specificity } = cut?;
            Some(TradeOff {
                class: classes[class].clone(),
                held,
                at_least,
                threshold: threshold.is_finite().then_some(threshold),
                sensitivity,
                specificity,
                interval: None,
            })
        };
        self.cuts(&self.judged(), &times).into_iter().filter_map(told).collect()
    }

    /// The classes of which trade-offs are told.
    pub(super) fn judged(&self) -> Vec<(usize, Ranking)> {
        let first = if self.classes == 2 { 1 } else { 0 };
        let classes = if self.classes > MOST_CLASSES { 0..0 } else { first..self.classes };
        let mixed = |&class: &usize| self.truth.contains(&class) && self.truth.iter().any(|&other| other != class);
        classes.filter(mixed).map(|class| (class, self.ranking(class))).collect()
    }

    /// In the order of [`Scores::trade_offs`], with each image counted so many times.
    pub(super) fn cuts(&self, judged: &[(usize, Ranking)], times: &[u32]) -> Vec<(usize, Virtue, f64, Option<Cut>)> {
        let of_class = |(class, ranking): &(usize, Ranking)| {
            let held = [
                (Virtue::Specificity, ranking.at_specificity(times, LEVELS)),
                (Virtue::Sensitivity, ranking.at_sensitivity(times, LEVELS)),
            ];
            let class = *class;
            held.into_iter().flat_map(move |(held, cuts)| {
                (0..LEVELS.len()).map(move |i| (class, held, LEVELS[i], cuts.map(|cuts| cuts[i])))
            })
        };
        judged.iter().flat_map(of_class).collect()
    }
}
