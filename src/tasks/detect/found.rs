use super::geometry::intersection_over_union;

/// Probability below which a place is not looked at.
const LEAST: f32 = 0.01;
/// Places of a picture that are looked at.
const MOST_CANDIDATES: usize = 300;
/// Things found on a picture, as COCO counts them.
const MOST: usize = 100;
/// How fast the score of what is covered by a surer box falls with what they have in common.
const DEVIATION: f64 = 0.5;

/// Something found on a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Index into the classes.
    pub class: usize,
    /// How sure it is, from 0 to 1.
    pub score: f32,
    /// `[left, top, right, bottom]` as shares of the picture, from 0 to 1.
    pub corners: [f32; 4],
}

/// What is found on a picture, the surest first: of a map `[h, w, 4 + classes]` of corners and probabilities, the places where a
/// class is as probable as at the eight around, with what overlaps a surer box of the class made less sure.
///
/// Sources: Zhou et al., 2019, <https://arxiv.org/abs/1904.07850> (peaks); Bodla et al., 2017,
/// <https://arxiv.org/abs/1704.04503> (soft suppression).
pub fn found(map: &[f32], grid: [usize; 2], classes: usize) -> Vec<Detection> {
    let mut candidates = peaks(map, grid, classes);
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MOST_CANDIDATES);
    let mut kept = suppressed(candidates);
    kept.truncate(MOST);
    kept
}

fn peaks(map: &[f32], [h, w]: [usize; 2], classes: usize) -> Vec<Detection> {
    let each = 4 + classes;
    let probability = |y: usize, x: usize, class: usize| map[(y * w + x) * each + 4 + class];
    let mut peaks = Vec::new();
    for at in 0..h * w {
        let (y, x) = (at / w, at % w);
        for class in 0..classes {
            let score = probability(y, x, class);
            let around = |centre: usize, of: usize| centre.saturating_sub(1)..(centre + 2).min(of);
            let highest = || around(y, h).all(|y| around(x, w).all(|x| probability(y, x, class) <= score));
            if score >= LEAST && highest() {
                let corners = [0, 1, 2, 3].map(|i| map[at * each + i].clamp(0.0, 1.0));
                peaks.push(Detection { class, score, corners });
            }
        }
    }
    peaks
}

/// The surest in turn; each lowers the scores of the rest of its class by `exp(-iou² / deviation)`.
fn suppressed(mut rest: Vec<Detection>) -> Vec<Detection> {
    let mut kept: Vec<Detection> = Vec::new();
    while !rest.is_empty() {
        // Of equals the first.
        let surer = |best: usize, at: usize| if rest[at].score > rest[best].score { at } else { best };
        let best = rest.remove((0..rest.len()).fold(0, surer));
        for other in rest.iter_mut().filter(|other| other.class == best.class) {
            let overlap = intersection_over_union(other.corners, best.corners, false);
            other.score *= (-overlap * overlap / DEVIATION).exp() as f32;
        }
        rest.retain(|other| other.score >= LEAST);
        kept.push(best);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(class: usize, score: f32, corners: [f32; 4]) -> Detection {
        Detection { class, score, corners }
    }

    #[test]
    fn places_surer_than_their_neighbours_are_found() {
        // 3x4 places of one class; two peaks, and a place that is too unsure.
        let scores = [0.2, 0.6, 0.2, 0.0, 0.1, 0.5, 0.1, 0.3, 0.0, 0.0, 0.2, 0.005];
        let map: Vec<f32> =
            scores.iter().enumerate().flat_map(|(i, &score)| [i as f32 / 24.0, -0.5, 0.9, 1.5, score]).collect();
        let found = peaks(&map, [3, 4], 1);
        assert_eq!(
            found,
            [detection(0, 0.6, [1.0 / 24.0, 0.0, 0.9, 1.0]), detection(0, 0.3, [7.0 / 24.0, 0.0, 0.9, 1.0])]
        );
    }

    #[test]
    fn what_is_covered_becomes_less_sure_by_its_overlap() {
        let a = [0.0, 0.0, 0.5, 0.5];
        let half = [0.25, 0.0, 0.75, 0.5];
        let kept = suppressed(vec![
            detection(0, 0.8, a),
            detection(0, 0.9, half),
            detection(1, 0.7, a),
            detection(0, 0.02, half),
        ]);
        let lowered = 0.8 * (-(1.0_f64 / 3.0).powi(2) / 0.5).exp() as f32;
        assert_eq!(kept, [detection(0, 0.9, half), detection(1, 0.7, a), detection(0, lowered, a)]);
    }

    #[test]
    fn apart_nothing_changes() {
        let (a, b) = ([0.0, 0.0, 0.2, 0.2], [0.5, 0.5, 0.9, 0.9]);
        let both = vec![detection(0, 0.5, a), detection(0, 0.5, b)];
        assert_eq!(suppressed(both.clone()), both);
    }
}
