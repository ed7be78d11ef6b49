use maud::{Markup, html};

use super::Judged;
use crate::error::{Error, Result};
use crate::explain::{Method, Score, Watched, explain};
use crate::report::{line_picture, section as part, thumbnail};
use crate::seed::Seed;
use crate::tasks::Classifier;
use crate::train::Session;

/// Wrong answers that are shown, and as many right ones.
const PICTURES: usize = 8;
/// Pixels of a batch up to which a report takes the time to look.
const MOST_PIXELS: usize = 8 * 256 * 256;

/// Which pixels decided, of the surest mistakes and of evenly chosen right answers; none for networks and devices for which that
/// cannot be found out.
///
/// Errors: if a picture can no longer be read, or the device fails.
pub(super) fn section(judged: &Judged, session: &Session<Classifier>) -> Result<Option<Markup>> {
    let (task, scores) = (session.task(), &judged.evaluation.scores);
    let wrong = scores.worst(PICTURES);
    let is_right = |&i: &usize| {
        let (class, answer, _) = scores.answer(i);
        class == answer
    };
    let all = judged.images.len();
    let right: Vec<usize> = (0..all).step_by((all / (4 * PICTURES)).max(1)).filter(is_right).take(PICTURES).collect();
    let [h, w, _] = task.input();
    let most = PICTURES.min(all);
    if most * h * w > MOST_PIXELS {
        return Ok(None);
    }
    let mut watched = match Watched::new(&task.model, session.device(), session.weights(), 1, None) {
        Ok(watched) => watched,
        Err(error @ Error::Device(_)) => return Err(error),
        Err(error) => {
            log::info!("no class-activation pictures: {error}");
            return Ok(None);
        }
    };
    let mut figures = |indices: &[usize]| -> Result<Vec<Markup>> {
        indices.iter().map(|&i| figure(judged, task, &mut watched, i)).collect()
    };
    let (wrong, right) = (figures(&wrong)?, figures(&right)?);
    let content = html! {
        @for (title, figures) in [("Mistakes", &wrong), ("Right answers", &right)] {
            @if !figures.is_empty() { h3 { (title) } div.pictures.strips[watched.frames() > 1] { @for figure in figures { (figure) } } }
        }
    };
    let note = "Red is what speaks most for the answer (Grad-CAM). If it is not on the thing, the network has learned something else.";
    Ok(part("What decided", note, content))
}

fn figure(judged: &Judged, task: &Classifier, watched: &mut Watched, index: usize) -> Result<Markup> {
    let (class, answer, p) = judged.evaluation.scores.answer(index);
    let image = judged.images.image(index)?;
    let pixels = task.normalization.apply(&image.pixels);
    let score = Score::class(answer, watched.outputs());
    let map = explain(watched, Method::GradCam, &pixels, &score, Seed(0))?;
    let coarse = image.size.iter().all(|&n| n < 64);
    let drawn = map.over(&image).side_by_side(watched.frames());
    let uri = if watched.frames() > 1 { line_picture(&drawn)? } else { thumbnail(&drawn)? };
    let [class_name, answer_name] = [class, answer].map(|c| judged.classes[c].as_str());
    Ok(html! {
        figure title=(judged.images.dataset().samples[index].source.to_string()) {
            img.coarse[coarse] src=(uri) alt=(format!("what speaks for {answer_name}"));
            figcaption {
                b { (class_name) } br;
                @if class != answer { span.wrong { "→ " (answer_name) } " " }
                (format!("{:.1} %", 100.0 * p))
            }
        }
    })
}
