use std::collections::BTreeMap;

use serde::Serialize;

use super::{Edit, edits};

/// Results of a reader on a set.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// `read`.
    pub task: &'static str,
    /// How many pictures.
    pub samples: u64,
    /// Mean loss.
    pub loss: f64,
    /// The summary.
    pub metrics: Metrics,
    /// By symbol.
    pub per_class: BTreeMap<String, SymbolMetrics>,
    /// What was mistaken for what, the most frequent first.
    pub confusions: Vec<Confusion>,
    /// Picture by picture.
    #[serde(skip)]
    pub readings: Vec<Reading>,
}

/// How well lines of text are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Metrics {
    /// One minus the character error rate; below 0 where more is read than stands there.
    pub character_accuracy: f64,
    /// Symbols to change, add and take away on the shortest way from the texts to the readings, for each symbol of the texts.
    pub character_error_rate: f64,
    /// Share of the pictures that are read without a mistake.
    pub word_accuracy: f64,
    /// Symbols that stand in the pictures.
    pub symbols: u64,
    /// Of these, read as others.
    pub substitutions: u64,
    /// Of these, passed over.
    pub deletions: u64,
    /// Symbols that were read besides.
    pub insertions: u64,
}

/// How well one symbol is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SymbolMetrics {
    /// Share of its readings that are right; none without any.
    pub precision: Option<f64>,
    /// Share of its occurrences that are read; none without any.
    pub recall: Option<f64>,
    /// How often it stands there.
    pub support: u64,
}

/// A kind of mistake.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confusion {
    /// The symbol that stands there; none, if one was read where none is.
    pub symbol: Option<String>,
    /// The one that was read; none, if it was passed over.
    pub read: Option<String>,
    /// How often.
    pub count: u64,
}

/// What was made of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What stands there.
    pub text: String,
    /// What was read.
    pub read: String,
    /// Probability of the reading.
    pub score: f64,
    /// How many symbols are wrong, missing or too many.
    pub mistakes: usize,
}

/// Adds up readings, picture by picture.
pub(super) struct Tally<'a> {
    symbols: &'a [String],
    /// How often each was read right.
    right: Vec<u64>,
    /// How often what stands there (`None`: nothing) was read as something else (`None`: not at all).
    mistaken: BTreeMap<(Option<usize>, Option<usize>), u64>,
    loss: f64,
    readings: Vec<Reading>,
}

impl<'a> Tally<'a> {
    /// Nothing yet, of these symbols.
    pub fn new(symbols: &'a [String]) -> Self {
        let right = vec![0; symbols.len()];
        Self { symbols, right, mistaken: BTreeMap::new(), loss: 0.0, readings: Vec::new() }
    }

    /// Counts one picture: its text and what was read, as symbols' numbers.
    pub fn add(&mut self, text: &[usize], read: &[usize], score: f64, loss: f32) {
        let edits = edits(text, read);
        for &edit in &edits {
            let pair = match edit {
                Edit::Keep(symbol) => {
                    self.right[symbol] += 1;
                    continue;
                }
                Edit::Substitute(symbol, other) => (Some(symbol), Some(other)),
                Edit::Delete(symbol) => (Some(symbol), None),
                Edit::Insert(other) => (None, Some(other)),
            };
            *self.mistaken.entry(pair).or_default() += 1;
        }
        self.loss += f64::from(loss);
        let [text, read] = [text, read].map(|numbers| numbers.iter().map(|&at| self.symbols[at].as_str()).collect());
        let mistakes = edits.into_iter().filter(|edit| edit.is_mistake()).count();
        self.readings.push(Reading { text, read, score, mistakes });
    }

    /// The results.
    pub fn finish(self) -> Evaluation {
        let samples = self.readings.len();
        let whole = self.readings.iter().filter(|reading| reading.mistakes == 0).count();
        let count = |wanted: &dyn Fn(Option<usize>, Option<usize>) -> bool| -> u64 {
            self.mistaken.iter().filter(|((text, read), _)| wanted(*text, *read)).map(|(_, count)| count).sum()
        };
        let [substitutions, deletions, insertions] = [
            count(&|text, read| text.is_some() && read.is_some()),
            count(&|_, read| read.is_none()),
            count(&|text, _| text.is_none()),
        ];
        let symbols = self.right.iter().sum::<u64>() + substitutions + deletions;
        let rate = (substitutions + deletions + insertions) as f64 / symbols.max(1) as f64;
        let of_symbol = |at: usize| {
            let right = self.right[at];
            let share = |all: u64| (all > 0).then(|| right as f64 / all as f64);
            let support = right + count(&|text, _| text == Some(at));
            let precision = share(right + count(&|_, read| read == Some(at)));
            SymbolMetrics { precision, recall: share(support), support }
        };
        let name = |at: Option<usize>| at.map(|at| self.symbols[at].clone());
        let mut confusions: Vec<Confusion> = self
            .mistaken
            .iter()
            .map(|(&(text, read), &count)| Confusion { symbol: name(text), read: name(read), count })
            .collect();
        confusions.sort_by_key(|confusion| std::cmp::Reverse(confusion.count));
        Evaluation {
            task: "read",
            samples: samples as u64,
            loss: self.loss / samples.max(1) as f64,
            metrics: Metrics {
                character_accuracy: 1.0 - rate,
                character_error_rate: rate,
                word_accuracy: whole as f64 / samples.max(1) as f64,
                symbols,
                substitutions,
                deletions,
                insertions,
            },
            per_class: self.symbols.iter().cloned().zip((0..self.symbols.len()).map(of_symbol)).collect(),
            confusions,
            readings: self.readings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_counted_by_kind_and_symbol() {
        let symbols = ["a", "b", "c"].map(str::to_owned);
        let mut tally = Tally::new(&symbols);
        tally.add(&[0, 1, 2], &[0, 1, 2], 0.9, 0.1);
        tally.add(&[0, 1, 1], &[0, 2, 1], 0.5, 0.3);
        tally.add(&[1, 0], &[1], 0.4, 0.2);
        tally.add(&[2, 2], &[2, 2, 0], 0.3, 0.4);
        let found = tally.finish();
        assert_eq!((found.samples, found.metrics.symbols), (4, 10));
        assert!((found.loss - 0.25).abs() < 1e-6);
        let Metrics { substitutions, deletions, insertions, .. } = found.metrics;
        assert_eq!([substitutions, deletions, insertions], [1, 1, 1]);
        assert!((found.metrics.character_error_rate - 0.3).abs() < 1e-12);
        assert!((found.metrics.character_accuracy - 0.7).abs() < 1e-12);
        assert_eq!(found.metrics.word_accuracy, 0.25);
        let a = found.per_class["a"];
        assert_eq!((a.support, a.recall, a.precision), (3, Some(2.0 / 3.0), Some(2.0 / 3.0)));
        let b = found.per_class["b"];
        assert_eq!((b.support, b.recall, b.precision), (4, Some(0.75), Some(1.0)));
        let pairs = found.confusions.iter().map(|c| (c.symbol.as_deref(), c.read.as_deref())).collect::<Vec<_>>();
        assert_eq!(pairs, [(None, Some("a")), (Some("a"), None), (Some("b"), Some("c"))]);
        let mistakes = found.readings.iter().map(|reading| (reading.read.as_str(), reading.mistakes));
        assert_eq!(mistakes.collect::<Vec<_>>(), [("abc", 0), ("acb", 1), ("b", 1), ("cca", 1)]);
    }

    #[test]
    fn of_nothing_nothing_is_wrong() {
        let symbols = ["a".to_owned()];
        let found = Tally::new(&symbols).finish();
        assert_eq!((found.metrics.character_error_rate, found.metrics.word_accuracy), (0.0, 0.0));
        assert_eq!(found.per_class["a"], SymbolMetrics::default());
    }
}
