use std::hash::{DefaultHasher, Hash, Hasher};

use super::super::Image;

/// By what copies of a picture are known, however they were stored.
pub(super) struct Fingerprint {
    /// Of size, channels and pixels.
    pub exact: u64,
    /// Whether brightness rises from one of 9 columns to the next, in 8 rows: the difference hash of Krawetz, 2013,
    /// <https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html>.
    pub gradients: u64,
    /// `None` where there is hardly any contrast.
    shape: Option<Box<Shape>>,
    mean: u8,
    small: bool,
}

/// 16×16 pixels in grey, less their mean, in steps of which the largest is 127.
struct Shape {
    deviations: [i8; SIDE * SIDE],
    norm: f32,
}

const SIDE: usize = 16;
/// Mean square of a picture's deviations from its mean below which it has no shape.
const LEAST_VARIANCE: f32 = 16.0;
/// Bits in which the gradients of copies differ at most.
const MOST_BITS: u32 = 10;
/// Correlation of copies, at least. Strong JPEG compression of photographs leaves 0.995 and more.
const LEAST_CORRELATION: f32 = 0.99;
/// The same for small pictures, of which many are alike: two handwritten ones, two shirts.
const LEAST_OF_SMALL: f32 = 0.9985;
/// Pictures with a shorter side than this are small.
const SMALL: usize = 32;
/// Levels by which the means of copies differ at most.
const MOST_SHIFT: u8 = 6;

impl Fingerprint {
    pub fn of(image: Image) -> Self {
        let mut hasher = DefaultHasher::new();
        (image.size, image.channels, &image.pixels).hash(&mut hasher);
        let is_small = image.size.iter().any(|&side| side < SMALL);
        let small = image.fit([SIDE, SIDE, 1]).expect("the shape can be");
        let mean = small.pixels.iter().map(|&p| u32::from(p)).sum::<u32>() / (SIDE * SIDE) as u32;
        let shape = Shape::of(&small.pixels).map(Box::new);
        let rows = small.fit([8, 9, 1]).expect("the shape can be");
        let rises = rows.pixels.chunks_exact(9).flat_map(|row| row.windows(2).map(|pair| u64::from(pair[1] > pair[0])));
        let gradients = rises.fold(0, |bits, rise| bits << 1 | rise);
        Self { exact: hasher.finish(), gradients, shape, mean: mean as u8, small: is_small }
    }

    /// Whether it looks like the other; what has no contrast looks like nothing.
    pub fn resembles(&self, other: &Self) -> bool {
        let alike = (self.gradients ^ other.gradients).count_ones() <= MOST_BITS;
        if !alike || self.mean.abs_diff(other.mean) > MOST_SHIFT {
            return false;
        }
        let (Some(a), Some(b)) = (&self.shape, &other.shape) else { return false };
        a.correlation(b) >= if self.small || other.small { LEAST_OF_SMALL } else { LEAST_CORRELATION }
    }
}

impl Shape {
    fn of(pixels: &[u8]) -> Option<Self> {
        let n = pixels.len() as f32;
        let mean = pixels.iter().map(|&p| f32::from(p)).sum::<f32>() / n;
        let exact: Vec<f32> = pixels.iter().map(|&p| f32::from(p) - mean).collect();
        let squares: f32 = exact.iter().map(|d| d * d).sum();
        if squares / n < LEAST_VARIANCE {
            return None;
        }
        let most = exact.iter().fold(0.0_f32, |most, d| most.max(d.abs()));
        let mut shape =
            Self { deviations: std::array::from_fn(|i| (127.0 * exact[i] / most).round() as i8), norm: 0.0 };
        shape.norm = (shape.product(&shape) as f32).sqrt();
        Some(shape)
    }

    fn product(&self, other: &Self) -> i32 {
        self.deviations.iter().zip(&other.deviations).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum()
    }

    fn correlation(&self, other: &Self) -> f32 {
        self.product(other) as f32 / (self.norm * other.norm)
    }
}
