//! What a report tells of a network for vectors.

use maud::{Markup, html};
use rayon::prelude::*;

use super::search::{Hit, keep_nearest};
use super::{Evaluation, Pairs, Verification};
use crate::data::Images;
use crate::error::Result;
use crate::report::chart::{Axis, Chart, Ink, Line, Unit, readable};
use crate::report::{Tile, Told, grouped, percent, section, thumbnail};

/// Pictures that are looked for: as many whose nearest is of another class as whose nearest is of theirs.
const QUERIES: usize = 5;
/// Pictures that were found for each.
const NEIGHBOURS: usize = 7;
/// Pictures among which those to be looked for are chosen, at most.
const MOST_TRIED: usize = 2000;
/// Columns of the histogram.
const BINS: usize = 48;

/// An evaluation with what it was of.
pub(super) struct Judged<'a> {
    /// Part of the data.
    pub part: &'a str,
    /// Its images, in the evaluation's order.
    pub images: &'a Images,
    /// The results.
    pub evaluation: &'a Evaluation,
    /// Names of the classes that were trained on.
    pub trained: &'a [String],
}

/// A picture that is looked for, and what was found.
struct Answered {
    query: usize,
    hits: Vec<Hit>,
}

impl Judged<'_> {
    /// Errors: if a picture can no longer be read.
    pub fn told(&self) -> Result<Told> {
        let sections = [self.neighbours()?, self.evaluation.verification.as_ref().and_then(|v| self.pairs(v))];
        Ok(Told { tiles: self.tiles(), sections: sections.into_iter().flatten().collect(), files: Vec::new() })
    }

    fn tiles(&self) -> Vec<Tile> {
        let m = &self.evaluation.metrics;
        let queries = format!("{} {} images", grouped(m.queries as usize), self.part);
        let others = format!("at 5: {}, at 10: {}", percent(m.recall_at_5), percent(m.recall_at_10));
        let mut tiles = vec![
            Tile::new("Recall at 1", percent(m.recall_at_1), others),
            Tile::new("Mean average precision", percent(m.mean_average_precision), queries),
        ];
        if let Some(v) = &self.evaluation.verification {
            let chosen = if v.calibrated { "chosen on validation images" } else { "best for these pairs" };
            let threshold = format!("threshold {:.3}, {chosen}", v.at_threshold.threshold);
            tiles.push(Tile::new("Same or different", percent(v.accuracy), threshold));
            tiles.push(Tile::new(
                "ROC-AUC",
                percent(v.roc_auc),
                format!("equal error rate {}", percent(v.equal_error_rate)),
            ));
        }
        tiles
    }

    fn label(&self, picture: usize) -> usize {
        self.evaluation.embeddings.labels[picture]
    }

    fn is_right(&self, answered: &Answered) -> bool {
        answered.hits.first().is_some_and(|hit| self.label(hit.picture) == self.label(answered.query))
    }

    /// Wrong ones first.
    fn answered(&self) -> Vec<Answered> {
        let embeddings = &self.evaluation.embeddings;
        let counts = self.images.dataset().class_counts();
        let look = |query: usize| {
            let others =
                embeddings.similarities(query).into_iter().enumerate().filter(|&(picture, _)| picture != query);
            let mut hits: Vec<Hit> = others.map(|(picture, similarity)| Hit { picture, similarity }).collect();
            keep_nearest(&mut hits, NEIGHBOURS);
            Answered { query, hits }
        };
        let tried = embeddings.spread(MOST_TRIED).filter(|&picture| counts[self.label(picture)] > 1);
        let (right, wrong): (Vec<_>, Vec<_>) =
            tried.map(look).collect::<Vec<_>>().into_iter().partition(|a| self.is_right(a));
        let spread = |answered: Vec<Answered>| {
            let step = answered.len().div_ceil(QUERIES).max(1);
            answered.into_iter().step_by(step)
        };
        spread(wrong).chain(spread(right)).collect()
    }

    fn neighbours(&self) -> Result<Option<Markup>> {
        let mut rows = Vec::new();
        for answered in self.answered() {
            let own = self.label(answered.query);
            let mut figures = vec![self.figure(answered.query, None, true)?];
            for hit in &answered.hits {
                figures.push(self.figure(hit.picture, Some(hit.similarity), self.label(hit.picture) == own)?);
            }
            rows.push(figures);
        }
        let columns = format!("grid-template-columns:repeat({},1fr)", NEIGHBOURS + 1);
        let content = html! {
            @for row in rows { div.pictures style=(columns) { @for figure in row { (figure) } } }
        };
        let unseen = self.images.dataset().classes.iter().filter(|class| !self.trained.contains(class)).count();
        let seen = match unseen {
            0 => "Their classes were trained on, the pictures not.".to_owned(),
            n if n == self.images.dataset().classes.len() => "None of their classes was trained on.".to_owned(),
            n => format!("{n} of their {} classes were not trained on.", self.images.dataset().classes.len()),
        };
        let note = format!(
            "First a picture of the {} images, then those nearest to it, with the cosine; of another class where it is marked. {seen} \
             Where there are some whose nearest is wrong, they come first.",
            self.part
        );
        Ok(section("Neighbours", &note, content))
    }

    fn figure(&self, picture: usize, similarity: Option<f32>, right: bool) -> Result<Markup> {
        let image = self.images.image(picture)?;
        let coarse = image.size.iter().all(|&n| n < 64);
        let sample = &self.images.dataset().samples[picture];
        let (class, uri) = (&self.images.dataset().classes[sample.label], thumbnail(&image)?);
        Ok(html! {
            figure title=(sample.source.to_string()) {
                img.coarse[coarse] src=(uri) alt=(class);
                figcaption {
                    @if similarity.is_none() { b { (class) } }
                    @if let Some(similarity) = similarity {
                        @if right { (class) } @else { span.wrong { "✗ " (class) } }
                        br; (format!("{similarity:.3}"))
                    }
                }
            }
        })
    }

    fn pairs(&self, verification: &Verification) -> Option<Markup> {
        let pairs = Pairs::of(&self.evaluation.embeddings);
        let titled = [
            ("Accepted pairs (ROC)", roc(&pairs, verification)),
            ("How alike pairs are", histogram(&pairs, verification)),
        ];
        let v = verification;
        let content = html! {
            div.charts { @for (title, chart) in &titled { div { h3 { (title) } (chart.svg()) } } }
            table {
                tr { th { "falsely accepted" } th.n { "rightly accepted" } }
                @for limit in &v.tar_at_far {
                    tr { td { "at most " (limit.limit()) } td.n { (percent(limit.tar)) } }
                }
                tr {
                    td { (percent(v.at_threshold.false_accept_rate)) ", at threshold " (readable(Unit::Plain, v.at_threshold.threshold.into())) }
                    td.n { (percent(1.0 - v.at_threshold.false_reject_rate)) }
                }
            }
        };
        let note = format!(
            "Whether two pictures are of one class, told by their cosine: {} pairs of one class and {} of two.",
            grouped(v.same_pairs as usize),
            grouped(v.different_pairs as usize)
        );
        section("Same or different", &note, content)
    }
}

/// True over false accepts, these by their logarithm.
fn roc(pairs: &Pairs, verification: &Verification) -> Chart {
    /// Between points, in decimal logarithms.
    const STEP: f64 = 0.01;
    let least = 1.0 / verification.different_pairs as f64;
    let mut points: Vec<[f64; 2]> = Vec::new();
    for point in pairs.operating_points() {
        let at = [point.false_accept_rate.max(least).log10(), 1.0 - point.false_reject_rate];
        match points.last_mut() {
            Some(last) if at[0] - last[0] < STEP => last[1] = at[1],
            _ => points.push(at),
        }
    }
    let chance = (0..=40).map(|i| least.log10() * (1.0 - f64::from(i) / 40.0)).map(|x| [x, 10_f64.powf(x)]).collect();
    let point = &verification.at_threshold;
    let chosen = vec![[point.false_accept_rate.max(least).log10(), 1.0 - point.false_reject_rate]];
    Chart {
        title: "Receiver operating characteristic".into(),
        x: Axis {
            range: Some([least.log10(), 0.0]),
            ..Axis::free("share of pairs of two classes accepted", Unit::Power)
        },
        y: Axis::share("share of pairs of one class accepted"),
        lines: vec![
            Line { name: "chance".into(), ink: Ink::Ideal, points: chance },
            Line { name: "pairs of one class accepted".into(), ink: Ink::Color(0), points },
            Line { name: "threshold".into(), ink: Ink::Dots(1), points: chosen },
        ],
    }
}

/// Shares of the pairs by their cosine.
fn histogram(pairs: &Pairs, verification: &Verification) -> Chart {
    let least =
        [&pairs.same, &pairs.different].into_iter().filter_map(|side| side.last()).fold(1.0_f32, |a, &b| a.min(b));
    let width = (1.0 - f64::from(least)).max(1e-6) / BINS as f64;
    let outline = |side: &[f32]| {
        let mut counts = vec![0_usize; BINS];
        for &similarity in side {
            counts[(((f64::from(similarity - least)) / width) as usize).min(BINS - 1)] += 1;
        }
        let edge = |bin: usize| f64::from(least) + width * bin as f64;
        let share = |count: usize| count as f64 / side.len().max(1) as f64;
        let columns = counts.iter().enumerate();
        columns.flat_map(|(bin, &count)| [[edge(bin), share(count)], [edge(bin + 1), share(count)]]).collect::<Vec<_>>()
    };
    let (same, different) = (outline(&pairs.same), outline(&pairs.different));
    let highest = same.iter().chain(&different).map(|p| p[1]).fold(0.0, f64::max);
    let at = f64::from(verification.at_threshold.threshold);
    let line = |name: &str, ink, points| Line { name: name.to_owned(), ink, points };
    Chart {
        title: "Similarities of pairs".into(),
        x: Axis { range: Some([least.into(), 1.0]), ..Axis::free("cosine", Unit::Plain) },
        y: Axis::free("share of the pairs", Unit::Percent),
        lines: vec![
            line("threshold", Ink::Ideal, vec![[at, 0.0], [at, highest]]),
            line("of two classes", Ink::Color(1), different),
            line("of one class", Ink::Color(0), same),
        ],
    }
}
