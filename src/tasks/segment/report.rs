use maud::{Markup, html};

use super::drawing::{color, overlay};
use super::{ClassMetrics, Evaluation, Segmenter, masks};
use crate::data::{Image, Images};
use crate::error::Result;
use crate::report::chart;
use crate::report::{Tile, Told, folded, grouped, percent, section, thumbnail};
use crate::tasks::classify::report::confusion::matrix;

/// Pictures of a kind.
const PICTURES: usize = 8;

/// What a report tells of masks.
///
/// Errors: if a picture or mask can no longer be read.
pub(super) fn told(task: &Segmenter, evaluation: &Evaluation, part: &str, images: &Images) -> Result<Told> {
    let m = &evaluation.metrics;
    let tiles = vec![
        Tile::new("Mean IoU", percent(m.mean_iou), format!("{part}, over the classes")),
        Tile::new("Dice", percent(m.dice), "over the classes"),
        Tile::new("Pixel accuracy", percent(m.pixel_accuracy), format!("{} pictures", evaluation.samples)),
        Tile::new("Mean accuracy", percent(m.mean_accuracy), "over the classes"),
    ];
    let mut order: Vec<usize> = (0..evaluation.picture_iou.len()).collect();
    order.sort_by(|&a, &b| evaluation.picture_iou[a].total_cmp(&evaluation.picture_iou[b]));
    let show = |indices: &[usize]| -> Result<Markup> {
        let rows = indices.iter().map(|&i| row(task, evaluation, images, i)).collect::<Result<Vec<_>>>()?;
        Ok(html! { @if !rows.is_empty() { div.pictures { @for row in &rows { (row) } } } })
    };
    let worst = &order[..order.len().min(PICTURES)];
    let best: Vec<usize> = order[worst.len()..].iter().rev().take(PICTURES).copied().collect();
    let legend = legend(task);
    let (confusion, size) = matrix(&evaluation.confusion, &task.classes);
    let sections = [
        section(
            "Classes",
            NOTE,
            html! { div.wide { (folded(task.classes.len(), "All classes", table(task, evaluation))) } },
        ),
        section(
            "Worst masks",
            "Picture, mask, and what the network says; least overlap first.",
            html! { (legend) (show(worst)?) },
        ),
        section("Best masks", "The same, where the overlap is largest.", show(&best)?),
        section(
            "Answers",
            "Pixels. A row is a class, with its share of each answer.",
            html! { div.wide { (confusion) } },
        ),
    ];
    let file = chart::file(&[matrix(&evaluation.confusion, &task.classes).0], size).into_bytes();
    Ok(Told { tiles, sections: sections.into_iter().flatten().collect(), files: vec![("confusion.svg", file)] })
}

const NOTE: &str = "IoU: pixels of a class in both masks, as a share of those in either. Dice: twice those in both, as a share of \
                    both masks together.";

fn table(task: &Segmenter, evaluation: &Evaluation) -> Markup {
    let share = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), percent);
    html! {
        table {
            tr { th { "class" } th.n { "IoU" } th.n { "Dice" } th.n { "precision" } th.n { "recall" } th.n { "pixels" } }
            @for (name, c) in task.classes.iter().zip(ClassMetrics::of(&evaluation.confusion)) {
                tr {
                    td { (name) }
                    td.n { (share(c.iou)) }
                    td.n { (share(c.dice)) }
                    td.n { (percent(c.precision)) }
                    td.n { (percent(c.recall)) }
                    td.n { (grouped(c.pixels as usize)) }
                }
            }
        }
    }
}

fn legend(task: &Segmenter) -> Markup {
    let entries = task.classes.iter().zip(0..=u8::MAX).skip(usize::from(task.classes.len() == 2));
    html! {
        p.note {
            @for (name, class) in entries {
                @let [r, g, b] = color(class);
                span style=(format!("border-left:1em solid rgb({r},{g},{b});padding:0 0.8em 0 0.3em")) { (name) }
            }
        }
    }
}

/// Picture, mask and answer side by side.
fn row(task: &Segmenter, evaluation: &Evaluation, images: &Images, index: usize) -> Result<Markup> {
    let image = images.image(index)?;
    let truth = masks::read(images.dataset(), index, task.ignored)?.resized(image.size).classes;
    let of_two = task.classes.len() == 2;
    let answer = &evaluation.answers[index];
    let shown: [Image; 3] = [image.clone(), overlay(&image, &truth, of_two), overlay(&image, answer, of_two)];
    let uris = shown.iter().map(thumbnail).collect::<Result<Vec<_>>>()?;
    let source = images.dataset().samples[index].source.to_string();
    let iou = format!("IoU {}", percent(evaluation.picture_iou[index]));
    Ok(html! {
        @for (uri, caption) in uris.iter().zip(["picture", "mask", iou.as_str()]) {
            figure title=(source) { img src=(uri) alt=(caption); figcaption { (caption) } }
        }
    })
}
