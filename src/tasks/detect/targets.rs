use std::sync::Arc;

use super::geometry::{Moved, moved};
use super::{BOX_WEIGHTS, BOXES, CLASS_WEIGHTS, HEATMAP};
use crate::data::{Annotation, Batch, BoundingBox, Images, Targets};
use crate::error::Result;
use crate::ops::AugmentRow;

/// The part of a thing's width and height, about its centre, that learns its edges.
const CENTRAL: f32 = 0.54;
/// What is seen less of than this is ignored.
const LEAST_SEEN: f32 = 0.4;
/// The name under which a batch has the boxes themselves.
const TRUTH: &str = "truth";
/// Numbers of a box there: class, corners, whether it is ignored.
const NUMBERS: usize = 6;

/// What the network is to answer at each place of its map.
///
/// The heatmap has, for each class, a bump at each thing: 1 at its centre, falling off as a normal distribution does with its
/// width and height. Within it, places learn the edges of the thing, the smallest where there are several, by weights that
/// follow the bump and add up to 1 for each thing. Places on ignored things, but for the centres of others, count nothing. All
/// weights are divided by the number of things.
///
/// Source: Liu et al., "Training-time-friendly network", 2020, <https://arxiv.org/abs/1909.00700>.
#[derive(Debug)]
pub(super) struct BoxTargets {
    /// Of each sample.
    boxes: Vec<Vec<BoundingBox>>,
    /// Height and width of the pictures.
    size: [usize; 2],
    /// Height and width of the map.
    grid: [usize; 2],
    classes: usize,
    /// Boxes on the picture that has most.
    most: usize,
}

impl BoxTargets {
    pub fn new(images: &Arc<Images>, grid: [usize; 2], classes: usize) -> Self {
        let boxes: Vec<Vec<BoundingBox>> = images.dataset().samples.iter().map(|s| boxes(&s.annotation)).collect();
        let [height, width, _] = images.shape();
        let most = boxes.iter().map(Vec::len).max().unwrap_or(0);
        Self { boxes, size: [height, width], grid, classes, most }
    }

    /// The boxes of a sample as its picture is seen, the largest first.
    fn seen(&self, index: usize, row: &AugmentRow) -> Vec<BoundingBox> {
        let view = |b: &BoundingBox| {
            let Moved { corners, seen } = moved(b.corners, row, self.size)?;
            Some(BoundingBox { corners, ignored: b.ignored || seen < LEAST_SEEN, ..*b })
        };
        let mut boxes: Vec<BoundingBox> = self.boxes[index].iter().filter_map(view).collect();
        boxes.sort_by(|a, b| b.area().total_cmp(&a.area()));
        boxes
    }
}

fn boxes(annotation: &Annotation) -> Vec<BoundingBox> {
    match annotation {
        Annotation::Boxes(boxes) => boxes.clone(),
        _ => Vec::new(),
    }
}

impl Targets for BoxTargets {
    fn inputs(&self) -> Vec<(&'static str, usize)> {
        let places = self.grid[0] * self.grid[1];
        vec![
            (HEATMAP, places * self.classes),
            (CLASS_WEIGHTS, places),
            (BOXES, places * 4),
            (BOX_WEIGHTS, places),
            (TRUTH, 1 + NUMBERS * self.most),
        ]
    }

    fn fill(&self, index: usize, row: &AugmentRow, into: &mut [&mut [u32]]) -> Result<()> {
        let [heatmap, class_weights, edges, box_weights, truth] = into else { return Ok(()) };
        let mut map = Map {
            grid: self.grid,
            classes: self.classes,
            heatmap: bytemuck::cast_slice_mut(heatmap),
            class_weights: bytemuck::cast_slice_mut(class_weights),
            edges: bytemuck::cast_slice_mut(edges),
            box_weights: bytemuck::cast_slice_mut(box_weights),
        };
        map.fill(&self.seen(index, row));
        let unchanged = &self.boxes[index];
        truth[0] = unchanged.len() as u32;
        for (numbers, b) in truth[1..].chunks_exact_mut(NUMBERS).zip(unchanged) {
            let [left, top, right, bottom] = b.corners.map(f32::to_bits);
            numbers.copy_from_slice(&[b.class as u32, left, top, right, bottom, b.ignored.into()]);
        }
        Ok(())
    }
}

/// The boxes of each picture of a batch; none if it was made without.
pub(super) fn truth(batch: &Batch) -> Vec<Vec<BoundingBox>> {
    let Some(target) = batch.targets.iter().find(|target| target.name == TRUTH) else {
        return vec![Vec::new(); batch.len()];
    };
    let read = |numbers: &[u32]| BoundingBox {
        class: numbers[0] as usize,
        corners: [1, 2, 3, 4].map(|i| f32::from_bits(numbers[i])),
        ignored: numbers[5] != 0,
    };
    let each = target.words.len() / batch.len().max(1);
    let of_picture = |words: &[u32]| words[1..].chunks_exact(NUMBERS).take(words[0] as usize).map(read).collect();
    target.words.chunks_exact(each).map(of_picture).collect()
}

/// The targets of one picture.
struct Map<'a> {
    grid: [usize; 2],
    classes: usize,
    heatmap: &'a mut [f32],
    class_weights: &'a mut [f32],
    edges: &'a mut [f32],
    box_weights: &'a mut [f32],
}

impl Map<'_> {
    /// From the largest box to the smallest, so that those are in front.
    fn fill(&mut self, boxes: &[BoundingBox]) {
        let things = boxes.iter().filter(|b| !b.ignored).count();
        let weight = 1.0 / things.max(1) as f32;
        self.class_weights.fill(weight);
        boxes.iter().filter(|b| b.ignored).for_each(|b| self.ignore(b));
        for b in boxes.iter().filter(|b| !b.ignored) {
            let centre = self.bump(b, weight);
            self.class_weights[centre] = weight;
        }
    }

    /// Column and row of the place in which a point lies.
    fn place(&self, [x, y]: [f32; 2]) -> [usize; 2] {
        let [h, w] = self.grid;
        [((x * w as f32) as usize).min(w - 1), ((y * h as f32) as usize).min(h - 1)]
    }

    fn ignore(&mut self, b: &BoundingBox) {
        let [h, w] = self.grid;
        let [left, top, right, bottom] = b.corners;
        let middle = |at: usize, of: usize| (at as f32 + 0.5) / of as f32;
        for at in 0..h * w {
            let (x, y) = (middle(at % w, w), middle(at / w, h));
            if left <= x && x <= right && top <= y && y <= bottom {
                self.class_weights[at] = 0.0;
            }
        }
    }

    /// Puts a thing on the map; gives the place of its centre.
    fn bump(&mut self, b: &BoundingBox, weight: f32) -> usize {
        let [h, w] = self.grid;
        let [left, top, right, bottom] = b.corners;
        let [column, row] = self.place([(left + right) / 2.0, (top + bottom) / 2.0]);
        // Half the extents of the central part, in places: three standard deviations.
        let [reach_x, reach_y] = [(right - left) * w as f32, (bottom - top) * h as f32].map(|n| CENTRAL * n / 2.0);
        let around = |at: usize, reach: f32, of: usize| {
            let reach = reach as usize;
            at.saturating_sub(reach)..(at + reach + 1).min(of)
        };
        let fall = |from: usize, to: usize, reach: f32| match from.abs_diff(to) as f32 {
            0.0 => 0.0,
            distance => 0.5 * (3.0 * distance / reach).powi(2),
        };
        let mut places = Vec::new();
        for y in around(row, reach_y, h) {
            for x in around(column, reach_x, w) {
                places.push((y * w + x, (-fall(x, column, reach_x) - fall(y, row, reach_y)).exp()));
            }
        }
        let sum: f32 = places.iter().map(|&(_, height)| height).sum();
        for (at, height) in places {
            let heat = &mut self.heatmap[at * self.classes + b.class];
            *heat = heat.max(height);
            self.edges[4 * at..][..4].copy_from_slice(&b.corners);
            self.box_weights[at] = weight * height / sum;
        }
        row * w + column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(boxes: Vec<BoundingBox>) -> BoxTargets {
        let most = boxes.len();
        BoxTargets { boxes: vec![boxes], size: [64, 64], grid: [8, 8], classes: 2, most }
    }

    fn filled(targets: &BoxTargets, row: &AugmentRow) -> Vec<Vec<f32>> {
        let mut words: Vec<Vec<u32>> = targets.inputs().iter().map(|&(_, n)| vec![0; n]).collect();
        let mut into: Vec<&mut [u32]> = words.iter_mut().map(Vec::as_mut_slice).collect();
        targets.fill(0, row, &mut into).unwrap();
        words.into_iter().map(|words| words.into_iter().map(f32::from_bits).collect()).collect()
    }

    fn thing(class: usize, corners: [f32; 4]) -> BoundingBox {
        BoundingBox { class, corners, ignored: false }
    }

    #[test]
    fn a_thing_has_a_bump_of_its_class_and_its_edges_near_the_centre() {
        let corners = [0.0, 0.25, 1.0, 0.5];
        let targets = targets(vec![thing(1, corners)]);
        let made = filled(&targets, &AugmentRow::STILL);
        let [heatmap, class_weights, edges, box_weights] = [0, 1, 2, 3].map(|i| &made[i]);
        // The centre (0.5, 0.375) lies in column 4 of row 3; the central part is 4.3 places wide and one high.
        let heat = |column: usize| heatmap[(3 * 8 + column) * 2 + 1];
        assert_eq!(heat(4), 1.0);
        let deviation = 0.54 * 8.0 / 6.0;
        for distance in 1..=2 {
            let expected = (-0.5 * (distance as f32 / deviation).powi(2)).exp();
            assert!((heat(4 + distance) - expected).abs() < 1e-6 && (heat(4 - distance) - expected).abs() < 1e-6);
        }
        assert_eq!(heatmap.iter().filter(|&&heat| heat > 0.0).count(), 5);
        assert_eq!(edges[4 * (3 * 8 + 5)..][..4], corners);
        assert!((box_weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(class_weights.iter().all(|&weight| weight == 1.0));
    }

    #[test]
    fn smaller_things_are_in_front_and_ignored_ones_count_nothing() {
        let (large, small) = ([0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.625, 0.625]);
        let ignored = BoundingBox { ignored: true, ..thing(0, [0.0, 0.0, 0.25, 0.25]) };
        let made = filled(&targets(vec![thing(0, small), ignored, thing(0, large)]), &AugmentRow::STILL);
        let at = 4 * 8 + 4;
        assert_eq!(made[2][4 * at..][..4], small);
        assert_eq!(made[3][at], 0.5);
        let unweighted: Vec<usize> = (0..64).filter(|&at| made[1][at] == 0.0).collect();
        assert_eq!(unweighted, [0, 1, 8, 9]);
        assert!(made[1].iter().all(|&weight| weight == 0.0 || weight == 0.5));
    }

    #[test]
    fn what_is_hardly_seen_is_ignored_and_what_is_not_seen_is_gone() {
        // Moved left by half the view: a box of the left half goes out, one across the middle is half seen.
        let row = AugmentRow { column: [1.0, 0.0, 32.0, 0.0], ..AugmentRow::STILL };
        let boxes =
            [[0.0, 0.0, 0.4, 0.4], [0.4, 0.0, 0.6, 0.5], [0.25, 0.5, 0.55, 1.0]].map(|corners| thing(0, corners));
        let seen = targets(boxes.to_vec()).seen(0, &row);
        let mut rounded: Vec<([i32; 4], bool)> =
            seen.iter().map(|b| (b.corners.map(|at| (100.0 * at).round() as i32), b.ignored)).collect();
        rounded.sort_unstable();
        assert_eq!(rounded, [([0, 0, 10, 50], false), ([0, 50, 5, 100], true)]);
    }

    #[test]
    fn the_boxes_come_back_from_a_batch() {
        let ignored = BoundingBox { ignored: true, ..thing(1, [0.1, 0.2, 0.3, 0.4]) };
        let boxes = vec![thing(0, [0.0, 0.5, 0.25, 1.0]), ignored];
        let targets = targets(boxes.clone());
        let words = filled(&targets, &AugmentRow::STILL).swap_remove(4).into_iter().map(f32::to_bits).collect();
        let target = crate::data::Target { name: TRUTH, words };
        let image = crate::data::Image { size: [1, 1], channels: 1, pixels: vec![0] };
        let batch = Batch { targets: vec![target], ..Batch::of_images(&[image]) };
        assert_eq!(truth(&batch), [boxes]);
    }
}
