use std::f64::consts::TAU;

use super::AugmentRow;
use super::warp::Warp;

/// Shares of red, green and blue in the luma (ITU-R BT.601).
const LUMA: [f64; 3] = [0.299, 0.587, 0.114];

/// What happens to one image, in words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    pub warp: Warp,
    pub brightness: f64,
    pub contrast: f64,
    pub saturation: f64,
    /// Turns of the colour circle.
    pub hue: f64,
    /// Standard deviation in pixels.
    pub blur: f64,
    /// Share of the difference from the blurred image that is added; -1 blurs.
    pub sharpen: f64,
    /// Values from here on are inverted.
    pub solarize: f64,
    /// Bytes are rounded down to multiples of it; 0 leaves them.
    pub posterize: f64,
    pub noise: f64,
    pub key: u32,
    /// `[left, top, right, bottom]` as shares of the view.
    pub erase: [f64; 4],
}

impl Change {
    pub const STILL: Self = Self {
        warp: Warp::STILL,
        brightness: 0.0,
        contrast: 1.0,
        saturation: 1.0,
        hue: 0.0,
        blur: 0.0,
        sharpen: 0.0,
        solarize: 2.0,
        posterize: 0.0,
        noise: 0.0,
        key: 0,
        erase: [0.0; 4],
    };

    /// As the kernel reads it, for images of `[height, width]` pixels.
    pub fn row(&self, size: [usize; 2]) -> AugmentRow {
        let [x, y, z] = self.warp.inverse(size, size);
        let to_f32 = |row: [f64; 3]| row.map(|value| value as f32);
        let [red, green, blue] = self.colours().map(to_f32);
        let place = |row: [f64; 3], depth: f64| [row[0], row[1], row[2], depth].map(|value| value as f32);
        let [height, width] = size.map(|extent| extent as f64);
        let [left, top, right, bottom] = self.erase;
        AugmentRow {
            column: place(x, z[0]),
            line: place(y, z[1]),
            red,
            brightness: self.brightness as f32,
            green,
            contrast: self.contrast as f32,
            blue,
            blur: self.blur as f32,
            erase: [left * width, top * height, right * width, bottom * height].map(|edge| edge.round() as f32),
            sharpen: self.sharpen as f32,
            solarize: self.solarize as f32,
            posterize: self.posterize as f32,
            noise: self.noise as f32,
            key: self.key as f32,
            ..AugmentRow::STILL
        }
    }

    /// Each colour as shares of red, green and blue: away from the luma by the saturation, then turned about the grey axis by
    /// the hue. Greys stay as they are.
    fn colours(&self) -> [[f64; 3]; 3] {
        let (sin, cos) = (self.hue * TAU).sin_cos();
        // Rodrigues' formula for the axis (1, 1, 1) / √3.
        let (even, odd) = ((1.0 - cos) / 3.0, sin / 3.0_f64.sqrt());
        let turn = [
            [cos + even, even - odd, even + odd],
            [even + odd, cos + even, even - odd],
            [even - odd, even + odd, cos + even],
        ];
        // Turning leaves the sum of a row at 1, so the grey that is added goes through it as it is.
        turn.map(|row| [0, 1, 2].map(|k| self.saturation * row[k] + (1.0 - self.saturation) * LUMA[k]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coloured(change: Change, pixel: [f64; 3]) -> [f64; 3] {
        change.colours().map(|row| row.iter().zip(pixel).map(|(share, value)| share * value).sum())
    }

    fn assert_close(got: [f64; 3], wanted: [f64; 3]) {
        assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?} instead of {wanted:?}");
    }

    #[test]
    fn no_change_is_exactly_none() {
        assert_eq!(Change::STILL.row([7, 10]), AugmentRow::STILL);
    }

    #[test]
    fn a_third_of_a_turn_exchanges_the_colours() {
        let change = Change { hue: 1.0 / 3.0, ..Change::STILL };
        assert_close(coloured(change, [0.9, 0.5, 0.2]), [0.2, 0.9, 0.5]);
        assert_close(coloured(Change { hue: 0.123, ..change }, [0.4; 3]), [0.4; 3]);
    }

    #[test]
    fn saturation_goes_from_the_luma_on() {
        let pixel = [0.9, 0.5, 0.2];
        let luma = 0.299 * 0.9 + 0.587 * 0.5 + 0.114 * 0.2;
        assert_close(coloured(Change { saturation: 0.0, ..Change::STILL }, pixel), [luma; 3]);
        let expected = pixel.map(|v| luma + 1.5 * (v - luma));
        assert_close(coloured(Change { saturation: 1.5, ..Change::STILL }, pixel), expected);
    }

    #[test]
    fn what_is_erased_is_told_in_pixels() {
        let row = Change { erase: [0.25, 0.5, 0.75, 1.0], ..Change::STILL }.row([10, 20]);
        assert_eq!(row.erase, [5.0, 5.0, 15.0, 10.0]);
    }
}
