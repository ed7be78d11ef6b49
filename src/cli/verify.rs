use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::encoder::Encoder;
use super::{Common, json, print};
use crate::data::Image;
use crate::error::{Error, Result};
use crate::tasks::embed::{OperatingPoint, Threshold, embed};

/// Says whether two pictures show the same person or thing, and how often such an answer was wrong on validation pictures.
#[derive(Args)]
pub(super) struct Verify {
    /// A run folder, or a weights file in one.
    run: PathBuf,
    /// One picture.
    a: PathBuf,
    /// The other.
    b: PathBuf,
    /// Least cosine of what is the same, from -1 to 1, instead of that chosen in training.
    #[arg(long, value_name = "X", allow_negative_numbers = true, conflicts_with = "far")]
    threshold: Option<f32>,
    /// Take no more than this share of different pairs for the same, for instance 0.01.
    #[arg(long, value_name = "RATE")]
    far: Option<f64>,
}

/// The answer, as JSON.
#[derive(Serialize)]
struct Answer {
    a: String,
    b: String,
    same: bool,
    similarity: f32,
    threshold: f32,
    false_accept_rate: Option<f64>,
    false_reject_rate: Option<f64>,
}

impl Verify {
    pub fn run(&self, common: &Common) -> Result<()> {
        let mut encoder = Encoder::of_run(&self.run, common)?;
        let known = encoder.session.task().threshold.clone();
        let (threshold, rates) = self.threshold(known.as_ref())?;
        let images = [&self.a, &self.b].map(Image::open);
        let vectors = embed(&mut encoder.session, images.into_iter().collect::<Result<_>>()?)?;
        let similarity: f32 = vectors[0].iter().zip(&vectors[1]).map(|(x, y)| x * y).sum();
        let same = similarity >= threshold;
        if common.json {
            let [a, b] = [&self.a, &self.b].map(|path| path.display().to_string());
            let [false_accept_rate, false_reject_rate] =
                [rates.map(|r| r.false_accept_rate), rates.map(|r| r.false_reject_rate)];
            return print(json(&Answer { a, b, same, similarity, threshold, false_accept_rate, false_reject_rate })?);
        }
        let verdict = if same { "same" } else { "different" };
        print(format!("{verdict}   similarity {similarity:.3}, threshold {threshold:.3}"))?;
        if let Some((rates, known)) = rates.zip(known) {
            let [accepted, rejected] = [rates.false_accept_rate, rates.false_reject_rate].map(|rate| 100.0 * rate);
            common.say(format!(
                "at this threshold {accepted:.2} % of {} different validation pairs were taken for the same, and {rejected:.2} % of {} \
                 pairs of the same for different",
                known.different_pairs, known.same_pairs
            ));
        }
        Ok(())
    }

    /// The threshold, and its rates of errors if they are known.
    fn threshold(&self, known: Option<&Threshold>) -> Result<(f32, Option<OperatingPoint>)> {
        if let Some(threshold) = self.threshold {
            return Ok((threshold, None));
        }
        let known = known.ok_or_else(|| {
            let message = "has no threshold from which on pictures are the same: train with --task embed and validation images, or \
                           give --threshold";
            Error::format(&self.run, message)
        })?;
        let point = self.far.map_or(Ok(known.chosen), |limit| known.within(limit))?;
        Ok((point.threshold, Some(point)))
    }
}
