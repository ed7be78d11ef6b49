use super::Augment;
use super::row::{AugmentRow, noise};

/// One image of the batch.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    pub bytes: &'a [u8],
    pub size: [usize; 2],
    pub channels: usize,
}

/// Memory for what lies between the steps of a change.
#[derive(Default)]
pub(super) struct Buffers {
    taps: Vec<Tap>,
    /// The image blurred along its rows.
    half: Vec<f32>,
    blurred: Vec<f32>,
}

/// The four pixels between which a pixel of the result lies: where they start, and their shares.
struct Tap {
    offsets: [usize; 4],
    weights: [f32; 4],
}

impl Tap {
    /// For column `x`, row `y` of the result.
    fn new(row: &AugmentRow, x: usize, y: usize, image: Image<'_>) -> Self {
        let ([h, w], [x, y]) = (image.size, [x as f32, y as f32]);
        let depth = 1.0 + row.column[3] * x + row.line[3] * y;
        let axis = |r: [f32; 4], extent: usize| {
            let at = ((r[0] * x + r[1] * y + r[2]) / depth).clamp(0.0, (extent - 1) as f32);
            let from = at as usize;
            (from, (from + 1).min(extent - 1), at - from as f32)
        };
        let (left, right, dx) = axis(row.column, w);
        let (top, bottom, dy) = axis(row.line, h);
        let offset = |y: usize, x: usize| (y * w + x) * image.channels;
        Self {
            offsets: [offset(top, left), offset(top, right), offset(bottom, left), offset(bottom, right)],
            weights: [(1.0 - dy) * (1.0 - dx), (1.0 - dy) * dx, dy * (1.0 - dx), dy * dx],
        }
    }

    fn sample(&self, bytes: &[u8], channel: usize) -> f32 {
        let value = |i: usize| self.weights[i] * f32::from(bytes[self.offsets[i] + channel]);
        (value(0) + value(1)) + (value(2) + value(3))
    }
}

impl Augment {
    /// Makes one image of the result.
    pub(super) fn change(&self, image: Image<'_>, row: &AugmentRow, result: &mut [f32], buffers: &mut Buffers) {
        let (c, [height, width]) = (image.channels, self.size);
        let still = self.size == image.size && row.keeps_places();
        let by_byte = still && row.blur == 0.0 && row.noise == 0.0 && (c != 3 || row.keeps_colours());
        if by_byte {
            self.look_up(image.bytes, row, result);
        } else {
            let lines = result.chunks_exact_mut(width * c);
            for (y, line) in lines.enumerate() {
                warp(image, row, y, line, &mut buffers.taps);
                if row.blur == 0.0 {
                    self.tone(row, y, line);
                }
            }
            if row.blur > 0.0 {
                sharpen(row, result, [height, width, c], buffers);
                result.chunks_exact_mut(width * c).enumerate().for_each(|(y, line)| self.tone(row, y, line));
            }
        }
        let [columns, lines] = row.erased(self.size);
        for y in lines {
            result[(y * width + columns.start) * c..(y * width + columns.end) * c].fill(0.0);
        }
    }

    /// Where each value of the result comes from one byte: one of 256 values a channel.
    fn look_up(&self, image: &[u8], row: &AugmentRow, result: &mut [f32]) {
        let c = self.mean.len();
        for channel in 0..c {
            let table: [f32; 256] =
                std::array::from_fn(|byte| self.normalize(toned(byte as f32 / 255.0, row), channel));
            let bytes = image[channel..].iter().step_by(c);
            let values = result[channel..].iter_mut().step_by(c);
            values.zip(bytes).for_each(|(value, &byte)| *value = table[usize::from(byte)]);
        }
    }

    /// Colours, noise and normalisation of line `y`.
    fn tone(&self, row: &AugmentRow, y: usize, line: &mut [f32]) {
        let c = self.mean.len();
        if c == 3 && !row.keeps_colours() {
            let shares = row.colours();
            for pixel in line.as_chunks_mut::<3>().0 {
                *pixel = shares.map(|share| share[0] * pixel[0] + share[1] * pixel[1] + share[2] * pixel[2]);
            }
        }
        let plain = row.solarize > 1.0 && row.posterize == 0.0;
        for channel in 0..c {
            let values = line[channel..].iter_mut().step_by(c);
            match (plain, row.noise > 0.0) {
                (true, false) => values.for_each(|v| *v = self.normalize(contrasted(*v, row), channel)),
                (_, false) => values.for_each(|v| *v = self.normalize(toned(*v, row), channel)),
                (_, true) => values.enumerate().for_each(|(x, v)| {
                    let position = (y * self.size[1] + x) * c + channel;
                    let noisy = toned(*v, row) + row.noise * noise(row.key as u32, position as u32);
                    *v = self.normalize(noisy.clamp(0.0, 1.0), channel);
                }),
            }
        }
    }

    fn normalize(&self, value: f32, channel: usize) -> f32 {
        (value - self.mean[channel]) / self.deviation[channel]
    }
}

/// Written so that contrast 1 leaves the value as it was.
fn contrasted(value: f32, row: &AugmentRow) -> f32 {
    (value * row.contrast + (0.5 - 0.5 * row.contrast + row.brightness)).clamp(0.0, 1.0)
}

fn toned(value: f32, row: &AugmentRow) -> f32 {
    let mut value = contrasted(value, row);
    if value >= row.solarize {
        value = 1.0 - value;
    }
    if row.posterize > 0.0 {
        value = ((value * 255.0 + 0.5) / row.posterize).floor() * row.posterize / 255.0;
    }
    value
}

/// Line `y` of the result, with values from 0 to 1.
fn warp(image: Image<'_>, row: &AugmentRow, y: usize, line: &mut [f32], taps: &mut Vec<Tap>) {
    let c = image.channels;
    taps.clear();
    taps.extend((0..line.len() / c).map(|x| Tap::new(row, x, y, image)));
    for channel in 0..c {
        let values = line[channel..].iter_mut().step_by(c);
        values.zip(&*taps).for_each(|(v, tap)| *v = tap.sample(image.bytes, channel) * (1.0 / 255.0));
    }
}

/// Adds `row.sharpen` times the difference from the blurred image, which is made along rows, then along columns.
fn sharpen(row: &AugmentRow, values: &mut [f32], [height, width, c]: [usize; 3], buffers: &mut Buffers) {
    let Buffers { half, blurred, .. } = buffers;
    half.resize(values.len(), 0.0);
    blurred.resize(values.len(), 0.0);
    let weights = weights(row);
    let radius = row.radius() as isize;
    let places = |at: usize, extent: usize| {
        (-radius..=radius).zip(&weights).map(move |(d, &weight)| (at.saturating_add_signed(d).min(extent - 1), weight))
    };
    for (line, source) in half.chunks_exact_mut(width * c).zip(values.chunks_exact(width * c)) {
        for (x, pixel) in line.chunks_exact_mut(c).enumerate() {
            pixel.fill(0.0);
            for (from, weight) in places(x, width) {
                pixel.iter_mut().zip(&source[from * c..]).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
    for (y, line) in blurred.chunks_exact_mut(width * c).enumerate() {
        line.fill(0.0);
        for (from, weight) in places(y, height) {
            line.iter_mut().zip(&half[from * width * c..]).for_each(|(sum, value)| *sum += weight * value);
        }
    }
    values.iter_mut().zip(&*blurred).for_each(|(value, soft)| *value += row.sharpen * (*value - soft));
}

/// The Gaussian's, which add up to 1.
fn weights(row: &AugmentRow) -> Vec<f32> {
    let radius = row.radius() as i32;
    let weight = |d: i32| (-((d * d) as f32) / (2.0 * row.blur * row.blur)).exp();
    let total: f32 = (-radius..=radius).map(weight).sum();
    (-radius..=radius).map(|d| weight(d) / total).collect()
}
