use std::fs;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{self, Chart, Unit, readable};
use super::{Report, Tile, learning_curves, metric_name, pictures, tables};
use crate::error::Result;
use crate::nn::Model;

/// A page that needs nothing but itself.
///
/// Errors: if a picture can no longer be read.
pub(super) fn page(report: &Report) -> Result<Markup> {
    let name = name(report);
    let of_task = report.told.iter().flat_map(|told| told.sections.iter().cloned());
    let [seen, data, machine, settings] =
        [seen(report)?, tables::data(report), tables::machine(report)?, tables::settings(report)?];
    let sections =
        learning(report).into_iter().chain(of_task).chain([seen, data, machine, settings].into_iter().flatten());
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
                    @for section in sections { (section) }
                    footer {
                        "Written by Ocellus " (env!("CARGO_PKG_VERSION")) ". "
                        "What the network is for, and what it was made of: " a href="model_card.md" { "model card" } "."
                    }
                }
            }
        }
    })
}

/// A part of the page; none without content.
pub fn section(title: &str, note: &str, content: Markup) -> Option<Markup> {
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

fn learning(report: &Report) -> Option<Markup> {
    let charts: Vec<Chart> = learning_curves(&report.history);
    if charts.is_empty() {
        return None;
    }
    let note = "When the validation loss rises while the training loss still falls, the network is learning the pictures by heart.";
    let content = html! {
        div.charts.three { @for chart in &charts { div { (chart.svg()) } } }
    };
    section("Learning", note, content)
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
    let kind = match settings.task.as_str() {
        "classify" => "Image classification",
        "segment" => "Segmentation",
        "detect" => "Object detection",
        "embed" => "Metric learning",
        "autoencode" => "Autoencoder",
        "read" => "Text recognition",
        other => other,
    };
    html! {
        header {
            p.eyebrow { (kind) @if settings.task != "autoencode" { ", " (classes) " classes" } }
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
                @for tile in report.told.iter().flat_map(|told| &told.tiles) { (tile.markup()) }
                @if let Some(best) = report.history.best() {
                    (Tile::new("Best epoch", best.epoch.to_string(), format!("of {}", report.history.epochs.len())).markup())
                    @if report.told.is_none() && let Some(metric) = best.val_metric {
                        (Tile::new("Validation metric", percent(metric), metric_name(&report.history.metric)).markup())
                    }
                }
                @if let Some(last) = report.history.epochs.last() {
                    (Tile::new("Training time", tables::duration(last.seconds), format!("{} steps", tables::grouped(last.step as usize))).markup())
                }
            }
        }
    }
}

impl Tile {
    fn markup(&self) -> Markup {
        let Self { name, value, note } = self;
        html! {
            div.tile {
                dt { (name) }
                dd { div.big { (value) } @if !note.is_empty() { small { (note) } } }
            }
        }
    }
}

/// A share as people read it.
pub fn percent(share: f64) -> String {
    readable(Unit::Percent, share)
}

fn seen(report: &Report) -> Result<Option<Markup>> {
    let path = report.folder.path().join("train_batch.png");
    let Ok(png) = fs::read(&path) else { return Ok(None) };
    let (uri, width) = pictures::embedded_sheet(&png)?;
    let sheet = html! {
        div.wide.sheet { img src=(uri) width=(width) alt="Pictures of the first training batch with their classes"; }
    };
    let note =
        "The first training batch, after augmentation: if you cannot tell the classes here, neither can the network.";
    Ok(section("What the network sees", note, sheet))
}
