use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;

use super::trade_offs::Virtue;
use super::{Scores, most_probable};
use crate::data::Seed;

/// 95 % confidence intervals: least and most.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intervals {
    /// Of the accuracy.
    pub accuracy: Option<[f64; 2]>,
    /// Of the area under the receiver operating characteristic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roc_auc: Option<[f64; 2]>,
    /// Of the Brier score.
    pub brier_score: Option<[f64; 2]>,
    /// Groups that were drawn, where whole groups were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Of the [`TradeOff`](super::TradeOff)s, which hold them themselves.
    #[serde(skip)]
    pub trade_offs: Vec<Option<[f64; 2]>>,
}

impl Scores {
    /// Between which values the summary lies in 95 of 100 sets like this one: percentiles over `resamples` sets, drawn from
    /// these images with replacement. Where images have groups, whole groups are drawn, as images of one patient are no
    /// independent proof. What is not known of an area is `None`.
    ///
    /// Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    pub fn intervals(&self, resamples: u64, seed: Seed) -> Intervals {
        let (rankings, judged) = (self.rankings(), self.judged());
        let rows = || self.probabilities.chunks_exact(self.classes).zip(&self.truth);
        let right: Vec<f64> = rows().map(|(row, &c)| f64::from(u8::from(most_probable(row) == c))).collect();
        let brier: Vec<f64> = rows().map(|(row, &class)| super::scores::brier(row, class)).collect();
        let summary = |times: &[u32]| {
            let images: u32 = times.iter().sum();
            let mean = |values: &[f64]| {
                values.iter().zip(times).map(|(value, &n)| value * f64::from(n)).sum::<f64>() / f64::from(images)
            };
            let areas: Vec<f64> = rankings.iter().filter_map(|r| r.roc_auc(times)).collect();
            let area = areas.iter().sum::<f64>() / areas.len() as f64;
            let rest = self.cuts(&judged, times).into_iter().map(|(_, held, _, cut)| match (held, cut) {
                (_, None) => f64::NAN,
                (Virtue::Sensitivity, Some(cut)) => cut.specificity,
                (Virtue::Specificity, Some(cut)) => cut.sensitivity,
            });
            [mean(&right), area, mean(&brier)].into_iter().chain(rest).collect()
        };
        let found = self.bootstrap(resamples, seed, &summary);
        Intervals {
            accuracy: found[0],
            roc_auc: found[1],
            brier_score: found[2],
            groups: self.groups.as_ref().map(|groups| groups.iter().max().map_or(0, |last| last + 1)),
            trade_offs: found[3..].to_vec(),
        }
    }

    /// Percentile intervals of some statistics, each of how many times every image counts.
    fn bootstrap(
        &self,
        resamples: u64,
        seed: Seed,
        statistics: &(dyn Fn(&[u32]) -> Vec<f64> + Sync),
    ) -> Vec<Option<[f64; 2]>> {
        let n = self.truth.len();
        let members: Option<Vec<Vec<usize>>> = self.groups.as_ref().map(|groups| {
            let mut members = vec![Vec::new(); groups.iter().max().map_or(0, |last| last + 1)];
            groups.iter().enumerate().for_each(|(image, &group)| members[group].push(image));
            members
        });
        let draw = |index: u64| {
            let mut rng = seed.generator("bootstrap", &[index]);
            let mut times = vec![0_u32; n];
            match &members {
                None => (0..n).for_each(|_| times[rng.random_range(0..n)] += 1),
                Some(members) => (0..members.len()).for_each(|_| {
                    members[rng.random_range(0..members.len())].iter().for_each(|&image| times[image] += 1);
                }),
            }
            statistics(&times)
        };
        let draws: Vec<Vec<f64>> = (0..resamples).into_par_iter().map(draw).collect();
        let interval = |statistic: usize| {
            let mut values: Vec<f64> = draws.iter().map(|draw| draw[statistic]).filter(|v| v.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            let at = |share: f64| values.get((share * (values.len() as f64 - 1.0)).round() as usize).copied();
            Some([at(0.025)?, at(0.975)?])
        };
        (0..statistics(&vec![1; n]).len()).map(interval).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [(usize, f32); 8] = [(0, 0.2), (0, 0.4), (0, 0.6), (0, 0.1), (1, 0.9), (1, 0.7), (1, 0.3), (1, 0.8)];

    fn scores(copies: usize) -> Scores {
        let mut scores = Scores::new(2);
        for _ in 0..copies {
            ROWS.into_iter().for_each(|(class, p)| scores.add(class, &[1.0 - p, p]));
        }
        scores
    }

    fn width([least, most]: [f64; 2]) -> f64 {
        most - least
    }

    #[test]
    fn they_enclose_the_value_and_shrink_with_more_images() {
        let widths = [1, 16].map(|copies| {
            let scores = scores(copies);
            let found = scores.intervals(500, Seed(0));
            assert_eq!(found, scores.intervals(500, Seed(0)));
            let encloses =
                |[least, most]: [f64; 2], value: f64| assert!(least <= value && value <= most, "{least} to {most}");
            encloses(found.accuracy.unwrap(), 0.75);
            encloses(found.roc_auc.unwrap(), 0.875);
            encloses(found.brier_score.unwrap(), scores.brier_score());
            let trade_offs = scores.trade_offs(&["a".into(), "b".into()]);
            assert_eq!((trade_offs.len(), found.trade_offs.len()), (6, 6));
            trade_offs.iter().zip(&found.trade_offs).for_each(|(t, interval)| encloses(interval.unwrap(), t.rest().1));
            width(found.accuracy.unwrap())
        });
        // The standard error falls with the square root of the number of images: here to a quarter.
        assert!((widths[0] / widths[1] - 4.0).abs() < 1.5, "{widths:?}");
    }

    #[test]
    fn copies_of_a_patient_are_no_further_proof() {
        let alone = scores(1).intervals(500, Seed(0));
        let mut copies = scores(16);
        copies.groups = Some((0..copies.truth.len()).map(|image| image % ROWS.len()).collect());
        let grouped = copies.intervals(500, Seed(0));
        assert_eq!(grouped.groups, Some(8));
        assert_eq!((grouped.accuracy, grouped.roc_auc), (alone.accuracy, alone.roc_auc));
        copies.groups = None;
        assert!(width(copies.intervals(500, Seed(0)).accuracy.unwrap()) < 0.5 * width(alone.accuracy.unwrap()));
    }
}
