use std::fmt;
use std::num::NonZero;
use std::str::FromStr;

use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::{Dataset, Seed};
use crate::error::{Error, Result};

/// How often an epoch shows which images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Sampling {
    /// Each once.
    #[default]
    Natural,
    /// Each class equally often: of large classes a part, another in each epoch, of small ones some images more than once,
    /// each time changed otherwise. An epoch is as long as if each were shown once.
    Balanced,
    /// As [`Sampling::Balanced`], with so many of a class one after the other and the next ones of another class, so that a batch of
    /// P times as many pictures has several of each of P classes.
    /// Source: Hermans, Beyer & Leibe, 2017, section 2, <https://arxiv.org/abs/1703.07737>.
    Groups(NonZero<usize>),
}

impl Sampling {
    /// Groups of four.
    pub const GROUPS: Self = Self::Groups(NonZero::new(4).unwrap());

    /// The images of an epoch in the order in which they are shown. Where one comes again, the number of the data set's
    /// images is added once for each time before.
    pub(super) fn order(self, data: &Dataset, shuffle: bool, seed: Seed, epoch: u64) -> Vec<usize> {
        let mut order = match self {
            Self::Natural => (0..data.len()).collect(),
            Self::Balanced => balanced(data, seed, epoch),
            Self::Groups(size) => return groups(data, size.get(), seed, epoch),
        };
        if shuffle {
            order.shuffle(&mut seed.generator("shuffle", &[epoch]));
        }
        order
    }
}

/// The pictures of a class, again and again, each time in another order.
struct Cycle {
    members: Vec<usize>,
    shown: usize,
}

impl Cycle {
    /// Of each class that has pictures, in random order.
    fn of_classes(data: &Dataset, rng: &mut Pcg64) -> Vec<Self> {
        let mut members = vec![Vec::new(); data.classes.len()];
        data.samples.iter().enumerate().for_each(|(index, sample)| members[sample.label].push(index));
        members.retain(|members| !members.is_empty());
        members.shuffle(rng);
        members.into_iter().map(|members| Self { members, shown: 0 }).collect()
    }

    /// The next showing; `pictures`: how many the data set has.
    fn next(&mut self, pictures: usize, rng: &mut Pcg64) -> usize {
        let (time, at) = (self.shown / self.members.len(), self.shown % self.members.len());
        if at == 0 {
            self.members.shuffle(rng);
        }
        self.shown += 1;
        self.members[at] + time * pictures
    }
}

/// Class by class; what does not divide evenly goes to other classes in each epoch.
fn balanced(data: &Dataset, seed: Seed, epoch: u64) -> Vec<usize> {
    let mut rng = seed.generator("balance", &[epoch]);
    let mut classes = Cycle::of_classes(data, &mut rng);
    let (share, rest) = (data.len() / classes.len(), data.len() % classes.len());
    let mut order = Vec::with_capacity(data.len());
    for (number, class) in classes.iter_mut().enumerate() {
        let wanted = share + usize::from(number < rest);
        order.extend((0..wanted).map(|_| class.next(data.len(), &mut rng)));
    }
    order
}

/// Rounds in each of which every class shows `size` pictures, in another order.
fn groups(data: &Dataset, size: usize, seed: Seed, epoch: u64) -> Vec<usize> {
    let mut rng = seed.generator("groups", &[epoch]);
    let mut classes = Cycle::of_classes(data, &mut rng);
    let mut order = Vec::with_capacity(data.len() + classes.len() * size);
    while order.len() < data.len() {
        classes.shuffle(&mut rng);
        for class in &mut classes {
            order.extend((0..size).map(|_| class.next(data.len(), &mut rng)));
        }
    }
    order.truncate(data.len());
    order
}

/// How groups are written, before their size.
const GROUPS: &str = "groups-of-";

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Natural => f.write_str("natural"),
            Self::Balanced => f.write_str("balanced"),
            Self::Groups(size) => write!(f, "{GROUPS}{size}"),
        }
    }
}

impl From<Sampling> for String {
    fn from(sampling: Sampling) -> Self {
        sampling.to_string()
    }
}

impl TryFrom<String> for Sampling {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl FromStr for Sampling {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let groups = text.strip_prefix(GROUPS).and_then(|size| size.parse().ok()).map(Self::Groups);
        let known = [Self::Natural, Self::Balanced].into_iter().find(|s| s.to_string() == text);
        known.or(groups).ok_or_else(|| {
            Error::config(format!(
                "no sampling \"{text}\": there are natural, balanced and groups-of-N, for instance groups-of-4"
            ))
        })
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

    #[test]
    fn groups_give_each_batch_several_of_some_classes() {
        let data = data(&[9, 30, 1, 4, 12]);
        let order = Sampling::GROUPS.order(&data, true, Seed(2), 3);
        assert_eq!(order.len(), 56);
        assert_eq!(BTreeSet::from_iter(&order).len(), 56, "each showing is one of its own");
        let label = |at: &usize| data.samples[at % data.len()].label;
        for batch in order.chunks_exact(8) {
            let of: Vec<usize> = batch.iter().map(label).collect();
            assert!(of[..4].iter().all(|l| *l == of[0]) && of[4..].iter().all(|l| *l == of[4]), "{of:?}");
        }
        // Three rounds of five classes, but for the last group.
        for round in order.chunks_exact(20) {
            assert_eq!(counts(&data, round), [4; 5]);
        }
        assert_eq!(order, Sampling::GROUPS.order(&data, true, Seed(2), 3));
        assert_ne!(order, Sampling::GROUPS.order(&data, true, Seed(2), 4));
    }

    #[test]
    fn samplings_are_written_as_they_are_read() {
        for text in ["natural", "balanced", "groups-of-4", "groups-of-13"] {
            assert_eq!(text.parse::<Sampling>().unwrap().to_string(), text);
        }
        for text in ["groups-of-0", "groups-of-", "groups-of-x", "groups"] {
            assert!(text.parse::<Sampling>().unwrap_err().to_string().contains("groups-of-N"));
        }
    }
}
