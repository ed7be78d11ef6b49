use maud::{Markup, html};

use super::{CLASSES, Evaluation};
use crate::data::{Image, Images};
use crate::error::Result;
use crate::report::chart::{Axis, Chart, Ink, Line, Unit};
use crate::report::{Tile, Told, percent, section, thumbnail};

/// Pictures of a kind.
const PICTURES: usize = 8;
/// Bars of a histogram.
const BINS: usize = 40;

/// What a report tells of pictures made again.
///
/// Errors: if a picture can no longer be read.
pub(super) fn told(evaluation: &Evaluation, part: &str, images: &Images) -> Result<Told> {
    let m = &evaluation.metrics;
    let mut tiles = vec![
        Tile::new("Explained variance", percent(m.explained_variance), format!("{part} pictures")),
        Tile::new("PSNR", format!("{:.2} dB", m.psnr), format!("mean squared error {:.5}", m.mse)),
    ];
    if let Some(area) = m.anomaly_auc {
        tiles.push(Tile::new("Anomaly ROC-AUC", percent(area), format!("{} anomalies", evaluation.anomalies)));
    }
    let mut order: Vec<usize> = (0..evaluation.errors.len()).collect();
    order.sort_by(|&a, &b| evaluation.errors[b].total_cmp(&evaluation.errors[a]));
    let worst = &order[..order.len().min(PICTURES)];
    let middle = order.len().saturating_sub(PICTURES) / 2;
    let typical = &order[middle..order.len().min(middle + PICTURES)];
    let sections = [
        section("Errors", "How far pictures made again are from what they were.", errors(evaluation)),
        section("Largest errors", TRIPLE, gallery(evaluation, images, worst)?),
        section("Typical", TRIPLE, gallery(evaluation, images, typical)?),
    ];
    Ok(Told { tiles, sections: sections.into_iter().flatten().collect(), files: Vec::new() })
}

const TRIPLE: &str = "The picture, what was made of it, and how they differ.";

fn errors(evaluation: &Evaluation) -> Markup {
    let roots: Vec<f64> = evaluation.errors.iter().map(|&e| f64::from(e).sqrt()).collect();
    let most = roots.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let line = |class: usize| {
        let own: Vec<f64> =
            (0..roots.len()).filter(|&i| evaluation.scores.answer(i).0 == class).map(|i| roots[i]).collect();
        let mut counts = [0.0; BINS];
        own.iter().for_each(|root| counts[((root / most * BINS as f64) as usize).min(BINS - 1)] += 1.0);
        let point =
            |(i, count): (usize, &f64)| [(i as f64 + 0.5) / BINS as f64 * most, count / own.len().max(1) as f64];
        let points: Vec<[f64; 2]> = counts.iter().enumerate().map(point).collect();
        (!own.is_empty()).then(|| Line { name: CLASSES[class].to_owned(), ink: Ink::Color(class), points })
    };
    let histogram = Chart {
        title: "Errors of pictures".into(),
        x: Axis::free("root of the mean squared error", Unit::Plain),
        y: Axis::free("share of the pictures", Unit::Percent),
        lines: [0, 1].into_iter().filter_map(line).collect(),
    };
    let roc = evaluation.metrics.anomaly_auc.map(|_| Chart {
        title: "Receiver operating characteristic".into(),
        x: Axis::share("normal pictures taken for anomalies"),
        y: Axis::share("anomalies found"),
        lines: vec![
            Line { name: "chance".into(), ink: Ink::Ideal, points: vec![[0.0, 0.0], [1.0, 1.0]] },
            Line { name: "by the error".into(), ink: Ink::Color(0), points: evaluation.scores.roc(Some(1)) },
        ],
    });
    html! {
        div.charts {
            div { h3 { "Errors of pictures" } (histogram.svg()) }
            @if let Some(roc) = roc { div { h3 { "Anomalies found (ROC)" } (roc.svg()) } }
        }
    }
}

fn gallery(evaluation: &Evaluation, images: &Images, indices: &[usize]) -> Result<Markup> {
    let figure = |&i: &usize| -> Result<Markup> {
        let image = images.image(i)?;
        let made = Image { pixels: evaluation.made[i].clone(), ..image.clone() };
        let difference = difference(&image, &made);
        let source = images.dataset().samples[i].source.to_string();
        let uris = [&image, &made, &difference].map(thumbnail).into_iter().collect::<Result<Vec<_>>>()?;
        let caption = format!("{} {:.4}", CLASSES[evaluation.scores.answer(i).0], evaluation.errors[i]);
        let coarse = image.size.iter().all(|&n| n < 64);
        Ok(html! {
            @for (uri, caption) in uris.iter().zip([caption.as_str(), "made again", "difference"]) {
                figure title=(source) { img.coarse[coarse] src=(uri) alt=(caption); figcaption { (caption) } }
            }
        })
    };
    let figures = indices.iter().map(figure).collect::<Result<Vec<_>>>()?;
    Ok(html! { @if !figures.is_empty() { div.pictures.triples { @for figure in &figures { (figure) } } } })
}

/// Where two pictures of one size differ: the brighter, the more.
pub(super) fn difference(a: &Image, b: &Image) -> Image {
    let pixels = a.pixels.iter().zip(&b.pixels).map(|(&a, &b)| a.abs_diff(b).saturating_mul(2)).collect();
    Image { pixels, ..a.clone() }
}
