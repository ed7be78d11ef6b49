/// A projective map of the plane, on `[x, y, 1]`.
pub(super) type Homography = [[f64; 3]; 3];

/// How what is seen moves, in this order: the whole image or a part of it fills the view, and is mirrored, enlarged, slanted
/// and turned about its centre, moved, and tilted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Warp {
    /// `[left, top, width, height]` of the part that is seen, as shares of the image.
    pub crop: [f64; 4],
    /// Left to right, top to bottom.
    pub flip: [bool; 2],
    /// Above 1 enlarges.
    pub scale: f64,
    /// Tangents: how far a pixel goes right for each row it is lower, and down for each column it is further right.
    pub slant: [f64; 2],
    /// Radians; positive is clockwise as seen.
    pub turn: f64,
    /// Right and down, as shares of the view's width and height.
    pub shift: [f64; 2],
    /// How far each corner of the view sees inward, as shares of its width and height: top left, top right, bottom right,
    /// bottom left.
    pub corners: [[f64; 2]; 4],
}

impl Warp {
    pub const STILL: Self = Self {
        crop: [0.0, 0.0, 1.0, 1.0],
        flip: [false; 2],
        scale: 1.0,
        slant: [0.0; 2],
        turn: 0.0,
        shift: [0.0; 2],
        corners: [[0.0; 2]; 4],
    };

    /// From places in a view of `output` pixels (`[height, width]`, counted from the centre of the first) to those in the
    /// image of `input` pixels which are seen there. Its last number is 1.
    pub fn inverse(&self, input: [usize; 2], output: [usize; 2]) -> Homography {
        let mut map = product(self.affine(input, output), self.tilt(output));
        let last = map[2][2];
        map.iter_mut().flatten().for_each(|value| *value /= last);
        map
    }

    fn affine(&self, input: [usize; 2], output: [usize; 2]) -> Homography {
        let (sin, cos) = self.turn.sin_cos();
        let unturn = [[cos, sin], [-sin, cos]];
        let [right, down] = self.slant;
        // Along x first, then along y.
        let unslant = [[1.0 + right * down, -right], [-down, 1.0]];
        let sign = self.flip.map(|flip| if flip { -1.0 } else { 1.0 });
        let (to, from) = ([input[1] as f64, input[0] as f64], [output[1] as f64, output[0] as f64]);
        let [left, top, width, height] = self.crop;
        let seen = [width, height];
        let mut linear = [[0.0; 2]; 2];
        for (axis, row) in linear.iter_mut().enumerate() {
            let factor = sign[axis] * (to[axis] * seen[axis] / from[axis]) / self.scale;
            *row = [0, 1].map(|k| factor * (unslant[axis][0] * unturn[0][k] + unslant[axis][1] * unturn[1][k]));
        }
        // The centre of the view lies on that of the part seen, but for the shift.
        let [x, y] = [0, 1].map(|axis| (from[axis] - 1.0) / 2.0 + self.shift[axis] * from[axis]);
        let centre = [0, 1].map(|axis| to[axis] * ([left, top][axis] + seen[axis] / 2.0) - 0.5);
        let row = |axis: usize| {
            let [a, b] = linear[axis];
            [a, b, centre[axis] - a * x - b * y]
        };
        [row(0), row(1), [0.0, 0.0, 1.0]]
    }

    /// From the view's corners to where they see.
    fn tilt(&self, [height, width]: [usize; 2]) -> Homography {
        if self.corners == Self::STILL.corners {
            return IDENTITY;
        }
        let [[ax, ay], [bx, by], [cx, cy], [dx, dy]] = self.corners;
        let square = from_square([[ax, ay], [1.0 - bx, by], [1.0 - cx, 1.0 - cy], [dx, 1.0 - dy]]);
        let [w, h] = [width as f64, height as f64];
        let to_share = [[1.0 / w, 0.0, 0.5 / w], [0.0, 1.0 / h, 0.5 / h], [0.0, 0.0, 1.0]];
        let to_pixels = [[w, 0.0, -0.5], [0.0, h, -0.5], [0.0, 0.0, 1.0]];
        product(to_pixels, product(square, to_share))
    }
}

const IDENTITY: Homography = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// First `b`, then `a`.
fn product(a: Homography, b: Homography) -> Homography {
    let element = |i: usize, j: usize| a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j];
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| element(i, j)))
}

/// From the unit square to a convex quadrilateral, whose corners are given in the order (0, 0), (1, 0), (1, 1), (0, 1).
/// Source: Heckbert, Fundamentals of Texture Mapping and Image Warping, 1989, section 2.2.3.
fn from_square([p0, p1, p2, p3]: [[f64; 2]; 4]) -> Homography {
    let [sx, sy] = [0, 1].map(|i| p0[i] - p1[i] + p2[i] - p3[i]);
    let [x1, y1] = [0, 1].map(|i| p1[i] - p2[i]);
    let [x2, y2] = [0, 1].map(|i| p3[i] - p2[i]);
    let whole = x1 * y2 - y1 * x2;
    let (g, h) = ((sx * y2 - sy * x2) / whole, (x1 * sy - y1 * sx) / whole);
    let row = |i: usize| [p1[i] - p0[i] + g * p1[i], p3[i] - p0[i] + h * p3[i], p0[i]];
    [row(0), row(1), [g, h, 1.0]]
}

#[cfg(test)]
mod tests {
    use std::f64::consts::FRAC_PI_2;

    use super::*;

    const STILL: Warp = Warp::STILL;

    /// Where in the input the output's pixel at column `x`, row `y` comes from.
    fn source(warp: &Warp, input: [usize; 2], output: [usize; 2], [x, y]: [f64; 2]) -> [f64; 2] {
        let map = warp.inverse(input, output);
        let on = |r: [f64; 3]| r[0] * x + r[1] * y + r[2];
        [on(map[0]) / on(map[2]), on(map[1]) / on(map[2])].map(|v| (v * 1e9).round() / 1e9)
    }

    #[test]
    fn flips_mirror_about_the_middle() {
        let warp = Warp { flip: [true, false], ..STILL };
        assert_eq!(source(&warp, [4, 6], [4, 6], [0.0, 3.0]), [5.0, 3.0]);
        let warp = Warp { flip: [false, true], ..STILL };
        assert_eq!(source(&warp, [4, 6], [4, 6], [0.0, 3.0]), [0.0, 0.0]);
    }

    #[test]
    fn a_quarter_turn_clockwise_brings_the_bottom_left_corner_to_the_top_left() {
        let warp = Warp { turn: FRAC_PI_2, ..STILL };
        assert_eq!(source(&warp, [5, 5], [5, 5], [0.0, 0.0]), [0.0, 4.0]);
        assert_eq!(source(&warp, [5, 5], [5, 5], [4.0, 0.0]), [0.0, 0.0]);
    }

    #[test]
    fn the_order_is_flip_then_turn() {
        // Mirrored, the bottom left corner is the old bottom right one; the turn brings it to the top left.
        let warp = Warp { flip: [true, false], turn: FRAC_PI_2, ..STILL };
        assert_eq!(source(&warp, [5, 5], [5, 5], [0.0, 0.0]), [4.0, 4.0]);
    }

    #[test]
    fn the_centre_stays_whatever_turns_about_it() {
        let warp = Warp { flip: [true, true], scale: 1.7, slant: [0.3, -0.2], turn: 1.1, ..STILL };
        assert_eq!(source(&warp, [5, 9], [5, 9], [4.0, 2.0]), [4.0, 2.0]);
        assert_eq!(source(&warp, [10, 18], [5, 9], [4.0, 2.0]), [8.5, 4.5]);
    }

    #[test]
    fn scale_shift_and_slant_go_the_way_they_say() {
        assert_eq!(source(&Warp { scale: 2.0, ..STILL }, [5, 5], [5, 5], [0.0, 4.0]), [1.0, 3.0]);
        let shift = [1.0 / 9.0, -2.0 / 9.0];
        assert_eq!(source(&Warp { shift, ..STILL }, [9, 9], [9, 9], [5.0, 5.0]), [4.0, 7.0]);
        // 45 degrees: the row one below the centre moves one to the right, so it is read one to the left.
        assert_eq!(source(&Warp { slant: [1.0, 0.0], ..STILL }, [5, 5], [5, 5], [2.0, 3.0]), [1.0, 3.0]);
        assert_eq!(source(&Warp { slant: [0.0, 1.0], ..STILL }, [5, 5], [5, 5], [3.0, 2.0]), [3.0, 1.0]);
    }

    #[test]
    fn a_smaller_output_shows_the_whole_input() {
        // Two input pixels for each of the output: the first is centred between columns 0 and 1.
        assert_eq!(source(&STILL, [8, 8], [4, 4], [0.0, 3.0]), [0.5, 6.5]);
    }

    #[test]
    fn a_crop_fills_the_view() {
        // The right half of the upper half, 4 columns of 8 and 4 rows of 8, seen with two pixels for each.
        let warp = Warp { crop: [0.5, 0.0, 0.5, 0.5], ..STILL };
        assert_eq!(source(&warp, [8, 8], [8, 8], [0.0, 0.0]), [3.75, -0.25]);
        assert_eq!(source(&warp, [8, 8], [4, 4], [3.0, 3.0]), [7.0, 3.0]);
    }

    #[test]
    fn corners_see_where_they_are_told_to() {
        let corners = [[0.1, 0.2], [0.25, 0.0], [0.0, 0.3], [0.15, 0.05]];
        let warp = Warp { corners, ..STILL };
        // Corners of the view of 20x10 pixels, half a pixel outside the centres of its own.
        let seen = |x, y| source(&warp, [10, 20], [10, 20], [x, y]);
        assert_eq!(seen(-0.5, -0.5), [20.0 * 0.1 - 0.5, 10.0 * 0.2 - 0.5]);
        assert_eq!(seen(19.5, -0.5), [20.0 * 0.75 - 0.5, -0.5]);
        assert_eq!(seen(19.5, 9.5), [19.5, 10.0 * 0.7 - 0.5]);
        assert_eq!(seen(-0.5, 9.5), [20.0 * 0.15 - 0.5, 10.0 * 0.95 - 0.5]);
        // Straight lines stay straight: the diagonals still meet where they did.
        let [centre, ends] = [seen(9.5, 4.5), seen(-0.5, -0.5)];
        let other = seen(19.5, 9.5);
        let cross = (centre[0] - ends[0]) * (other[1] - ends[1]) - (centre[1] - ends[1]) * (other[0] - ends[0]);
        assert!(cross.abs() < 1e-6, "{cross}");
    }
}
