use maud::{Markup, html};

use super::{Evaluation, Reading};
use crate::data::{Canvas, Image, Images};
use crate::error::{Error, Result};
use crate::report::chart::{Unit, readable};
use crate::report::{Tile, Told, folded, grouped, line_picture, percent, section};

/// Pictures that are shown.
const PICTURES: usize = 32;
/// Kinds of mistakes that are listed.
const CONFUSIONS: usize = 20;

/// Results as a table for people.
pub(super) fn lines(evaluation: &Evaluation) -> Vec<String> {
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let m = &evaluation.metrics;
    let mut lines = vec![
        format!("samples               {}", evaluation.samples),
        format!("loss                  {:.4}", evaluation.loss),
        format!("character error rate  {}   of {} symbols", percent(m.character_error_rate), m.symbols),
        format!("                      {} wrong, {} missing, {} too many", m.substitutions, m.deletions, m.insertions),
        format!("character accuracy    {}", percent(m.character_accuracy)),
        format!("whole texts           {}", percent(m.word_accuracy)),
    ];
    const SHOWN: usize = 5;
    let frequent: Vec<String> = evaluation
        .confusions
        .iter()
        .take(SHOWN)
        .map(|c| format!("{} → {} ({}x)", shown(&c.symbol), shown(&c.read), c.count))
        .collect();
    if !frequent.is_empty() {
        lines.push(format!("most frequent         {}", frequent.join(", ")));
    }
    lines
}

/// A symbol, or that there is none.
fn shown(symbol: &Option<String>) -> &str {
    match symbol.as_deref() {
        None => "nothing",
        Some(" ") => "space",
        Some(symbol) => symbol,
    }
}

/// What a report tells of reading.
///
/// Errors: if a picture can no longer be read.
pub(super) fn told(evaluation: &Evaluation, part: &str, images: &Images) -> Result<Told> {
    let m = &evaluation.metrics;
    let tiles = vec![
        Tile::new("Character error rate", percent(m.character_error_rate), format!("{part}, of {} symbols", m.symbols)),
        Tile::new("Whole texts", percent(m.word_accuracy), "read without a mistake"),
        Tile::new(
            "Loss",
            readable(Unit::Plain, evaluation.loss),
            format!("{} pictures", grouped(evaluation.readings.len())),
        ),
        Tile::new(
            "Mistakes",
            grouped((m.substitutions + m.deletions + m.insertions) as usize),
            format!("{} wrong, {} missing, {} too many", m.substitutions, m.deletions, m.insertions),
        ),
    ];
    let sections = [
        section(
            "Worst readings",
            "Each picture with its text and what was read: those with the most mistakes first, then the least probable readings.",
            gallery(evaluation, images)?,
        ),
        section(
            "Symbols",
            "Recall: how many were read. Precision: how many readings of a symbol are right.",
            symbols(evaluation),
        ),
    ];
    let files = vec![("readings.csv", table(evaluation, images)?)];
    Ok(Told { tiles, sections: sections.into_iter().flatten().collect(), files })
}

/// Places of readings, the worst first.
fn worst(readings: &[Reading]) -> Vec<usize> {
    let share = |reading: &Reading| reading.mistakes as f64 / reading.text.chars().count().max(1) as f64;
    let mut order: Vec<usize> = (0..readings.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&readings[a], &readings[b]);
        share(b).total_cmp(&share(a)).then(a.score.total_cmp(&b.score))
    });
    order
}

fn gallery(evaluation: &Evaluation, images: &Images) -> Result<Markup> {
    let figures: Vec<Markup> = worst(&evaluation.readings)
        .into_iter()
        .take(PICTURES)
        .map(|index| figure(&evaluation.readings[index], images, index))
        .collect::<Result<_>>()?;
    Ok(html! { @if !figures.is_empty() { div.lines { @for figure in &figures { (figure) } } } })
}

fn figure(reading: &Reading, images: &Images, index: usize) -> Result<Markup> {
    let source = &images.dataset().samples[index].source;
    let uri = line_picture(&without_padding(images.image(index)?, images.canvas(), source.header()?.size))?;
    let Reading { text, read, score, mistakes } = reading;
    let sure = format!("{:.1} %", 100.0 * score);
    Ok(html! {
        figure title=(source.to_string()) {
            img src=(uri) alt=(format!("{text}, read as {read}"));
            figcaption {
                b { (text) }
                @if *mistakes > 0 { " " span.wrong { "→ " (if read.is_empty() { "nothing" } else { read }) } }
                " " (sure)
            }
        }
    })
}

/// The part of a fitted picture in which something stands.
fn without_padding(image: Image, canvas: Canvas, size: [usize; 2]) -> Image {
    let ([height, width], channels, covered) = (image.size, image.channels, canvas.covered(size));
    let rows = image.pixels.chunks_exact(width * channels);
    let pixels = rows.flat_map(|row| row[..covered * channels].iter().copied()).collect();
    Image { size: [height, covered], channels, pixels }
}

fn symbols(evaluation: &Evaluation) -> Markup {
    let share = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), percent);
    let of_each = html! {
        table {
            tr { th { "symbol" } th.n { "precision" } th.n { "recall" } th.n { "occurrences" } }
            @for (name, s) in &evaluation.per_class {
                tr {
                    td { (shown(&Some(name.clone()))) }
                    td.n { (share(s.precision)) }
                    td.n { (share(s.recall)) }
                    td.n { (grouped(s.support as usize)) }
                }
            }
        }
    };
    html! {
        div.split {
            div.wide { (folded(evaluation.per_class.len(), "All symbols", of_each)) }
            @if !evaluation.confusions.is_empty() {
                div {
                    h3 { "Most frequent mistakes" }
                    table {
                        tr { th { "symbol" } th { "read as" } th.n { "times" } }
                        @for c in evaluation.confusions.iter().take(CONFUSIONS) {
                            tr { td { (shown(&c.symbol)) } td { (shown(&c.read)) } td.n { (c.count) } }
                        }
                    }
                }
            }
        }
    }
}

/// Every reading, as CSV.
fn table(evaluation: &Evaluation, images: &Images) -> Result<Vec<u8>> {
    let wrong = |e: &dyn std::fmt::Display| Error::config(format!("readings.csv: {e}"));
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(["path", "text", "read", "score", "mistakes"]).map_err(|e| wrong(&e))?;
    for (reading, sample) in evaluation.readings.iter().zip(&images.dataset().samples) {
        let Reading { text, read, score, mistakes } = reading;
        let (path, score, mistakes) = (sample.source.to_string(), score.to_string(), mistakes.to_string());
        table.write_record([&path, text, read, &score, &mistakes]).map_err(|e| wrong(&e))?;
    }
    table.into_inner().map_err(|e| wrong(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Fit;

    #[test]
    fn the_worst_come_first() {
        let reading = |text: &str, mistakes, score| Reading { text: text.into(), read: String::new(), score, mistakes };
        let readings = [reading("abcd", 1, 0.2), reading("ab", 0, 0.4), reading("ab", 1, 0.9), reading("ab", 0, 0.3)];
        assert_eq!(worst(&readings), [2, 0, 3, 1]);
    }

    #[test]
    fn padding_is_not_shown() {
        let canvas = Canvas { shape: [2, 4, 1], fit: Fit::Line };
        let image = Image { size: [2, 4], channels: 1, pixels: vec![1, 2, 9, 9, 3, 4, 9, 9] };
        let shown = without_padding(image, canvas, [4, 4]);
        assert_eq!((shown.size, shown.pixels), ([2, 2], vec![1, 2, 3, 4]));
    }
}
