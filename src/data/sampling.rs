use std::fmt;
use std::str::FromStr;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::{Dataset, Seed};
use crate::error::{Error, Result};

/// How often an epoch shows which images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Each once.
    #[default]
    Natural,
    /// Each class equally often: of large classes a part, another in each epoch, of small ones some images more than once,
    /// each time changed otherwise. An epoch is as long as if each were shown once.
    Balanced,
}

impl Sampling {
    /// The images of an epoch in the order in which they are shown. Where one comes again, the number of the data set's
    /// images is added once for each time before.
    pub(super) fn order(self, data: &Dataset, shuffle: bool, seed: Seed, epoch: u64) -> Vec<usize> {
        let mut order = match self {
            Self::Natural => (0..data.len()).collect(),
            Self::Balanced => balanced(data, seed, epoch),
        };
        if shuffle {
            order.shuffle(&mut seed.generator("shuffle", &[epoch]));
        }
        order
    }
}

/// Class by class; what does not divide evenly goes to other classes in each epoch.
fn balanced(data: &Dataset, seed: Seed, epoch: u64) -> Vec<usize> {
    let mut members = vec![Vec::new(); data.classes.len()];
    data.samples.iter().enumerate().for_each(|(index, sample)| members[sample.label].push(index));
    members.retain(|members| !members.is_empty());
    let mut rng = seed.generator("balance", &[epoch]);
    members.shuffle(&mut rng);
    let (share, rest) = (data.len() / members.len(), data.len() % members.len());
    let mut order = Vec::with_capacity(data.len());
    for (class, mut members) in members.into_iter().enumerate() {
        let wanted = share + usize::from(class < rest);
        let start = order.len();
        for time in 0.. {
            let missing = wanted - (order.len() - start);
            if missing == 0 {
                break;
            }
            members.shuffle(&mut rng);
            order.extend(members.iter().take(missing).map(|index| index + time * data.len()));
        }
    }
    order
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Natural => "natural",
            Self::Balanced => "balanced",
        })
    }
}

impl FromStr for Sampling {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = [Self::Natural, Self::Balanced].into_iter().find(|s| s.to_string() == text);
        known.ok_or_else(|| Error::config(format!("no sampling \"{text}\": there are natural and balanced")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Sample, Source};
    use super::*;

    fn data(counts: &[usize]) -> Dataset {
        let of_class = |(label, &n): (usize, &usize)| {
            (0..n).map(move |i| Sample::new(Source::File(format!("{label}/{i}.png").into()), label))
        };
        let classes = (0..counts.len()).map(|i| i.to_string()).collect();
        Dataset { samples: counts.iter().enumerate().flat_map(of_class).collect(), classes, ..Dataset::default() }
    }

    fn counts(data: &Dataset, order: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; data.classes.len()];
        order.iter().for_each(|at| counts[data.samples[at % data.len()].label] += 1);
        counts
    }

    #[test]
    fn classes_come_equally_often_and_their_images_too() {
        let data = data(&[90, 10, 0, 2]);
        let order = Sampling::Balanced.order(&data, true, Seed(3), 7);
        assert_eq!(counts(&data, &order), [34, 34, 0, 34]);
        assert_eq!(BTreeSet::from_iter(&order).len(), 102, "each showing is one of its own");
        let shown = |image: usize| order.iter().filter(|&at| at % data.len() == image).count();
        assert!((90..100).all(|image| (3..=4).contains(&shown(image))));
        assert_eq!([shown(100), shown(101)], [17, 17]);
        assert!((0..90).all(|image| shown(image) <= 1));
    }

    #[test]
    fn epochs_differ_and_repeat() {
        let data = data(&[20, 5]);
        let order = |epoch| Sampling::Balanced.order(&data, true, Seed(1), epoch);
        assert_eq!(order(4), order(4));
        assert_ne!(order(4), order(5));
        // 25 images of two classes: the odd one goes to either.
        let first: BTreeSet<usize> = (0..20).map(|epoch| counts(&data, &order(epoch))[0]).collect();
        assert_eq!(first, BTreeSet::from([12, 13]));
    }

    #[test]
    fn natural_shows_each_once() {
        let data = data(&[3, 2]);
        assert_eq!(Sampling::Natural.order(&data, false, Seed(0), 1), [0, 1, 2, 3, 4]);
        let mut shuffled = Sampling::Natural.order(&data, true, Seed(0), 1);
        shuffled.sort_unstable();
        assert_eq!(shuffled, [0, 1, 2, 3, 4]);
        assert!("even".parse::<Sampling>().is_err());
    }
}
