//! How training images are changed: ranges, what is drawn from them for each image, and its form for the kernel.

mod change;
mod mixing;
mod rand_augment;
mod warp;

use std::fs;
use std::path::Path;
use std::str::FromStr;

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

pub use mixing::Mixes;

use change::Change;
use rand_augment::rand_augment;
use warp::Warp;

use super::Seed;
use crate::error::{Error, Result};
use crate::ops::AugmentRow;

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
    /// Hue turned by up to this share of the colour circle either way.
    pub hue: f32,
    /// Made grey in this share of the cases.
    pub grey: f32,
    /// A part with a share of the area from `[least, most]` and sides in a ratio from 3:4 to 4:3 fills the image ("random
    /// resized crop", Szegedy et al. 2014, <https://arxiv.org/abs/1409.4842>).
    pub crop: [f32; 2],
    /// Tilted: each corner sees up to this share of width and height further inward; at most 0.3.
    pub perspective: f32,
    /// Blurred by a Gaussian with a standard deviation of up to this many pixels; at most 8.
    pub blur: f32,
    /// Noise with a standard deviation of up to this; 1 is the way from black to white.
    pub noise: f32,
    /// A rectangle is erased in this share of the cases: 2 to 33 % of the area, sides in a ratio from 3:10 to 10:3 (Zhong et
    /// al. 2017, <https://arxiv.org/abs/1708.04896>); it becomes what normalisation turns into 0.
    pub erase: f32,
    /// This many operations of RandAugment, drawn anew for each image.
    pub rand_augment: u32,
    /// How strong these are, from 0 to 10.
    pub rand_magnitude: f32,
    /// Images are mixed with others, and their labels as well, in shares from Beta(this, this); 0 for none (Zhang et al. 2017,
    /// <https://arxiv.org/abs/1710.09412>).
    pub mixup: f32,
    /// A part of another image replaces one of the same place, with shares of the area from Beta(this, this); 0 for none (Yun
    /// et al. 2019, <https://arxiv.org/abs/1905.04899>). With `mixup`, each pair of images is changed in one of both ways.
    pub cutmix: f32,
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
            hue: 0.0,
            grey: 0.0,
            crop: [1.0, 1.0],
            perspective: 0.0,
            blur: 0.0,
            noise: 0.0,
            erase: 0.0,
            rand_augment: 0,
            rand_magnitude: 9.0,
            mixup: 0.0,
            cutmix: 0.0,
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
            rotate: 15.0,
            translate: 0.1,
            shear: 5.0,
            crop: [0.35, 1.0],
            perspective: 0.1,
            flip_horizontal: true,
            brightness: 0.2,
            contrast: 0.4,
            saturation: 0.4,
            hue: 0.03,
            grey: 0.05,
            noise: 0.03,
            erase: 0.25,
            ..Self::default()
        }
    }

    /// RandAugment for photographs, with the operations and magnitude usual for small networks.
    pub fn randaugment() -> Self {
        Self { rand_augment: 2, rand_magnitude: 9.0, flip_horizontal: true, ..Self::default() }
    }

    /// For pictures of so many channels: colour ones are photographs as a rule, and may be mirrored.
    pub fn suiting(channels: usize) -> Self {
        if channels == 3 { Self::standard() } else { Self::light() }
    }

    /// Ways to look at an image of `[height, width]` pixels of which the answers may be averaged ("test-time augmentation"): as
    /// it is, and a little closer; both also mirrored in the ways in which training mirrors.
    pub fn views(&self, size: [usize; 2]) -> Vec<AugmentRow> {
        const CLOSER: f64 = 0.9;
        let border = (1.0 - CLOSER) / 2.0;
        let crops = [Warp::STILL.crop, [border, border, CLOSER, CLOSER]];
        let ways = |mirrors: bool| if mirrors { &[false, true][..] } else { &[false][..] };
        let flips = ways(self.flip_vertical)
            .iter()
            .flat_map(|&vertical| ways(self.flip_horizontal).iter().map(move |&horizontal| [horizontal, vertical]));
        let warps = flips.flat_map(|flip| crops.map(|crop| Warp { crop, flip, ..Warp::STILL }));
        warps.map(|warp| Change { warp, ..Change::STILL }.row(size)).collect()
    }

    /// Reads ranges from a TOML file; keys are the fields' names, and what is left out is not changed.
    ///
    /// Errors: if the file cannot be read, has an unknown key, or a value out of range.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
        let augment: Self = toml::from_str(&text).map_err(|e| Error::format(path, e.to_string().trim_end()))?;
        match augment.out_of_range() {
            Some(message) => Err(Error::format(path, message)),
            None => Ok(augment),
        }
    }

    /// Errors: if a value is out of range.
    pub fn check(&self) -> Result<()> {
        self.out_of_range().map_or(Ok(()), |message| Err(Error::config(format!("augmentation: {message}"))))
    }

    /// What is wrong with a value.
    fn out_of_range(&self) -> Option<String> {
        let ranges = [
            ("rotate", self.rotate, 180.0),
            ("translate", self.translate, 1.0),
            ("shear", self.shear, 80.0),
            ("brightness", self.brightness, 1.0),
            ("contrast", self.contrast, 1.0),
            ("saturation", self.saturation, 1.0),
            ("hue", self.hue, 0.5),
            ("grey", self.grey, 1.0),
            ("perspective", self.perspective, 0.3),
            ("blur", self.blur, 8.0),
            ("noise", self.noise, 1.0),
            ("erase", self.erase, 1.0),
            ("rand_augment", self.rand_augment as f32, 12.0),
            ("rand_magnitude", self.rand_magnitude, 10.0),
            ("mixup", self.mixup, 100.0),
            ("cutmix", self.cutmix, 100.0),
        ];
        for (key, value, most) in ranges {
            if !(0.0..=most).contains(&value) {
                return Some(format!("{key} must be from 0 to {most}, but it is {value}"));
            }
        }
        for (key, [least, most], lowest, highest) in
            [("scale", self.scale, 0.01, 100.0), ("crop", self.crop, 0.01, 1.0)]
        {
            if !(lowest..=highest).contains(&least) || !(least..=highest).contains(&most) {
                return Some(format!(
                    "{key} must be [least, most] with both from {lowest} to {highest}, but it is [{least}, {most}]"
                ));
            }
        }
        None
    }

    /// The change for one image of `[height, width]` pixels in one epoch. It depends on nothing but the arguments.
    pub fn row(&self, seed: Seed, epoch: u64, image: usize, size: [usize; 2]) -> AugmentRow {
        let mut rng = seed.generator("augment", &[epoch, image as u64]);
        let mut change = self.draw(&mut rng, size);
        rand_augment(&mut change, self.rand_augment, self.rand_magnitude, &mut rng);
        change.row(size)
    }

    /// Every range takes its numbers, used or not, so that changing one leaves the others' draws as they were.
    fn draw(&self, rng: &mut Pcg64, size: [usize; 2]) -> Change {
        let mut share = || f64::from(rng.random::<f32>());
        let mut either_way = |most: f32| f64::from(most) * (2.0 * share() - 1.0);
        let [least, most] = self.scale.map(f64::from);
        let mut warp = Warp {
            turn: either_way(self.rotate).to_radians(),
            shift: [either_way(self.translate), either_way(self.translate)],
            slant: [either_way(self.shear).to_radians().tan(), 0.0],
            scale: least + (most - least) * (either_way(0.5) + 0.5),
            flip: [self.flip_horizontal & (either_way(1.0) < 0.0), self.flip_vertical & (either_way(1.0) < 0.0)],
            ..Warp::STILL
        };
        let mut change = Change {
            brightness: either_way(self.brightness),
            contrast: 1.0 + either_way(self.contrast),
            saturation: 1.0 + either_way(self.saturation),
            hue: either_way(self.hue),
            ..Change::STILL
        };
        if share() < f64::from(self.grey) {
            change.saturation = 0.0;
        }
        warp.crop = rectangle(self.crop.map(f64::from), 4.0 / 3.0, size, [0; 4].map(|_| share()));
        warp.corners = [0; 4].map(|_| [0; 2].map(|_| f64::from(self.perspective) * share()));
        let blur = f64::from(self.blur) * share();
        if self.blur > 0.0 {
            (change.blur, change.sharpen) = (blur, -1.0);
        }
        change.noise = f64::from(self.noise) * share();
        let (erases, [left, top, width, height]) =
            (share() < f64::from(self.erase), rectangle([0.02, 0.33], 10.0 / 3.0, size, [0; 4].map(|_| share())));
        if erases {
            change.erase = [left, top, left + width, top + height];
        }
        let key = rng.random_range(0..1 << 24);
        change.key = if change.noise > 0.0 { key } else { 0 };
        Change { warp, ..change }
    }

    /// How the images of a batch are mixed, if they are. Draws are those of the first of each pair.
    pub fn mixes(&self, seed: Seed, epoch: u64, images: &[usize], labels: &[i32], size: [usize; 2]) -> Option<Mixes> {
        self.mixes_images().then(|| Mixes::draw([self.mixup, self.cutmix], seed, epoch, images, labels, size))
    }

    /// Whether images are mixed with others.
    pub fn mixes_images(&self) -> bool {
        self.mixup > 0.0 || self.cutmix > 0.0
    }
}

/// `[left, top, width, height]`, as shares of an image of `size`, of a rectangle within it: its share of the area from a
/// range, its sides in pixels in a ratio of at most `ratio` either way. From four numbers between 0 and 1.
fn rectangle([least, most]: [f64; 2], ratio: f64, [height, width]: [usize; 2], shares: [f64; 4]) -> [f64; 4] {
    let area = least + (most - least) * shares[0];
    if area >= 1.0 {
        return Warp::STILL.crop;
    }
    let stretch = (ratio.ln() * (2.0 * shares[1] - 1.0)).exp() * height as f64 / width as f64;
    // What is too long for the image keeps its area as far as it can.
    let w = (area * stretch).sqrt().clamp(area, 1.0);
    let h = area / w;
    [(1.0 - w) * shares[2], (1.0 - h) * shares[3], w, h]
}

impl FromStr for Augment {
    type Err = Error;

    /// A preset's name (none, light, standard, strong, randaugment) or a TOML file.
    ///
    /// Errors: if it is neither; as [`Augment::open`].
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "none" => Ok(Self::default()),
            "light" => Ok(Self::light()),
            "standard" => Ok(Self::standard()),
            "strong" => Ok(Self::strong()),
            "randaugment" => Ok(Self::randaugment()),
            file if file.ends_with(".toml") => Self::open(file),
            _ => Err(Error::config(format!(
                "augmentation {text:?} is not one of none, light, standard, strong and randaugment, nor a .toml file"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::graph::{Graph, evaluate};
    use crate::ops;
    use crate::tensor::{Array, DType, Meta};

    #[test]
    fn no_change_is_exactly_the_identity() {
        let row = Augment::default().row(Seed(3), 5, 8, [7, 10]);
        assert_eq!(row, AugmentRow::STILL);
    }

    /// What the kernel makes of an image of bytes, `[h, w, 3]`, without normalisation, in f64.
    fn augmented(row: AugmentRow, [h, w]: [usize; 2], image: &[u8]) -> Vec<f64> {
        let mut graph = Graph::new();
        let images = graph.input("images", Meta::new([1, h, w, 3], DType::U8));
        let rows = graph.input("rows", Meta::f32([1, AugmentRow::LEN]));
        let result = ops::augment(&mut graph, images, rows, [h, w], &[0.0; 3], &[1.0; 3]).unwrap();
        let pixels = Array { shape: [1, h, w, 3].into(), data: image.iter().copied().map(f64::from).collect() };
        let numbers: &[f32] = bytemuck::cast_slice(std::slice::from_ref(&row));
        let data = numbers.iter().copied().map(f64::from).collect();
        let row = Array { shape: [1, AugmentRow::LEN].into(), data };
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
        let changed = |change: Change| augmented(change.row([h, w]), [h, w], &image);
        let warped = |warp: Warp| changed(Change { warp, ..Change::STILL });
        let mirrored = warped(Warp { flip: [true, false], ..Warp::STILL });
        assert_close(&mirrored[..3], pixel(5, 0));
        let moved = warped(Warp { shift: [2.0 / 6.0, 1.0 / 4.0], ..Warp::STILL });
        assert_close(&moved[(w + 2) * 3..][..3], pixel(0, 0));
        assert_close(&changed(Change { brightness: 0.5, ..Change::STILL })[..1], &[plain[0] + 0.5]);
        assert!(changed(Change { contrast: 0.0, ..Change::STILL }).iter().all(|&v| v == 0.5));
        let grey = changed(Change { saturation: 0.0, ..Change::STILL });
        assert!(grey.chunks(3).all(|p| (p[0] - p[1]).abs() + (p[1] - p[2]).abs() < 1e-6));
        let inverted = changed(Change { solarize: 0.0, ..Change::STILL });
        assert_close(&inverted, &plain.iter().map(|v| 1.0 - v).collect::<Vec<_>>());
        let coarse = changed(Change { posterize: 64.0, ..Change::STILL });
        assert!(coarse.iter().zip(&image).all(|(v, &byte)| (v * 255.0 - f64::from(byte / 64 * 64)).abs() < 1e-9));
        let erased = changed(Change { erase: [0.5, 0.0, 1.0, 0.5], ..Change::STILL });
        assert_close(&erased[..9], &plain[..9]);
        assert!(erased[9..18].iter().all(|&v| v == 0.0));
    }

    #[test]
    fn views_are_mirrored_as_training_is() {
        assert_eq!(Augment::light().views([8, 10]).len(), 2);
        let views = Augment { flip_vertical: true, ..Augment::standard() }.views([8, 10]);
        assert_eq!(views[0], AugmentRow::STILL);
        let mirrored: Vec<[bool; 2]> = views.iter().map(|row| [row.column[0] < 0.0, row.line[1] < 0.0]).collect();
        let each = [[false, false], [true, false], [false, true], [true, true]];
        assert_eq!(mirrored, each.map(|flip| [flip; 2]).concat());
        assert_eq!(views[1].column, [0.9, 0.0, 0.45, 0.0]);
    }

    #[test]
    fn noise_is_as_strong_as_it_says() {
        let change = Change { noise: 0.1, key: 77, ..Change::STILL };
        let noisy = augmented(change.row([40, 50]), [40, 50], &[128; 40 * 50 * 3]);
        let mean = noisy.iter().sum::<f64>() / noisy.len() as f64;
        let deviation = (noisy.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / noisy.len() as f64).sqrt();
        // Of 6000 values: four standard deviations of the mean, and of the deviation, are 0.0052 and 0.0037.
        assert!((mean - 128.0 / 255.0).abs() < 0.0052 && (deviation - 0.1).abs() < 0.0037, "{mean} {deviation}");
    }

    #[test]
    fn rows_repeat_and_stay_in_range() {
        let augment = Augment { flip_vertical: true, ..Augment::strong() };
        let row = |epoch, image| augment.row(Seed(1), epoch, image, [32, 48]);
        assert_eq!(row(2, 7), row(2, 7));
        assert_ne!(row(2, 7), row(2, 8));
        assert_ne!(row(2, 7), row(3, 7));
        for image in 0..500 {
            let change = augment.draw(&mut Seed(1).generator("test", &[image]), [32, 48]);
            let [left, top, width, height] = change.warp.crop;
            assert!(left >= 0.0 && top >= 0.0 && left + width <= 1.0 + 1e-12 && top + height <= 1.0 + 1e-12);
            assert!((0.35 - 1e-6..=1.0).contains(&(width * height)), "{}", width * height);
            assert!(change.brightness.abs() <= 0.2 + 1e-6 && (change.contrast - 1.0).abs() <= 0.4 + 1e-6);
            assert!(change.hue.abs() <= 0.03 + 1e-6 && change.noise <= 0.03 + 1e-6);
        }
        let share = |is: &dyn Fn(&AugmentRow) -> bool| (0..500).filter(|&image| is(&row(0, image))).count();
        let erased = share(&|row| row.erase != [0.0; 4]);
        assert!((80..170).contains(&erased), "{erased} of 500");
        let mirrored = (0..500).filter(|&image| row(0, image).column[0] < 0.0).count();
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
        assert!(open("crop = [0.0, 1.0]").unwrap_err().contains("crop must be [least, most]"));
        assert!(open("contrast = nan").unwrap_err().contains("contrast must be"));
        assert!("fancy".parse::<Augment>().unwrap_err().to_string().contains("none, light, standard"));
    }

    #[test]
    fn presets_are_in_range_and_survive_a_config_file() {
        for name in ["none", "light", "standard", "strong", "randaugment"] {
            let preset: Augment = name.parse().unwrap();
            preset.check().unwrap();
            assert_eq!(toml::from_str::<Augment>(&toml::to_string(&preset).unwrap()).unwrap(), preset);
        }
    }
}
