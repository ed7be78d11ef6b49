//! The confusion matrix as a picture, and what of it matters most.

use maud::{Markup, html};

use crate::tasks::classify::Confusion;

/// Classes up to which cells hold their numbers.
const MOST_WITH_NUMBERS: usize = 12;
/// Classes up to which rows and columns are named.
const MOST_NAMED: usize = 40;
/// Letters of a name.
const NAME: usize = 14;

/// The matrix as SVG, with its size: a row is a class, a column an answer, a cell the darker the larger its share of the
/// row. Right answers are blue, mistakes orange.
pub fn matrix(confusion: &Confusion, classes: &[String]) -> (Markup, [f64; 2]) {
    let rows = confusion.rows();
    let n = rows.len();
    let cell = match n {
        0..=4 => 72.0,
        5..=MOST_WITH_NUMBERS => 46.0,
        13..=MOST_NAMED => 16.0,
        _ => 640.0 / n as f64,
    };
    let longest = classes.iter().map(|c| c.chars().count().min(NAME)).max().unwrap_or(0) as f64;
    let margin = if n <= MOST_NAMED { 26.0 + 6.4 * longest } else { 24.0 };
    let [width, height] = [margin + cell * n as f64 + 34.0, margin + cell * n as f64 + 4.0];
    let middle = |i: usize| margin + cell * (i as f64 + 0.5);
    let svg = html! {
        svg.matrix viewBox=(format!("0 0 {width:.0} {height:.0}")) style=(format!("max-width:{width:.0}px")) role="img" aria-label="Confusion matrix" xmlns="http://www.w3.org/2000/svg" {
            text.label x="0" y="12" { "class ↓  answer →" }
            @if n <= MOST_NAMED {
                @for (i, name) in classes.iter().enumerate() {
                    text.label x=(margin - 8.0) y=(format!("{:.1}", middle(i) + 4.0)) text-anchor="end" { (short(name)) }
                    text.label transform=(format!("translate({:.1} {:.1}) rotate(-45)", middle(i), margin - 8.0)) { (short(name)) }
                }
            }
            @for (i, row) in rows.iter().enumerate() {
                @let total = row.iter().sum::<u64>();
                @for (j, &count) in row.iter().enumerate() {
                    @let share = count as f64 / total.max(1) as f64;
                    g {
                        title { (format!("{} taken for {}: {count} of {total} ({:.1} %)", classes[i], classes[j], 100.0 * share)) }
                        rect.cell.hit[i == j].miss[i != j] x=(format!("{:.2}", middle(j) - cell / 2.0)) y=(format!("{:.2}", middle(i) - cell / 2.0)) width=(format!("{cell:.2}")) height=(format!("{cell:.2}")) fill-opacity=(format!("{:.3}", 0.04 + 0.96 * share)) {}
                        @if n <= MOST_WITH_NUMBERS && count > 0 {
                            @let class = if share > 0.5 { "on" } else { "off" };
                            text class=(class) x=(middle(j)) y=(middle(i) - 1.0) text-anchor="middle" { (count) }
                            text class=(class) x=(middle(j)) y=(middle(i) + 12.0) text-anchor="middle" { (format!("{:.0} %", 100.0 * share)) }
                        }
                    }
                }
            }
        }
    };
    (svg, [width, height])
}

/// The first letters of a name.
fn short(name: &str) -> String {
    if name.chars().count() <= NAME { name.to_owned() } else { name.chars().take(NAME - 1).chain(['…']).collect() }
}

/// A class that was taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistaken {
    /// The true class.
    pub class: usize,
    /// The answer.
    pub answer: usize,
    /// How often.
    pub count: u64,
    /// Images of the class.
    pub of: u64,
}

/// The most frequent mistakes, at most `most`; equals in the order of classes.
pub fn most_confused(confusion: &Confusion, most: usize) -> Vec<Mistaken> {
    let mut all = Vec::new();
    for (class, row) in confusion.rows().iter().enumerate() {
        let of = row.iter().sum();
        let mistakes = row.iter().enumerate().filter(|&(answer, &count)| answer != class && count > 0);
        all.extend(mistakes.map(|(answer, &count)| Mistaken { class, answer, count, of }));
    }
    all.sort_by_key(|m| std::cmp::Reverse(m.count));
    all.truncate(most);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confusion() -> Confusion {
        let mut confusion = Confusion::new(3);
        for (class, answer) in [(0, 0), (0, 0), (0, 1), (2, 1), (2, 1), (2, 2), (1, 1)] {
            confusion.add(class, answer);
        }
        confusion
    }

    #[test]
    fn the_most_frequent_mistakes_come_first() {
        let found = most_confused(&confusion(), 5);
        let first = Mistaken { class: 2, answer: 1, count: 2, of: 3 };
        assert_eq!(found, [first, Mistaken { class: 0, answer: 1, count: 1, of: 3 }]);
    }

    #[test]
    fn cells_hold_counts_and_shares_of_rows() {
        let names = ["a", "b", "<c>"].map(str::to_owned);
        let text = matrix(&confusion(), &names).0.into_string();
        assert!(text.contains("&lt;c&gt; taken for b: 2 of 3 (66.7 %)"), "{text}");
        assert!(text.contains(">67 %<"));
        assert_eq!(text.matches("<rect").count(), 9);
    }
}
