use rand::RngExt;
use rand_pcg::Pcg64;

use super::change::Change;

/// The operations of RandAugment (Cubuk et al. 2020, <https://arxiv.org/abs/1909.13719>) with the ranges of its authors,
/// without auto-contrast and equalisation, which need a histogram of each image.
const OPERATIONS: [fn(&mut Change, f64, f64); 12] = [
    |_, _, _| (),
    |change, level, sign| change.warp.turn += sign * (30.0 * level).to_radians(),
    |change, level, sign| change.warp.slant[0] += sign * 0.3 * level,
    |change, level, sign| change.warp.slant[1] += sign * 0.3 * level,
    |change, level, sign| change.warp.shift[0] += sign * 0.45 * level,
    |change, level, sign| change.warp.shift[1] += sign * 0.45 * level,
    |change, level, sign| brighten(change, 1.0 + sign * 0.9 * level),
    |change, level, sign| contrast(change, 1.0 + sign * 0.9 * level),
    |change, level, sign| change.saturation *= 1.0 + sign * 0.9 * level,
    |change, level, sign| (change.blur, change.sharpen) = (0.7, sign * 0.9 * level),
    |change, level, _| change.posterize = (4.0 * level).round().exp2(),
    |change, level, _| change.solarize = 1.0 - level,
];

/// Applies so many of them, drawn with repetition, at a magnitude from 0 to 10.
pub(super) fn rand_augment(change: &mut Change, operations: u32, magnitude: f32, rng: &mut Pcg64) {
    for _ in 0..operations {
        let operation = OPERATIONS[rng.random_range(0..OPERATIONS.len())];
        let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
        operation(change, f64::from(magnitude) / 10.0, sign);
    }
}

/// Multiplies all values: as contrast does about one half, and half of the rest everywhere.
fn brighten(change: &mut Change, factor: f64) {
    change.contrast *= factor;
    change.brightness = factor * change.brightness + 0.5 * (factor - 1.0);
}

fn contrast(change: &mut Change, factor: f64) {
    change.contrast *= factor;
    change.brightness *= factor;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Seed;

    fn value(change: &Change, v: f64) -> f64 {
        (v - 0.5) * change.contrast + 0.5 + change.brightness
    }

    #[test]
    fn brightness_multiplies_and_contrast_stretches_in_their_order() {
        let mut change = Change::STILL;
        brighten(&mut change, 1.4);
        assert!((value(&change, 0.3) - 0.42).abs() < 1e-12);
        contrast(&mut change, 0.5);
        assert!((value(&change, 0.3) - (0.5 + 0.5 * (0.42 - 0.5))).abs() < 1e-12);
        brighten(&mut change, 0.8);
        assert!((value(&change, 0.3) - 0.8 * 0.46).abs() < 1e-12);
    }

    #[test]
    fn magnitude_0_leaves_the_image_and_every_operation_comes_up() {
        let mut seen = std::collections::HashSet::new();
        for image in 0..300 {
            let mut rng = Seed(1).generator("test", &[image]);
            let mut change = Change::STILL;
            rand_augment(&mut change, 1, 9.0, &mut rng);
            seen.insert(format!("{change:?}"));
        }
        // Nine of the twelve go either way; doing nothing, posterising and solarising do not.
        assert_eq!(seen.len(), 9 * 2 + 3);
    }
}
