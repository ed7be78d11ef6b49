use std::fs;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{self, Unit, readable};
use super::{Judged, Report, pictures, sections, tables};
use crate::error::Result;
use crate::nn::Model;

/// A page that needs nothing but itself.
///
/// Errors: if a picture can no longer be read.
pub(super) fn page(report: &Report) -> Result<Markup> {
    let name = name(report);
    let sections = [
        Some(sections::learning(report)),
        report.judged.as_ref().map(|j| sections::answers(j, report)),
        report.judged.as_ref().map(|j| tables::classes(j, report)),
        report.judged.as_ref().map(|j| sections::thresholds(j, &report.kept.classes)),
        report.judged.as_ref().map(sections::certainty),
        report.judged.as_ref().map(|j| sections::mistakes(j, &report.kept.classes)).transpose()?,
        report.judged.as_ref().map(|j| sections::doubts(j, &report.kept.classes)).transpose()?,
        seen(report)?,
        Some(tables::data(report)),
        Some(tables::machine(report)?),
        Some(tables::settings(report)?),
    ];
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Otherwise browsers ask the network for one.
                link rel="icon" href="data:,";
                title { (name) " · Ocellus" }
                style { (PreEscaped(chart::STYLE)) (PreEscaped(include_str!("page.css"))) }
            }
            body {
                main {
                    (head(report, &name))
                    @for section in sections.into_iter().flatten().flatten() { (section) }
                    footer { "Written by Ocellus " (env!("CARGO_PKG_VERSION")) "." }
                }
            }
        }
    })
}

/// A part of the page; none without content.
pub(super) fn section(title: &str, note: &str, content: Markup) -> Option<Markup> {
    let section = || {
        html! {
            section {
                h2 { (title) }
                p.note { (note) }
                (content)
            }
        }
    };
    (!content.0.is_empty()).then(section)
}

fn name(report: &Report) -> String {
    let path = report.folder.path();
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    path.file_name().map_or_else(|| "run".to_owned(), |n| n.to_string_lossy().into_owned())
}

fn head(report: &Report, name: &str) -> Markup {
    let Model { input: [h, w, c], .. } = report.kept.model;
    let settings = &report.kept.settings;
    let classes = report.kept.classes.len();
    let kind = if settings.task == "classify" { "Image classification" } else { &settings.task };
    html! {
        header {
            p.eyebrow { (kind) ", " (classes) " classes" }
            h1 { (name) }
            p.eyebrow {
                (settings.model) " on " (h) "×" (w) "×" (c)
                @if report.facts.parameters > 0 { ", " (tables::grouped(report.facts.parameters)) " trained parameters" }
                @if !report.facts.device.is_empty() { ", on " (report.facts.device) }
            }
            @if let Some(step) = report.facts.interrupted {
                p.warning { "Interrupted after step " (step) ". " code { "ocellus train --resume" } " goes on." }
            }
            dl.tiles {
                @if let Some(judged) = &report.judged { (judgement(judged, classes)) }
                @if let Some(best) = report.history.best() {
                    (tile("Best epoch", &best.epoch.to_string(), &format!("of {}", report.history.epochs.len())))
                    @if report.judged.is_none() && let Some(metric) = best.val_metric {
                        (tile("Validation metric", &percent(metric), &report.history.metric))
                    }
                }
                @if let Some(last) = report.history.epochs.last() {
                    (tile("Training time", &tables::duration(last.seconds), &format!("{} steps", tables::grouped(last.step as usize))))
                }
            }
        }
    }
}

fn judgement(judged: &Judged, classes: usize) -> Markup {
    let (e, m) = (judged.evaluation, &judged.evaluation.metrics);
    let interval =
        |i: Option<[f64; 2]>| i.map_or(String::new(), |[a, b]| format!("95 %: {:.1} to {:.1} %", 100.0 * a, 100.0 * b));
    let intervals = e.intervals.as_ref();
    let title = |what: &str| {
        let mut letters = format!("{} {what}", judged.part).chars().collect::<Vec<_>>();
        letters[0] = letters[0].to_ascii_uppercase();
        letters.into_iter().collect::<String>()
    };
    html! {
        (tile(&title("accuracy"), &percent(m.accuracy), &interval(intervals.and_then(|i| i.accuracy))))
        (tile("Loss", &readable(Unit::Plain, e.loss), &format!("{} images", tables::grouped(e.samples as usize))))
        (tile("Mean F1", &percent(m.f1), "over the classes"))
        @if let Some(area) = m.roc_auc {
            (tile("ROC-AUC", &percent(area), &interval(intervals.and_then(|i| i.roc_auc))))
        }
        @if classes > 5 { (tile("Top 5", &percent(m.top5_accuracy), "class among the five first")) }
        (tile("Calibration error", &percent(m.calibration_error), "expected, 15 bins"))
    }
}

fn tile(name: &str, value: &str, note: &str) -> Markup {
    html! {
        div.tile {
            dt { (name) }
            dd { div.big { (value) } @if !note.is_empty() { small { (note) } } }
        }
    }
}

pub(super) fn percent(share: f64) -> String {
    readable(Unit::Percent, share)
}

fn seen(report: &Report) -> Result<Option<Option<Markup>>> {
    let path = report.folder.path().join("train_batch.png");
    let Ok(png) = fs::read(&path) else { return Ok(None) };
    let (uri, width) = pictures::embedded_sheet(&png)?;
    let sheet = html! {
        div.wide.sheet { img src=(uri) width=(width) alt="Pictures of the first training batch with their classes"; }
    };
    let note =
        "The first training batch, after augmentation: if you cannot tell the classes here, neither can the network.";
    Ok(Some(section("What the network sees", note, sheet)))
}
