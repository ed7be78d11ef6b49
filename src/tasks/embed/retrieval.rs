use rayon::prelude::*;
use serde::Serialize;

use super::Embeddings;

/// How well pictures find others of their class: each is asked for by itself among all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Retrieval {
    /// Pictures that were asked for: those that have companions in their class.
    pub queries: u64,
    /// Share of them whose nearest picture is of their class.
    pub recall_at_1: f64,
    /// Share of them with one of their class among the five nearest.
    pub recall_at_5: f64,
    /// The same among the ten nearest.
    pub recall_at_10: f64,
    /// The mean over them of the average precision: the mean, over their companions, of the share of companions among the
    /// pictures that are as near or nearer.
    pub mean_average_precision: f64,
}

/// Pictures that are asked for, at most.
const MOST_QUERIES: usize = 5000;

/// By how much similarities are multiplied before their softmax.
const SCALE: f64 = 16.0;

/// Of one query.
struct Found {
    /// Pictures of other classes as near as the nearest companion or nearer.
    before: usize,
    average_precision: f64,
    loss: f64,
}

impl Retrieval {
    /// Over all pictures, or 5000 of them that are spread evenly; and the mean loss of neighbourhood component analysis,
    /// `-log Σ companions e^(16 cos) / Σ others e^(16 cos)`. A stranger that is as near as a companion comes before it, so that a
    /// network which makes the same of all pictures finds nothing.
    ///
    /// Source of the loss: Goldberger, Roweis, Hinton & Salakhutdinov, Neighbourhood components analysis, 2004.
    pub fn of(embeddings: &Embeddings) -> (Self, f64) {
        let found: Vec<Found> =
            embeddings.spread(MOST_QUERIES).filter_map(|picture| query(embeddings, picture)).collect();
        let n = found.len().max(1) as f64;
        let mean = |value: &dyn Fn(&Found) -> f64| found.iter().map(value).sum::<f64>() / n;
        let recall = |most: usize| mean(&|f| f64::from(u8::from(f.before < most)));
        let retrieval = Self {
            queries: found.len() as u64,
            recall_at_1: recall(1),
            recall_at_5: recall(5),
            recall_at_10: recall(10),
            mean_average_precision: mean(&|f| f.average_precision),
        };
        (retrieval, mean(&|f| f.loss))
    }
}

/// `None` without companions.
fn query(embeddings: &Embeddings, picture: usize) -> Option<Found> {
    let (mut companions, mut strangers) = (Vec::new(), Vec::new());
    for (other, similarity) in embeddings.similarities(picture).into_iter().enumerate() {
        match embeddings.labels[other] == embeddings.labels[picture] {
            true if other == picture => {}
            true => companions.push(similarity),
            false => strangers.push(similarity),
        }
    }
    if companions.is_empty() {
        return None;
    }
    companions.sort_unstable_by(|a, b| b.total_cmp(a));
    // How many strangers are as near as a companion, or nearer, but not as near as the companion before it.
    let mut between = vec![0; companions.len()];
    for &stranger in &strangers {
        let at = companions.partition_point(|&companion| companion > stranger);
        between.iter_mut().skip(at).take(1).for_each(|count| *count += 1);
    }
    let before = between[0];
    let mut precisions = 0.0;
    let (mut strangers_before, mut from) = (0, 0);
    // Companions that are equally near come together.
    for group in companions.chunk_by(|a, b| a == b) {
        let to = from + group.len();
        strangers_before += between[from..to].iter().sum::<usize>();
        precisions += group.len() as f64 * to as f64 / (to + strangers_before) as f64;
        from = to;
    }
    let power = |&similarity: &f32| (SCALE * f64::from(similarity)).exp();
    let (near, far) = (companions.iter().map(power).sum::<f64>(), strangers.iter().map(power).sum::<f64>());
    Some(Found { before, average_precision: precisions / companions.len() as f64, loss: (far / near).ln_1p() })
}
