use std::fs;
use std::path::Path;
use std::str::FromStr;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Seed;
use crate::error::{Error, Result};

/// What the augmentation kernel does to one image: `[a, b, tx, c, d, ty, brightness, contrast, saturation, 0, 0, 0]`.
///
/// The value at column `x`, row `y` of the output (counted in pixels from the centre of the first) is the input's at
/// column `a·x + b·y + tx`, row `c·x + d·y + ty`, between pixels by bilinear interpolation, outside at the nearest edge.
///
/// Colour comes next, with values from 0 to 1: with 3 channels `v ← luma + (v - luma) · saturation`, then
/// `v ← (v - 0.5) · contrast + 0.5 + brightness`, cut to 0…1. [`ops::augment`](crate::ops::augment()) does it.
pub type AugmentRow = [f32; 12];

/// The ranges from which each training image's random change is drawn; the default is no change.
///
/// All draws are uniform, and independent of each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augment {
    /// Turned by up to this many degrees either way, about the centre.
    pub rotate: f32,
    /// Moved by up to this share of the width, and of the height, either way.
    pub translate: f32,
    /// Enlarged by a factor from `[least, most]`; 1 keeps the size. Above 1 the borders are cropped.
    pub scale: [f32; 2],
    /// Slanted along x by up to this many degrees either way.
    pub shear: f32,
    /// Mirrored left to right in half of the cases.
    pub flip_horizontal: bool,
    /// Mirrored top to bottom in half of the cases.
    pub flip_vertical: bool,
    /// Up to this much added or taken away; 1 is the way from black to white.
    pub brightness: f32,
    /// Contrast changed by a factor of up to this much above or below 1.
    pub contrast: f32,
    /// Saturation changed by a factor of up to this much above or below 1.
    pub saturation: f32,
}

impl Default for Augment {
    fn default() -> Self {
        Self {
            rotate: 0.0,
            translate: 0.0,
            scale: [1.0, 1.0],
            shear: 0.0,
            flip_horizontal: false,
            flip_vertical: false,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
        }
    }
}

impl Augment {
    /// Small changes which keep left and right apart: safe for digits and letters.
    pub fn light() -> Self {
        Self {
            rotate: 5.0,
            translate: 0.05,
            scale: [0.95, 1.05],
            brightness: 0.05,
            contrast: 0.1,
            saturation: 0.1,
            ..Self::default()
        }
    }

    /// For photographs, which may be mirrored.
    pub fn standard() -> Self {
        Self {
            rotate: 10.0,
            translate: 0.1,
            scale: [0.9, 1.1],
            flip_horizontal: true,
            brightness: 0.1,
            contrast: 0.2,
            saturation: 0.2,
            ..Self::default()
        }
    }

    /// For few photographs and long runs.
    pub fn strong() -> Self {
        Self {
            rotate: 20.0,
            translate: 0.15,
            scale: [0.75, 1.35],
            shear: 10.0,
            flip_horizontal: true,
            brightness: 0.2,
            contrast: 0.4,
            saturation: 0.4,
            ..Self::default()
        }
    }

    /// Reads ranges from a TOML file; keys are the fields' names, and what is left out is not changed.
    ///
    /// Errors: if the file cannot be read, has an unknown key, or a value out of range.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
        let augment: Self = toml::from_str(&text).map_err(|e| Error::format(path, e.to_string().trim_end()))?;
        augment.check().map_err(|message| Error::format(path, message))?;
        Ok(augment)
    }

    fn check(&self) -> Result<(), String> {
        let ranges = [
            ("rotate", self.rotate, 180.0),
            ("translate", self.translate, 1.0),
            ("shear", self.shear, 80.0),
            ("brightness", self.brightness, 1.0),
            ("contrast", self.contrast, 1.0),
            ("saturation", self.saturation, 1.0),
        ];
        for (key, value, most) in ranges {
            if !(0.0..=most).contains(&value) {
                return Err(format!("{key} must be from 0 to {most}, but it is {value}"));
            }
        }
        let [least, most] = self.scale;
        if !(0.01..=100.0).contains(&least) || !(least..=100.0).contains(&most) {
            return Err(format!("scale must be [least, most] with both from 0.01 to 100, but it is [{least}, {most}]"));
        }
        Ok(())
    }

    /// The change for one image of `[height, width]` pixels in one epoch. It depends on nothing but the arguments.
    pub fn row(&self, seed: Seed, epoch: u64, image: usize, size: [usize; 2]) -> AugmentRow {
        let mut rng = seed.generator("augment", &[epoch, image as u64]);
        // Every range takes its number, used or not, so that changing one leaves the others' draws as they were.
        let mut either_way = |most: f32| most * (2.0 * rng.random::<f32>() - 1.0);
        let [height, width] = size.map(|extent| extent as f32);
        let warp = Warp {
            turn: f64::from(either_way(self.rotate)).to_radians(),
            shift: [either_way(self.translate) * width, either_way(self.translate) * height].map(f64::from),
            slant: f64::from(either_way(self.shear)).to_radians(),
            scale: f64::from(self.scale[0] + (self.scale[1] - self.scale[0]) * (either_way(0.5) + 0.5)),
            flip: [self.flip_horizontal & (either_way(1.0) < 0.0), self.flip_vertical & (either_way(1.0) < 0.0)],
        };
        let [a, b, tx, c, d, ty] = warp.inverse(size, size);
        let (brightness, contrast) = (either_way(self.brightness), 1.0 + either_way(self.contrast));
        [a, b, tx, c, d, ty, brightness, contrast, 1.0 + either_way(self.saturation), 0.0, 0.0, 0.0]
    }
}

impl FromStr for Augment {
    type Err = Error;

    /// A preset's name (none, light, standard, strong) or a TOML file.
    ///
    /// Errors: if it is neither; as [`Augment::open`].
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::default()),
            "light" => Ok(Self::light()),
            "standard" => Ok(Self::standard()),
            "strong" => Ok(Self::strong()),
            file if file.ends_with(".toml") => Self::open(file),
            _ => Err(Error::config(format!(
                "augmentation {text:?} is not one of none, light, standard and strong, nor a .toml file"
            ))),
        }
    }
}

/// What happens to an image about its centre, in this order: mirrored, enlarged, slanted, turned, moved.
struct Warp {
    /// Left to right, top to bottom.
    flip: [bool; 2],
    /// Above 1 enlarges.
    scale: f64,
    /// Radians; positive moves what is lower to the right.
    slant: f64,
    /// Radians; positive is clockwise as seen.
    turn: f64,
    /// Pixels of the output, right and down.
    shift: [f64; 2],
}

impl Warp {
    /// `[a, b, tx, c, d, ty]` of [`AugmentRow`] for an input and an output of `[height, width]` pixels; where they
    /// differ, the output shows the whole input.
    fn inverse(&self, input: [usize; 2], output: [usize; 2]) -> [f32; 6] {
        let (sin, cos) = self.turn.sin_cos();
        let slant = self.slant.tan();
        // Undo the turn, the slant (a row keeps its y, and its x goes back by slant·y), the scale and the flip.
        let sign = self.flip.map(|flip| if flip { -1.0 } else { 1.0 });
        let ratio = |axis: usize| input[axis] as f64 / output[axis] as f64;
        let [x, y] = [sign[0] * ratio(1) / self.scale, sign[1] * ratio(0) / self.scale];
        let [a, b] = [x * (cos + slant * sin), x * (sin - slant * cos)];
        let [c, d] = [y * -sin, y * cos];
        // The centres of both images lie on each other, but for the shift.
        let centre = |size: [usize; 2]| [size[1], size[0]].map(|extent| (extent as f64 - 1.0) / 2.0);
        let (from, to) = (centre(output), centre(input));
        let [from_x, from_y] = [from[0] + self.shift[0], from[1] + self.shift[1]];
        [a, b, to[0] - a * from_x - b * from_y, c, d, to[1] - c * from_x - d * from_y].map(|value| value as f32)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::f64::consts::FRAC_PI_2;

    use super::*;
    use crate::graph::{Graph, evaluate};
    use crate::ops;
    use crate::tensor::{Array, DType, Meta};

    const STILL: Warp = Warp { flip: [false; 2], scale: 1.0, slant: 0.0, turn: 0.0, shift: [0.0; 2] };

    /// Where in the input the output's pixel at column `x`, row `y` comes from.
    fn source(warp: &Warp, input: [usize; 2], output: [usize; 2], [x, y]: [f32; 2]) -> [f32; 2] {
        let [a, b, tx, c, d, ty] = warp.inverse(input, output);
        [a * x + b * y + tx, c * x + d * y + ty].map(|v| (v * 1e4).round() / 1e4)
    }

    #[test]
    fn no_change_is_exactly_the_identity() {
        let row = Augment::default().row(Seed(3), 5, 8, [7, 10]);
        assert_eq!(row, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    }

    /// What the kernel makes of an image of bytes, `[h, w, 3]`, without normalisation, in f64.
    fn augmented(row: AugmentRow, [h, w]: [usize; 2], image: &[u8]) -> Vec<f64> {
        let mut graph = Graph::new();
        let images = graph.input("images", Meta::new([1, h, w, 3], DType::U8));
        let rows = graph.input("rows", Meta::f32([1, 12]));
        let result = ops::augment(&mut graph, images, rows, [h, w], &[0.0; 3], &[1.0; 3]).unwrap();
        let pixels = Array { shape: [1, h, w, 3].into(), data: image.iter().copied().map(f64::from).collect() };
        let row = Array { shape: [1, 12].into(), data: row.map(f64::from).to_vec() };
        evaluate(&graph, &HashMap::from([(images, pixels), (rows, row)])).swap_remove(result.index()).data
    }

    fn assert_close(got: &[f64], wanted: &[f64]) {
        assert_eq!(got.len(), wanted.len());
        assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?} instead of {wanted:?}");
    }

    #[test]
    fn the_kernel_reads_rows_as_they_are_meant() {
        let (h, w) = (4, 6);
        let image: Vec<u8> = (0..h * w * 3).map(|i| (i * 37 % 256) as u8).collect();
        let plain: Vec<f64> = image.iter().map(|&byte| f64::from(byte) / 255.0).collect();
        let row = Augment::default().row(Seed(3), 0, 1, [h, w]);
        assert_close(&augmented(row, [h, w], &image), &plain);

        let pixel = |x: usize, y: usize| &plain[(y * w + x) * 3..][..3];
        let warped = |warp: Warp| {
            let mut changed = row;
            changed[..6].copy_from_slice(&warp.inverse([h, w], [h, w]));
            augmented(changed, [h, w], &image)
        };
        let mirrored = warped(Warp { flip: [true, false], ..STILL });
        assert_close(&mirrored[..3], pixel(5, 0));
        let moved = warped(Warp { shift: [2.0, 1.0], ..STILL });
        assert_close(&moved[(w + 2) * 3..][..3], pixel(0, 0));
        // The order of the row's colours: half a step brighter, no contrast, no saturation.
        let coloured = |at: usize, value: f32| {
            let mut changed = row;
            changed[at] = value;
            augmented(changed, [h, w], &image)
        };
        assert_close(&coloured(6, 0.5)[..1], &[plain[0] + 0.5]);
        assert!(coloured(7, 0.0).iter().all(|&v| v == 0.5));
        assert!(coloured(8, 0.0).chunks(3).all(|p| (p[0] - p[1]).abs() + (p[1] - p[2]).abs() < 1e-12));
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
        let warp = Warp { flip: [true, true], scale: 1.7, slant: 0.3, turn: 1.1, shift: [0.0; 2] };
        assert_eq!(source(&warp, [5, 9], [5, 9], [4.0, 2.0]), [4.0, 2.0]);
        assert_eq!(source(&warp, [10, 18], [5, 9], [4.0, 2.0]), [8.5, 4.5]);
    }

    #[test]
    fn scale_shift_and_slant_go_the_way_they_say() {
        assert_eq!(source(&Warp { scale: 2.0, ..STILL }, [5, 5], [5, 5], [0.0, 4.0]), [1.0, 3.0]);
        assert_eq!(source(&Warp { shift: [1.0, -2.0], ..STILL }, [9, 9], [9, 9], [5.0, 5.0]), [4.0, 7.0]);
        // 45 degrees: the row one below the centre moves one to the right, so it is read one to the left.
        let slanted = Warp { slant: FRAC_PI_2 / 2.0, ..STILL };
        assert_eq!(source(&slanted, [5, 5], [5, 5], [2.0, 3.0]), [1.0, 3.0]);
    }

    #[test]
    fn a_smaller_output_shows_the_whole_input() {
        // Two input pixels for each of the output: the first is centred between columns 0 and 1.
        assert_eq!(source(&STILL, [8, 8], [4, 4], [0.0, 3.0]), [0.5, 6.5]);
    }

    #[test]
    fn rows_repeat_and_stay_in_range() {
        let augment = Augment { flip_vertical: true, ..Augment::strong() };
        let row = |epoch, image| augment.row(Seed(1), epoch, image, [32, 48]);
        assert_eq!(row(2, 7), row(2, 7));
        assert_ne!(row(2, 7), row(2, 8));
        assert_ne!(row(2, 7), row(3, 7));
        for image in 0..500 {
            let [a, b, _, c, d, _, brightness, contrast, saturation, ..] = row(0, image);
            let zoom = 1.0 / (a * d - b * c).abs().sqrt();
            assert!((0.749..=1.351).contains(&zoom), "{zoom}");
            assert!(brightness.abs() <= 0.2 && (contrast - 1.0).abs() <= 0.4 && (saturation - 1.0).abs() <= 0.4);
        }
        let mirrored = (0..500).filter(|&image| row(0, image)[0] < 0.0).count();
        assert!((200..300).contains(&mirrored), "{mirrored} of 500");
    }

    #[test]
    fn files_are_read_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("augment.toml");
        let open = |text: &str| {
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().parse::<Augment>().map_err(|e| e.to_string())
        };
        let expected = Augment { rotate: 30.0, scale: [0.5, 2.0], flip_vertical: true, ..Augment::default() };
        assert_eq!(open("rotate = 30\nscale = [0.5, 2.0]\nflip_vertical = true"), Ok(expected));
        assert!(open("rotation = 30").unwrap_err().contains("unknown field `rotation`"));
        assert!(open("translate = 2.0").unwrap_err().contains("translate must be from 0 to 1"));
        assert!(open("scale = [2.0, 1.0]").unwrap_err().contains("[least, most]"));
        assert!(open("contrast = nan").unwrap_err().contains("contrast must be"));
        assert!("fancy".parse::<Augment>().unwrap_err().to_string().contains("none, light, standard"));
    }

    #[test]
    fn presets_are_in_range_and_survive_a_config_file() {
        for name in ["none", "light", "standard", "strong"] {
            let preset: Augment = name.parse().unwrap();
            preset.check().unwrap();
            assert_eq!(toml::from_str::<Augment>(&toml::to_string(&preset).unwrap()).unwrap(), preset);
        }
    }
}
