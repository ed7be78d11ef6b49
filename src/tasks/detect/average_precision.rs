use super::Detection;
use super::geometry::intersection_over_union;
use crate::data::BoundingBox;

/// Recalls at which precision is taken: 0, 0.01, …, 1.
const RECALLS: usize = 101;
/// Overlaps at which a thing counts as found: 0.5, 0.55, …, 0.95.
pub const OVERLAPS: usize = 10;
/// Things of a class on one picture that are looked at, the surest.
const MOST: usize = 100;

/// A picture with what was found there, the surest first, and what is there.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// What was found.
    pub found: Vec<Detection>,
    /// What is there.
    pub truth: Vec<BoundingBox>,
}

/// How one class is found, at one least overlap.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Mean precision over the recalls 0, 0.01, …, 1.
    pub average_precision: f64,
    /// Share of the things that were found at all.
    pub recall: f64,
    /// The highest precision at each of these recalls or above.
    pub precisions: Vec<f64>,
}

/// One thing found: its score, whether it is right, whether it counts neither way.
#[derive(Clone, Copy)]
struct Outcome {
    score: f32,
    right: bool,
    ignored: bool,
}

/// The least overlap of that number, from 0.
pub fn overlap(number: usize) -> f64 {
    // As numpy's linspace computes them, on which whether an overlap is large enough may depend.
    0.5 + number as f64 * ((0.95 - 0.5) / 9.0)
}

/// How a class is found at each of the least overlaps; `None` if there is nothing of it. Numbers are those of COCO's evaluation
/// for boxes of any area.
///
/// Source: `COCOeval` of <https://github.com/cocodataset/cocoapi>.
pub fn average_precision(seen: &[Seen], class: usize) -> Option<[Curve; OVERLAPS]> {
    let of_class = |b: &&BoundingBox| b.class == class && !b.ignored;
    let things = seen.iter().flat_map(|picture| &picture.truth).filter(of_class).count();
    if things == 0 {
        return None;
    }
    let mut outcomes: [Vec<Outcome>; OVERLAPS] = Default::default();
    for picture in seen {
        let matched = Matching::new(picture, class);
        for (number, outcomes) in outcomes.iter_mut().enumerate() {
            outcomes.extend(matched.at(overlap(number)));
        }
    }
    Some(outcomes.map(|outcomes| curve(outcomes, things)))
}

/// What was found of a class on one picture and how much it overlaps with what is there.
struct Matching {
    scores: Vec<f32>,
    /// Whether each thing is ignored; those that are come last.
    ignored: Vec<bool>,
    /// `[found][thing]`.
    overlaps: Vec<Vec<f64>>,
}

impl Matching {
    fn new(picture: &Seen, class: usize) -> Self {
        let mut found: Vec<&Detection> = picture.found.iter().filter(|d| d.class == class).collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MOST);
        let mut truth: Vec<&BoundingBox> = picture.truth.iter().filter(|b| b.class == class).collect();
        truth.sort_by_key(|b| b.ignored);
        let overlap = |d: &Detection, b: &BoundingBox| intersection_over_union(d.corners, b.corners, b.ignored);
        Self {
            scores: found.iter().map(|d| d.score).collect(),
            ignored: truth.iter().map(|b| b.ignored).collect(),
            overlaps: found.iter().map(|d| truth.iter().map(|b| overlap(d, b)).collect()).collect(),
        }
    }

    /// Each takes the thing it overlaps most with that nobody surer took; an ignored one, which any number may take, only if there
    /// is no other.
    fn at(&self, least: f64) -> Vec<Outcome> {
        let mut taken = vec![false; self.ignored.len()];
        let outcome = |(&score, overlaps): (&f32, &Vec<f64>)| {
            let mut best: Option<usize> = None;
            let mut bar = least.min(1.0 - 1e-10);
            for (thing, &overlap) in overlaps.iter().enumerate() {
                if taken[thing] && !self.ignored[thing] {
                    continue;
                }
                if self.ignored[thing] && best.is_some_and(|best| !self.ignored[best]) {
                    break;
                }
                if overlap >= bar {
                    (best, bar) = (Some(thing), overlap);
                }
            }
            best.iter().for_each(|&thing| taken[thing] = true);
            let ignored = best.is_some_and(|thing| self.ignored[thing]);
            Outcome { score, right: best.is_some(), ignored }
        };
        self.scores.iter().zip(&self.overlaps).map(outcome).collect()
    }
}

fn curve(mut outcomes: Vec<Outcome>, things: usize) -> Curve {
    outcomes.sort_by(|a, b| b.score.total_cmp(&a.score));
    let (mut right, mut wrong) = (0.0, 0.0);
    // Precision and recall with each thing found.
    let mut steps = Vec::new();
    for outcome in outcomes.iter().filter(|outcome| !outcome.ignored) {
        *(if outcome.right { &mut right } else { &mut wrong }) += 1.0;
        steps.push([right / (right + wrong + f64::EPSILON), right / things as f64]);
    }
    let mut highest = 0.0_f64;
    let mut falling: Vec<[f64; 2]> = steps
        .iter()
        .rev()
        .map(|&[precision, recall]| {
            highest = highest.max(precision);
            [recall, highest]
        })
        .collect();
    falling.reverse();
    let precision = |number: usize| {
        let recall = number as f64 * (1.0 / (RECALLS - 1) as f64);
        let at = falling.partition_point(|&[reached, _]| reached < recall);
        falling.get(at).map_or(0.0, |&[_, precision]| precision)
    };
    let precisions: Vec<f64> = (0..RECALLS).map(precision).collect();
    Curve {
        average_precision: precisions.iter().sum::<f64>() / RECALLS as f64,
        recall: right / things as f64,
        precisions,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// `[left, top, right, bottom]` in 64ths of the picture, so that nothing is rounded.
    #[derive(Deserialize)]
    struct Case {
        classes: usize,
        pictures: Vec<Picture>,
        /// Mean over classes and least overlaps, at 0.5 alone, at 0.75 alone; mean recall of 100 things a picture.
        map: f64,
        map50: f64,
        map75: f64,
        recall: f64,
        /// For each class the average precision at each least overlap; -1 where there is nothing of it.
        average_precisions: Vec<[f64; OVERLAPS]>,
        recalls: Vec<[f64; OVERLAPS]>,
    }

    #[derive(Deserialize)]
    struct Picture {
        /// Class, score in 128ths, corners.
        found: Vec<(usize, u8, [u8; 4])>,
        /// Class, corners, whether it is a crowd.
        truth: Vec<(usize, [u8; 4], bool)>,
    }

    impl Picture {
        fn seen(&self) -> Seen {
            let shares = |corners: [u8; 4]| corners.map(|at| f32::from(at) / 64.0);
            let found = self.found.iter().map(|&(class, score, corners)| Detection {
                class,
                score: f32::from(score) / 128.0,
                corners: shares(corners),
            });
            let truth = self.truth.iter().map(|&(class, corners, ignored)| BoundingBox {
                class,
                corners: shares(corners),
                ignored,
            });
            Seen { found: found.collect(), truth: truth.collect() }
        }
    }

    fn assert_close(got: f64, wanted: f64, what: &str) {
        assert!((got - wanted).abs() < 1e-12, "{what}: {got} instead of {wanted}");
    }

    /// Recorded by `tests/fixtures/detect/map.py`.
    #[test]
    fn numbers_are_those_of_pycocotools() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/fixtures/detect/map.json")).unwrap();
        assert!(cases.len() >= 8);
        for (at, case) in cases.iter().enumerate() {
            let seen: Vec<Seen> = case.pictures.iter().map(Picture::seen).collect();
            for class in 0..case.classes {
                let curves = average_precision(&seen, class);
                for number in 0..OVERLAPS {
                    let curve = curves.as_ref().map(|curves| &curves[number]);
                    let what = format!("case {at}, class {class}, overlap {number}");
                    let precision = curve.map_or(-1.0, |curve| curve.average_precision);
                    assert_close(precision, case.average_precisions[class][number], &what);
                    assert_close(curve.map_or(-1.0, |curve| curve.recall), case.recalls[class][number], &what);
                }
            }
            let names: Vec<String> = (0..case.classes).map(|class| class.to_string()).collect();
            let metrics = crate::tasks::detect::Evaluation::new(seen, 0.0, &names, None).metrics;
            assert_close(metrics.map, case.map, "map");
            assert_close(metrics.map50, case.map50, "map50");
            assert_close(metrics.map75, case.map75, "map75");
            assert_close(metrics.recall, case.recall, "recall");
        }
    }
}
