use crate::ops::AugmentRow;

/// Where a box lies in a view of the picture, and how much of it is seen there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moved {
    /// `[left, top, right, bottom]` as shares of the view, clipped to it.
    pub corners: [f32; 4],
    /// The share of the box's area that lies in the view.
    pub seen: f32,
}

/// The box around what becomes of a box when its picture is changed by `row`; pictures and views are of `[height, width]`
/// pixels. `None` if nothing of it is seen.
pub fn moved(corners: [f32; 4], row: &AugmentRow, [height, width]: [usize; 2]) -> Option<Moved> {
    let still = &AugmentRow::STILL;
    if row.column == still.column && row.line == still.line {
        return Some(Moved { corners, seen: 1.0 });
    }
    let map = inverse(row)?;
    let extents = [width as f64, height as f64];
    let mut hull = [f64::MAX, f64::MAX, f64::MIN, f64::MIN];
    for (x, y) in [(0, 1), (2, 1), (2, 3), (0, 3)] {
        // Rows count pixels from the middle of the first.
        let [x, y] = [(x, 0), (y, 1)].map(|(corner, axis)| f64::from(corners[corner]) * extents[axis] - 0.5);
        let on = |r: [f64; 3]| r[0] * x + r[1] * y + r[2];
        let depth = on(map[2]);
        if depth <= 0.0 {
            return None;
        }
        for axis in 0..2 {
            let at = (on(map[axis]) / depth + 0.5) / extents[axis];
            hull[axis] = hull[axis].min(at);
            hull[2 + axis] = hull[2 + axis].max(at);
        }
    }
    let clipped = hull.map(|at| at.clamp(0.0, 1.0));
    let seen = area(clipped) / area(hull);
    (seen > 0.0).then(|| Moved { corners: clipped.map(|at| at as f32), seen: seen as f32 })
}

/// From places in the picture to places in the view, as homogeneous coordinates up to a positive factor; `None` if there is no
/// such map.
fn inverse(row: &AugmentRow) -> Option<[[f64; 3]; 3]> {
    let [[a, b, t, g], [c, d, u, h]] = [row.column, row.line].map(|r| r.map(f64::from));
    let m = [[a, b, t], [c, d, u], [g, h, 1.0]];
    let minor = |i: usize, j: usize| {
        let [p, q] = [(i + 1) % 3, (i + 2) % 3];
        let [r, s] = [(j + 1) % 3, (j + 2) % 3];
        m[p][r] * m[q][s] - m[p][s] * m[q][r]
    };
    let determinant: f64 = (0..3).map(|j| m[0][j] * minor(0, j)).sum();
    // Of a view that is mirrored it is negative.
    (determinant != 0.0).then(|| [0, 1, 2].map(|i| [0, 1, 2].map(|j| minor(j, i) / determinant)))
}

fn area([left, top, right, bottom]: [f64; 4]) -> f64 {
    (right - left).max(0.0) * (bottom - top).max(0.0)
}

/// What two boxes `[left, top, right, bottom]` have in common, as a share of what they cover together, or of the first alone
/// if the second is `ignored`: whatever lies in a crowd is part of it.
pub fn intersection_over_union(found: [f32; 4], truth: [f32; 4], ignored: bool) -> f64 {
    let [found, truth] = [found, truth].map(|corners| corners.map(f64::from));
    let common = area([found[0].max(truth[0]), found[1].max(truth[1]), found[2].min(truth[2]), found[3].min(truth[3])]);
    let all = if ignored { area(found) } else { area(found) + area(truth) - common };
    if common > 0.0 { common / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Augment, Seed};

    const SIZE: [usize; 2] = [40, 60];

    #[test]
    fn boxes_follow_a_flip_and_an_enlargement() {
        let mirrored = AugmentRow { column: [-1.0, 0.0, 59.0, 0.0], ..AugmentRow::STILL };
        let Moved { corners, seen } = moved([0.125, 0.25, 0.375, 0.625], &mirrored, SIZE).unwrap();
        assert_eq!((corners, seen), ([0.625, 0.25, 0.875, 0.625], 1.0));
        // Twice as large about the centre: what was a quarter in from the border is at it.
        let enlarged = AugmentRow { column: [0.5, 0.0, 14.75, 0.0], line: [0.0, 0.5, 9.75, 0.0], ..AugmentRow::STILL };
        let Moved { corners, seen } = moved([0.0, 0.25, 0.5, 0.75], &enlarged, SIZE).unwrap();
        assert_eq!((corners, seen), ([0.0, 0.0, 0.5, 1.0], 0.5));
        assert_eq!(moved([0.0, 0.0, 0.2, 0.2], &enlarged, SIZE), None);
    }

    /// A white block on black, warped by the row as the kernel does it, is where its box is said to be.
    #[test]
    fn boxes_are_where_their_pixels_are() {
        use crate::graph::{Graph, evaluate};
        use crate::ops;
        use crate::tensor::{Array, DType, Meta};

        let augment = Augment { rotate: 25.0, perspective: 0.15, crop: [0.5, 1.0], shear: 5.0, ..Augment::standard() };
        let augment = Augment { brightness: 0.0, contrast: 0.0, saturation: 0.0, ..augment };
        let ([h, w], block) = (SIZE, [18, 12, 36, 26]);
        let inside = |at: usize| (block[0]..block[2]).contains(&(at % w)) && (block[1]..block[3]).contains(&(at / w));
        let pixels: Vec<f64> = (0..h * w).map(|at| if inside(at) { 255.0 } else { 0.0 }).collect();
        let corners = [18.0 / 60.0, 12.0 / 40.0, 36.0 / 60.0, 26.0 / 40.0];
        let mut compared = 0;
        for image in 0..40 {
            let row = augment.row(Seed(5), 1, image, SIZE);
            let mut graph = Graph::new();
            let images = graph.input("images", Meta::new([1, h, w, 1], DType::U8));
            let rows = graph.input("rows", Meta::f32([1, AugmentRow::LEN]));
            let view = ops::augment(&mut graph, images, rows, [h, w], &[0.0], &[1.0]).unwrap();
            let numbers: &[f32] = bytemuck::cast_slice(std::slice::from_ref(&row));
            let given = [
                (images, Array { shape: [1, h, w, 1].into(), data: pixels.clone() }),
                (rows, Array { shape: [1, AugmentRow::LEN].into(), data: numbers.iter().map(|&x| x.into()).collect() }),
            ];
            let view = evaluate(&graph, &given.into()).swap_remove(view.index()).data;
            let white: Vec<usize> = (0..h * w).filter(|&at| view[at] > 0.5).collect();
            let found = moved(corners, &row, SIZE).filter(|moved| moved.seen == 1.0);
            let Some(Moved { corners, .. }) = found else { continue };
            let extreme = |f: fn(usize, usize) -> usize| {
                let least = white.iter().map(|&at| f(at, w)).min().unwrap();
                let most = white.iter().map(|&at| f(at, w)).max().unwrap();
                [least as f32, most as f32 + 1.0]
            };
            let ([left, right], [top, bottom]) = (extreme(|at, w| at % w), extreme(|at, w| at / w));
            let told = [corners[0] * 60.0, corners[1] * 40.0, corners[2] * 60.0, corners[3] * 40.0];
            for (told, seen) in told.into_iter().zip([left, top, right, bottom]) {
                assert!((told - seen).abs() < 2.0, "{image}: {told} is not {seen}");
            }
            compared += 1;
        }
        assert!(compared > 20, "{compared}");
    }

    #[test]
    fn common_parts_of_boxes() {
        let (a, b) = ([0.0, 0.0, 0.5, 0.5], [0.25, 0.0, 0.75, 0.5]);
        assert_eq!(intersection_over_union(a, a, false), 1.0);
        assert_eq!(intersection_over_union(a, b, false), 1.0 / 3.0);
        assert_eq!(intersection_over_union(a, b, true), 0.5);
        assert_eq!(intersection_over_union(a, [0.5, 0.5, 1.0, 1.0], false), 0.0);
    }
}
