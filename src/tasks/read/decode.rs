//! From probabilities of classes at each step to a label: what a network trained with
//! [`ctc_loss`](crate::ops::ctc_loss) reads.

use std::collections::BTreeMap;

/// The most probable alignment as a label: the best class of each step (the first of equals), repeats merged, blanks dropped.
///
/// `scores` is `[steps, classes]`: logits, probabilities or their logarithms.
///
/// ```
/// use ocellus::tasks::read::greedy;
/// let scores = [0.1, 0.9, 0.2, 0.8, 0.7, 0.3, 0.4, 0.6];
/// assert_eq!(greedy(&scores, 2, 0), [1, 1]);
/// ```
pub fn greedy(scores: &[f32], classes: usize, blank: usize) -> Vec<usize> {
    let best = |row: &[f32]| (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let mut label: Vec<usize> = scores.chunks(classes.max(1)).filter_map(best).collect();
    label.dedup();
    label.retain(|&class| class != blank);
    label
}

/// Natural logarithms of the probability of a prefix: of all its alignments that end in a blank, and in its last letter.
#[derive(Clone, Copy)]
struct Ways {
    blank: f64,
    letter: f64,
}

impl Ways {
    const NONE: Self = Self { blank: f64::NEG_INFINITY, letter: f64::NEG_INFINITY };

    fn total(self) -> f64 {
        log_add(self.blank, self.letter)
    }
}

/// `ln(exp(a) + exp(b))`.
fn log_add(a: f64, b: f64) -> f64 {
    let (least, largest) = if a < b { (a, b) } else { (b, a) };
    if least == f64::NEG_INFINITY { largest } else { largest + (least - largest).exp().ln_1p() }
}

/// The most probable labels, the best first, each with the natural logarithm of its probability: a search that keeps the
/// `width` best prefixes at each step. That of a label is what of it the search has seen: all of it, if the width is large
/// enough.
///
/// `logits` is `[steps, classes]`. Source: Hannun et al., First-Pass Large Vocabulary Continuous Speech Recognition using
/// Bi-Directional Recurrent DNNs, 2014, algorithm 1, without a language model, <https://arxiv.org/abs/1408.2873>.
pub fn beam_search(logits: &[f32], classes: usize, blank: usize, width: usize) -> Vec<(Vec<usize>, f64)> {
    let mut beam = vec![(Vec::new(), Ways { blank: 0.0, ..Ways::NONE })];
    for row in logits.chunks(classes.max(1)) {
        let scores = log_softmax(row);
        let mut next: BTreeMap<Vec<usize>, Ways> = BTreeMap::new();
        for (prefix, ways) in &beam {
            let last = prefix.last().copied();
            for (class, score) in scores.iter().enumerate() {
                if class == blank {
                    let stay = next.entry(prefix.clone()).or_insert(Ways::NONE);
                    stay.blank = log_add(stay.blank, ways.total() + score);
                    continue;
                }
                // The same letter again is a second one only behind a blank.
                let mut before = ways.total();
                if last == Some(class) {
                    let stay = next.entry(prefix.clone()).or_insert(Ways::NONE);
                    stay.letter = log_add(stay.letter, ways.letter + score);
                    before = ways.blank;
                }
                let longer = prefix.iter().copied().chain([class]).collect();
                let longer = next.entry(longer).or_insert(Ways::NONE);
                longer.letter = log_add(longer.letter, before + score);
            }
        }
        beam = next.into_iter().filter(|(_, ways)| ways.total() > f64::NEG_INFINITY).collect();
        beam.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()));
        beam.truncate(width.max(1));
    }
    beam.into_iter().map(|(label, ways)| (label, ways.total())).collect()
}

/// The natural logarithm of the probability that `logits`, `[steps, classes]`, give to a label: the sum over all its alignments.
///
/// States are a blank, the first letter, a blank, the second letter, …, a blank. Source: Graves et al., 2006, section 4.1,
/// <https://www.cs.toronto.edu/~graves/icml_2006.pdf>.
pub fn log_probability(logits: &[f32], classes: usize, blank: usize, label: &[usize]) -> f64 {
    let states: Vec<usize> = std::iter::once(blank).chain(label.iter().flat_map(|&letter| [letter, blank])).collect();
    let mut ways = vec![f64::NEG_INFINITY; states.len()];
    for (step, row) in logits.chunks(classes.max(1)).enumerate() {
        let scores = log_softmax(row);
        // From the back, so that what stands before is still that of the last step.
        for s in (0..states.len()).rev() {
            let skips = s > 1 && states[s] != blank && states[s] != states[s - 2];
            let before = match step {
                0 if s < 2 => 0.0,
                0 => f64::NEG_INFINITY,
                _ => [1, 2]
                    .into_iter()
                    .filter(|&back| back <= s && (back == 1 || skips))
                    .fold(ways[s], |sum, back| log_add(sum, ways[s - back])),
            };
            ways[s] = before + scores[states[s]];
        }
    }
    match (logits.is_empty(), label.is_empty()) {
        (true, true) => 0.0,
        (true, false) => f64::NEG_INFINITY,
        _ => ways.iter().rev().take(2).fold(f64::NEG_INFINITY, |sum, &way| log_add(sum, way)),
    }
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f64> = row.iter().map(|&x| f64::from(x) - f64::from(largest)).collect();
    let total = shifted.iter().map(|x| x.exp()).sum::<f64>().ln();
    shifted.into_iter().map(|x| x - total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits of these probabilities.
    fn logits(probabilities: &[f32]) -> Vec<f32> {
        probabilities.iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn greedy_merges_repeats_and_drops_blanks() {
        let path = |path: &[usize]| -> Vec<f32> {
            path.iter().flat_map(|&best| (0..3).map(move |class| if class == best { 1.0 } else { 0.0 })).collect()
        };
        assert_eq!(greedy(&path(&[0, 1, 1, 0, 1, 2, 2]), 3, 0), [1, 1, 2]);
        assert_eq!(greedy(&path(&[2, 0, 0, 2, 0, 1]), 3, 2), [0, 0, 1]);
        assert!(greedy(&path(&[0, 0]), 3, 0).is_empty());
        assert!(greedy(&[], 3, 0).is_empty());
        assert_eq!(greedy(&[0.0, 1.0, 1.0], 3, 0), [1]);
    }

    #[test]
    fn a_beam_sums_over_alignments_where_greedy_takes_one() {
        // The blank is the best class at both steps (0.36), but the letter has three alignments (0.64).
        let logits = logits(&[0.6, 0.4, 0.6, 0.4]);
        assert!(greedy(&logits, 2, 0).is_empty());
        let labels = beam_search(&logits, 2, 0, 4);
        assert_eq!(labels[0].0, [1]);
        assert!((labels[0].1.exp() - 0.64).abs() < 1e-6 && (labels[1].1.exp() - 0.36).abs() < 1e-6);
        assert_eq!(labels.len(), 2);
    }

    #[test]
    fn a_wide_beam_knows_every_label_with_its_probability() {
        let raw: Vec<f32> = (0..12).map(|i| (i * 7 % 11 + 1) as f32).collect();
        let probabilities: Vec<f32> =
            raw.chunks(3).flat_map(|row| row.iter().map(|x| x / row.iter().sum::<f32>())).collect();
        let mut expected: BTreeMap<Vec<usize>, f64> = BTreeMap::new();
        for number in 0..81_usize {
            let alignment: Vec<usize> = (0..4).map(|t| number / 3_usize.pow(t) % 3).collect();
            let p: f64 = alignment.iter().enumerate().map(|(t, &c)| f64::from(probabilities[t * 3 + c])).product();
            let mut label = alignment;
            label.dedup();
            label.retain(|&class| class != 1);
            *expected.entry(label).or_default() += p;
        }
        let found = beam_search(&logits(&probabilities), 3, 1, 1000);
        let found: BTreeMap<Vec<usize>, f64> = found.into_iter().collect();
        assert_eq!(found.len(), expected.len());
        for (label, p) in expected {
            assert!((found[&label].exp() - p).abs() < 1e-6, "{label:?}: {} instead of {p}", found[&label].exp());
            let direct = log_probability(&logits(&probabilities), 3, 1, &label).exp();
            assert!((direct - p).abs() < 1e-6, "{label:?}: {direct} instead of {p}");
        }
        assert_eq!(log_probability(&logits(&probabilities), 3, 1, &[0, 0, 0]), f64::NEG_INFINITY);
        assert_eq!(log_probability(&[], 3, 1, &[]), 0.0);
    }

    #[test]
    fn a_beam_of_one_still_reads() {
        let labels = beam_search(&logits(&[0.1, 0.8, 0.1, 0.8, 0.1, 0.1, 0.1, 0.1, 0.8]), 3, 0, 1);
        assert_eq!(labels.len(), 1);
        assert_eq!(labels[0].0, [1, 2]);
    }
}
