use super::Scores;

/// The images in order of a class's probability, the highest first.
pub(super) struct Ranking(Vec<Ranked>);

struct Ranked {
    image: usize,
    score: f32,
    is_class: bool,
}

/// Where a threshold divides a class from the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    /// From this probability on, an image is taken for the class; infinite where none is.
    pub threshold: f32,
    /// Share of the class's images that are found.
    pub sensitivity: f64,
    /// Share of the others that are not taken for the class.
    pub specificity: f64,
}

impl Scores {
    pub(super) fn ranking(&self, class: usize) -> Ranking {
        let score = |i: usize| self.probabilities[i * self.classes + class];
        let mut order: Vec<usize> = (0..self.truth.len()).collect();
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        let image = |i: usize| Ranked { image: i, score: score(i), is_class: self.truth[i] == class };
        Ranking(order.into_iter().map(image).collect())
    }
}

impl Ranking {
    /// After each group of images of equal probability: that, and how many of the class and of the others have it or a higher
    /// one, each image counted so many times.
    fn sweep<'a>(&'a self, times: &'a [u32]) -> impl Iterator<Item = (f32, [f64; 2])> + 'a {
        self.0.chunk_by(|a, b| a.score == b.score).scan([0.0, 0.0], |counts, tie| {
            for image in tie {
                counts[usize::from(!image.is_class)] += f64::from(times[image.image]);
            }
            Some((tie[0].score, *counts))
        })
    }

    fn totals(&self, times: &[u32]) -> [f64; 2] {
        let mut totals = [0.0, 0.0];
        self.0.iter().for_each(|i| totals[usize::from(!i.is_class)] += f64::from(times[i.image]));
        totals
    }

    /// With each image counted so many times; `None` if all are of one kind.
    pub fn roc_auc(&self, times: &[u32]) -> Option<f64> {
        let (mut before, mut area) = ([0.0, 0.0], 0.0);
        for (_, [found, others]) in self.sweep(times) {
            area += (others - before[1]) * 0.5 * (before[0] + found);
            before = [found, others];
        }
        let pairs = before[0] * before[1];
        (pairs > 0.0).then(|| area / pairs)
    }

    pub fn average_precision(&self, times: &[u32]) -> Option<f64> {
        let (mut before, mut sum) = (0.0, 0.0);
        for (_, [found, others]) in self.sweep(times) {
            if found > before {
                sum += (found - before) * found / (found + others);
            }
            before = found;
        }
        (before > 0.0).then(|| sum / before)
    }

    /// The cuts of highest sensitivity among those that have at least these specificities; of equals the more specific.
    /// `None` if all images are of one kind.
    pub fn at_specificity<const N: usize>(&self, times: &[u32], least: [f64; N]) -> Option<[Cut; N]> {
        let cut = self.cuts(times)?;
        let mut best = [Cut { threshold: f32::INFINITY, sensitivity: 0.0, specificity: 1.0 }; N];
        for cut in cut {
            let better = |(best, least): (&mut Cut, f64)| {
                if cut.specificity >= least - ROUNDING && cut.sensitivity > best.sensitivity {
                    *best = cut;
                }
            };
            best.iter_mut().zip(least).for_each(better);
        }
        Some(best)
    }

    /// The cuts of highest specificity among those that have at least these sensitivities.
    /// `None` if all images are of one kind.
    pub fn at_sensitivity<const N: usize>(&self, times: &[u32], least: [f64; N]) -> Option<[Cut; N]> {
        let mut best = [None; N];
        for cut in self.cuts(times)? {
            let first = |(best, least): (&mut Option<Cut>, f64)| {
                if cut.sensitivity >= least - ROUNDING {
                    best.get_or_insert(cut);
                }
            };
            best.iter_mut().zip(least).for_each(first);
        }
        // The lowest threshold finds all.
        Some(best.map(|cut| cut.unwrap_or(Cut { threshold: 0.0, sensitivity: 1.0, specificity: 0.0 })))
    }

    fn cuts<'a>(&'a self, times: &'a [u32]) -> Option<impl Iterator<Item = Cut> + 'a> {
        let [of_class, of_others] = self.totals(times);
        let cut = move |(threshold, [found, others]): (f32, [f64; 2])| Cut {
            threshold,
            sensitivity: found / of_class,
            specificity: (of_others - others) / of_others,
        };
        (of_class > 0.0 && of_others > 0.0).then(|| self.sweep(times).map(cut))
    }
}

/// 19 of 20 is a share of 0.95, whatever the last bits say.
const ROUNDING: f64 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(images: &[(usize, f32)]) -> (Ranking, Vec<u32>) {
        let mut scores = Scores::new(2);
        images.iter().for_each(|&(class, p)| scores.add(class, &[1.0 - p, p]));
        (scores.ranking(1), vec![1; images.len()])
    }

    #[test]
    fn cuts_hold_one_virtue_and_take_the_most_of_the_other() {
        let (ranking, times) =
            ranking(&[(1, 0.9), (0, 0.8), (1, 0.7), (1, 0.6), (0, 0.6), (0, 0.3), (1, 0.2), (0, 0.1)]);
        let [half, most, all] = ranking.at_specificity(&times, [0.5, 0.75, 1.0]).unwrap();
        assert_eq!((half.threshold, half.sensitivity, half.specificity), (0.6, 0.75, 0.5));
        assert_eq!((most.threshold, most.sensitivity, most.specificity), (0.7, 0.5, 0.75));
        assert_eq!((all.threshold, all.sensitivity, all.specificity), (0.9, 0.25, 1.0));
        let [half, all] = ranking.at_sensitivity(&times, [0.5, 0.9]).unwrap();
        assert_eq!((half.threshold, half.sensitivity, half.specificity), (0.7, 0.5, 0.75));
        assert_eq!((all.threshold, all.sensitivity, all.specificity), (0.2, 1.0, 0.25));
    }

    #[test]
    fn where_no_threshold_is_specific_enough_nothing_is_found() {
        let (ranking, times) = ranking(&[(0, 0.9), (1, 0.8)]);
        let [cut] = ranking.at_specificity(&times, [0.9]).unwrap();
        assert_eq!((cut.threshold, cut.sensitivity, cut.specificity), (f32::INFINITY, 0.0, 1.0));
    }

    #[test]
    fn counting_twice_is_having_twice() {
        let images = [(1, 0.9), (0, 0.8), (1, 0.4), (0, 0.3), (0, 0.2)];
        let (once, _) = ranking(&images);
        let (twice, times) = ranking(&[&images[..], &images[..2]].concat());
        let counted = [2, 2, 1, 1, 1];
        assert_eq!(once.roc_auc(&counted), twice.roc_auc(&times));
        assert_eq!(once.average_precision(&counted), twice.average_precision(&times));
        assert_eq!(once.at_specificity(&counted, [0.5]), twice.at_specificity(&times, [0.5]));
        assert_eq!(once.at_sensitivity(&[0, 1, 0, 1, 1], [0.5]), None);
    }
}
