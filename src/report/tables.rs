use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Serialize;

use super::Report;
use super::page::section;
use crate::data::Finding;
use crate::error::{Error, Result};

/// Rows above which a table is folded.
const MOST_ROWS: usize = 40;
/// Reasons that are listed.
const MOST_REASONS: usize = 10;

/// A table that opens on demand if it has many rows.
pub fn folded(rows: usize, title: &str, table: Markup) -> Markup {
    html! {
        @if rows > MOST_ROWS { details { summary { (title) } (table) } } @else { (table) }
    }
}

pub(super) fn data(report: &Report) -> Option<Markup> {
    let parts: Vec<_> = report.facts.data.iter().filter(|p| !p.counts.is_empty()).collect();
    if parts.is_empty() {
        return None;
    }
    let classes = &report.kept.classes;
    let most = parts[0].counts.iter().copied().max().unwrap_or(0).max(1);
    let table = html! {
        table {
            tr { th { "class" } th { } @for part in &parts { th.n { (part.name) } } }
            @for (i, class) in classes.iter().enumerate() {
                tr {
                    td { (class) }
                    td style="width:34%" { span.bar style=(format!("width:{:.1}%", 100.0 * parts[0].counts[i] as f64 / most as f64)) {} }
                    @for part in &parts { td.n { (grouped(part.counts[i])) } }
                }
            }
            @for (at, part) in parts.iter().enumerate() {
                @for (class, count) in &part.unseen {
                    tr {
                        td { (class) }
                        td {}
                        @for other in 0..parts.len() { td.n { @if other == at { (grouped(*count)) } } }
                    }
                }
            }
            tr {
                td { b { "all" } }
                td {}
                @for part in &parts { td.n { b { (grouped(part.images())) } } }
            }
        }
    };
    let skipped: Vec<String> = report.facts.data.iter().flat_map(|p| p.skipped.clone()).collect();
    let content = html! {
        div.wide { (folded(classes.len(), "All classes", table)) }
        @if !skipped.is_empty() {
            (listed(&format!("{} files could not be read and were left out", skipped.len()), &skipped))
        }
        @for Finding { title, items, .. } in &report.facts.findings { (listed(title, items)) }
    };
    let [h, w] = report.kept.settings.image_size;
    let from =
        report.kept.settings.data.as_ref().map_or("the bundled sample set".to_owned(), |p| p.display().to_string());
    section("Data", &format!("From {from}, at {h}×{w} pixels."), content)
}

/// Items that open on demand.
fn listed(title: &str, items: &[String]) -> Markup {
    html! {
        details {
            summary { (title) }
            ul { @for item in items.iter().take(MOST_REASONS) { li { (item) } } }
            @if items.len() > MOST_REASONS { p.note { "and " (items.len() - MOST_REASONS) " more" } }
        }
    }
}

pub(super) fn machine(report: &Report) -> Result<Option<Markup>> {
    let epochs = &report.history.epochs;
    let mut facts: Vec<(&str, String)> = Vec::new();
    if !report.facts.device.is_empty() {
        facts.push(("device", report.facts.device.clone()));
    }
    if !epochs.is_empty() {
        let mut rates: Vec<f64> = epochs.iter().map(|e| e.images_per_s).collect();
        rates.sort_by(f64::total_cmp);
        facts.push(("training images a second, median epoch", grouped(rates[rates.len() / 2].round() as usize)));
    }
    let waiting = &report.facts.waiting;
    if !waiting.is_empty() {
        let mean = waiting.iter().map(|w| w.1).sum::<f64>() / waiting.len() as f64;
        facts.push(("share of training time waiting for data", format!("{:.1} %", 100.0 * mean)));
    }
    let kernels = kernels(report)?;
    let content = html! {
        @if !facts.is_empty() {
            table.settings { @for (name, value) in &facts { tr { td { (name) } td.n { (value) } } } }
        }
        @if !kernels.is_empty() {
            details {
                summary { "Kernels chosen for " (kernels.len()) " kinds of work" }
                div.wide {
                    table {
                        tr { th { "op" } th { "inputs" } th { "variant" } th.n { "ms" } }
                        @for [op, inputs, variant, ms] in &kernels {
                            tr { td { (op) } td { (inputs) } td { (variant) } td.n { (ms) } }
                        }
                    }
                }
            }
        }
    };
    Ok(section("Speed", "Where the time went.", content))
}

/// Op, inputs, variant, and its time where it was measured.
fn kernels(report: &Report) -> Result<Vec<[String; 4]>> {
    let choices = report.folder.choices()?.map_or_else(BTreeMap::new, |c| c.kernels);
    let row = |(key, known): (String, crate::gpu::Known)| {
        let op = key.rsplit_once('-').map_or(key.as_str(), |(op, _)| op).to_owned();
        let ms = known.measured_ms.get(&known.variant).map_or(String::new(), |ms| format!("{ms:.3}"));
        [op, known.inputs, known.variant, ms]
    };
    Ok(choices.into_iter().map(row).collect())
}

pub(super) fn settings(report: &Report) -> Result<Option<Markup>> {
    let rows = flatten(&report.kept.settings)?;
    let table = html! {
        table.settings { @for (name, value) in &rows { tr { td { (name) } td { (value) } } } }
    };
    let note = "As in config.toml: ocellus train --config RUN/config.toml repeats the run.";
    Ok(section("Settings", note, table))
}

/// Settings as text, under dotted names.
///
/// Errors: if they do not fit TOML.
pub fn flatten(settings: &impl Serialize) -> Result<Vec<(String, String)>> {
    fn walk(prefix: &str, value: &toml::Value, rows: &mut Vec<(String, String)>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&name, value, rows);
                }
            }
            toml::Value::String(text) => rows.push((prefix.to_owned(), text.clone())),
            // Settings of 32 bits have no more than seven digits to tell.
            toml::Value::Float(x) if f64::from(*x as f32) == *x => {
                rows.push((prefix.to_owned(), (*x as f32).to_string()))
            }
            other => rows.push((prefix.to_owned(), other.to_string())),
        }
    }
    let value =
        toml::Value::try_from(settings).map_err(|e| Error::config(format!("the settings do not fit TOML: {e}")))?;
    let mut rows = Vec::new();
    walk("", &value, &mut rows);
    Ok(rows)
}

/// With narrow spaces between groups of three digits.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// As a person would say it.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_for_people() {
        assert_eq!([5, 1234, 12345, 1_234_567].map(grouped), ["5", "1234", "12\u{202f}345", "1\u{202f}234\u{202f}567"]);
        assert_eq!([1.25, 59.4, 61.0, 7325.0].map(duration), ["1.2 s", "59 s", "1 min 01 s", "2 h 02 min"]);
    }

    #[test]
    fn settings_have_dotted_names() {
        let value: toml::Value = toml::from_str("lr = 0.1\n[optimizer]\nname = \"sgd\"\nnesterov = true").unwrap();
        let rows = flatten(&value).unwrap();
        assert_eq!(
            rows.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            ["lr=0.1", "optimizer.name=sgd", "optimizer.nesterov=true"]
        );
    }
}
