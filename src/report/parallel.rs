//! Parallel coordinates: how settings go with results.

use maud::{Markup, html};

/// A column: a setting, or the result.
#[derive(Clone, Debug)]
pub struct Column {
    /// What it is.
    pub name: String,
    /// One for each line; `None` where there is none.
    pub values: Vec<Option<String>>,
}

/// Where a column's values stand, from 0 at the bottom to 1 at the top.
struct Scale {
    /// Text and place.
    marks: Vec<(String, f64)>,
    places: Vec<Option<f64>>,
}

const GAP: f64 = 130.0;
const HEIGHT: f64 = 300.0;
/// Left and right, top, bottom.
const MARGIN: [f64; 3] = [56.0, 40.0, 24.0];

impl Column {
    /// Numbers stand by their size, by its logarithm where they span more than a factor of 20; other texts in order.
    fn scale(&self) -> Scale {
        let given: Vec<&String> = self.values.iter().flatten().collect();
        let numbers: Option<Vec<f64>> =
            given.iter().map(|text| text.parse().ok().filter(|n: &f64| n.is_finite())).collect();
        let (Some(numbers), true) = (numbers, given.len() > 1) else { return self.by_name() };
        let bounds = |numbers: &[f64]| numbers.iter().fold([f64::MAX, f64::MIN], |[a, b], &n| [a.min(n), b.max(n)]);
        let [least, most] = bounds(&numbers);
        let curve = |n: f64| if least > 0.0 && most > 20.0 * least { n.ln() } else { n };
        let [low, high] = [least, most].map(curve);
        let share = |n: f64| if high > low { (curve(n) - low) / (high - low) } else { 0.5 };
        let place = |text: &Option<String>| Some(share(text.as_ref()?.parse().ok()?));
        let mut marks = vec![(short(least), share(least))];
        if most > least {
            marks.push((short(most), share(most)));
        }
        Scale { marks, places: self.values.iter().map(place).collect() }
    }

    fn by_name(&self) -> Scale {
        let names: std::collections::BTreeSet<&String> = self.values.iter().flatten().collect();
        let n = names.len();
        let share = |i: usize| if n > 1 { i as f64 / (n - 1) as f64 } else { 0.5 };
        let place = |text: &Option<String>| names.iter().position(|name| Some(*name) == text.as_ref()).map(share);
        let places = self.values.iter().map(place).collect();
        Scale { marks: names.iter().enumerate().map(|(i, name)| ((*name).clone(), share(i))).collect(), places }
    }
}

/// A line for each trial through its values in all columns, the darker the higher it stands in the last; with its size.
pub fn parallel(columns: &[Column]) -> (Markup, [f64; 2]) {
    let [side, top, bottom] = MARGIN;
    let size = [2.0 * side + GAP * (columns.len().max(1) - 1) as f64, HEIGHT];
    let scales: Vec<Scale> = columns.iter().map(Column::scale).collect();
    let x = |i: usize| side + GAP * i as f64;
    let y = |share: f64| HEIGHT - bottom - share * (HEIGHT - top - bottom);
    let result = |line: usize| scales.last().and_then(|s| s.places[line]);
    let mut lines: Vec<usize> = (0..columns.first().map_or(0, |c| c.values.len())).collect();
    lines.sort_by(|&a, &b| result(a).partial_cmp(&result(b)).unwrap_or(std::cmp::Ordering::Equal));
    let path = |line: usize| {
        let points =
            scales.iter().enumerate().filter_map(|(i, s)| Some(format!("{:.1} {:.1}", x(i), y(s.places[line]?))));
        format!("M{}", points.collect::<Vec<_>>().join("L"))
    };
    let tip = |line: usize| {
        let told = columns.iter().filter_map(|c| Some(format!("{} {}", c.name, c.values[line].as_ref()?)));
        told.collect::<Vec<_>>().join(", ")
    };
    let svg = html! {
        svg viewBox=(format!("0 0 {} {}", size[0], size[1])) role="img" aria-label="Settings and results" xmlns="http://www.w3.org/2000/svg" {
            @for &line in &lines {
                @let share = result(line).unwrap_or(0.0);
                g.c0[share < 1.0].c1[share >= 1.0] {
                    path.line d=(path(line)) stroke-opacity=(format!("{:.2}", 0.15 + 0.85 * share * share)) { title { (tip(line)) } }
                }
            }
            @for (i, (column, scale)) in columns.iter().zip(&scales).enumerate() {
                path.axis d=(format!("M{:.1} {:.1}V{:.1}", x(i), y(1.0), y(0.0))) {}
                text.label x=(x(i)) y="16" text-anchor="middle" { (column.name) }
                @for (text, share) in &scale.marks {
                    text.number x=(x(i) - 6.0) y=(format!("{:.1}", y(*share) + 3.5)) text-anchor="end" { (text) }
                }
            }
        }
    };
    (svg, size)
}

fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-2 {
        format!("{value:.1e}")
    } else {
        format!("{:.4}", value).trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[&str]) -> Column {
        Column { name: "it".into(), values: values.iter().map(|v| (!v.is_empty()).then(|| (*v).to_owned())).collect() }
    }

    #[test]
    fn values_stand_where_they_belong() {
        assert_eq!(column(&["1", "3", "", "2"]).scale().places, [Some(0.0), Some(1.0), None, Some(0.5)]);
        let places = column(&["0.0001", "0.01", "0.001"]).scale().places;
        assert!((places[2].unwrap() - 0.5).abs() < 1e-9, "by logarithm: {places:?}");
        assert_eq!(column(&["none", "light", "none"]).scale().places, [Some(1.0), Some(0.0), Some(1.0)]);
        assert_eq!(column(&["32", "32"]).scale().places, [Some(0.5); 2]);
    }

    #[test]
    fn there_is_a_line_for_each_trial() {
        let columns = [column(&["0.1", "0.2"]), column(&["a", "b"]), column(&["0.5", ""])];
        let text = parallel(&columns).0.into_string();
        assert_eq!((text.matches("class=\"line\"").count(), text.matches("class=\"axis\"").count()), (2, 3));
        assert!(!text.contains("NaN"));
    }
}
